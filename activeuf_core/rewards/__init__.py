"""What a completion is worth, by rule or by judge: rewards for training, metrics for evaluation.

In: completions with the columns of their dataset. Out: rewards with TRL's signature, metrics with
intervals, failures with examples, findings about rewards that are being gamed. A library: training
and evaluation call it, it has no command of its own. Light: nothing here imports torch.
Source: `docs/rewards.md`, which also says where the definitions differ from other tools.
Cost: 0.1 ms of one core per completion of 800 characters for the four rewards by rule; a judge
costs its server's time.
"""
