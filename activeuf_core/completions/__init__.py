"""Completions: every member of the model pool answers every prompt."""
