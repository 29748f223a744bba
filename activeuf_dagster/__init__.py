"""The graph of ActiveUF: what exists, what is stale, and who is asked to make it.

Nothing here imports torch, transformers, trl or datasets when the definitions load: the
orchestrator is small, and the work is done by `activeuf_core` in processes of its own.
"""
