"""Hiera-MAE: the trunk learns to fill in the hidden parts of pictures before it learns anything else."""
