"""The loop's reward models that know their uncertainty: rewards with bounds, learnt from pairs.

In: features of completions; comparisons as chosen and rejected features. Out: `RewardEstimate`.
A library: the loop builds a model with `registry.build` and calls the four methods of
`base.RewardUncertainty`. Two models: an ensemble of MLP heads (the ENN), a Bayesian linear head.
Source: Dwaracherla et al., arXiv 2402.00396; ActiveUltraFeedback, arXiv 2603.09692.
Cost: 100 steps of 64 pairs on 2,560 features and 20 heads take 3 to 4 CPU-seconds.
"""
