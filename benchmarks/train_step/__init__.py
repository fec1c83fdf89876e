"""One training step of ours beside the same step made of the official package's modules.

``python -m benchmarks.train_step [ROW ...]``: same weights, batch, prompts and clicks; the losses are compared.
"""
