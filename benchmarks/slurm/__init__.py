"""Measurements of the SLURM launcher on a private cluster, each beside a peer or a lower bound."""
