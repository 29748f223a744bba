"""The active-learning loop: candidates and features in, a preference dataset out."""
