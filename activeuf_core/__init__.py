"""The work of ActiveUF: stages that turn files into files.

Every stage runs alone, `python -m activeuf_core.<stage> --config job.json --run-dir DIR`, on a
laptop, in a test or inside a SLURM task. Nothing here imports dagster: the compute image does not
have it.
"""
