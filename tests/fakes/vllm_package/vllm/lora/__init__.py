"""Where lm-eval looks for adapters."""
