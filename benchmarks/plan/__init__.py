"""Benchmark of `activeuf plan`: a home of any size, made in bulk, and what a look at it takes."""
