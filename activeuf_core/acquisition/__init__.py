"""Which two completions of a prompt to label: pure, vectorised rules behind one contract.

In: `Bounds` of a batch of prompts (arrays P x C) and a `RandomStream`. Out: indices P x 2, always
two different completions. A library: the loop calls it, it has no command of its own.
Source: ActiveUltraFeedback, arXiv 2603.09692, and the paper named in each rule's docstring.
Cost: 0.1 to 4 microseconds per prompt at C = 30 on one core; `benchmarks/acquisition.py` measures.
"""
