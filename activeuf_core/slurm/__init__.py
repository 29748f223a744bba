"""Jobs on a SLURM cluster: what SLURM says, what we decide, and how jobs are handed to it."""
