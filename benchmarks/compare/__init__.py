"""Ours beside the official `sam2` package and `transformers`: same weights, same frames, same masks, one run.

`python -m benchmarks.compare` runs rows (`rows.py`), each side of each row in a process of its own (`worker.py`),
and writes what came out as a table (`report.py`).
"""
