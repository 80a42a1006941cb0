"""The network of the paper, nothing else."""
