"""What experiments about the engine found: estimates with intervals, tables beside the paper's, plots, one page."""

from __future__ import annotations

__all__: list[str] = []
