"""Experiments about the engine itself: what the phases cost, what their data is worth, whether the loop pays.

Each is cut into units whose results are written once (`units.py`), so that a killed run goes on at the unit.
"""

from __future__ import annotations

__all__: list[str] = []
