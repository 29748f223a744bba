"""Where lm-eval looks for chat templates."""
