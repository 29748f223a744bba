"""Scores of trained models on benchmarks."""
