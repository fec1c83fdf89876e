"""The networks' parts: weights and arithmetic, nothing else."""
