"""Scoring masks beside SA-V's released evaluation tool: the same folders, the same numbers, less time.

`python -m benchmarks.evaluator --official FOLDER` draws folders of masks (`drawn.py`), scores them with both
(`sides.py`), checks that every J and F is the same and prints what each took.
"""
