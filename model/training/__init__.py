"""Training: clips, simulated prompts, the loop, and the recipe of the packaged weights."""
