"""Simulated people: selectors and annotators that follow the paper's protocol on videos with reference masks.

Importing this package loads no network; the people themselves are in `annotation.simulated.workforce`.
"""

from __future__ import annotations

from annotation.simulated.config import SimulationConfig
from annotation.simulated.team import SimulatedPool
from annotation.simulated.time_model import TimeModel

__all__ = ["SimulatedPool", "SimulationConfig", "TimeModel"]
