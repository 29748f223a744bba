"""Candidate pool: per prompt, all completions with their annotations."""
