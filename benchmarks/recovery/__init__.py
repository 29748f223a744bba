"""Benchmark of `activeuf recover`: jobs beside the fewest that would do, and a lost database."""
