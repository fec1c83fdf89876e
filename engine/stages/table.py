"""Every stage by its name, in the order of `STAGE_NAMES`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from engine.stages.annotate import Annotate
from engine.stages.auto import Auto
from engine.stages.base import Stage
from engine.stages.close import Close
from engine.stages.dataset import Dataset
from engine.stages.evaluate import Evaluate
from engine.stages.plan import Plan
from engine.stages.prelabel import Prelabel
from engine.stages.retrain import Retrain
from engine.stages.verify import Verify

__all__ = ["STAGES"]

STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        stage.name: stage
        for stage in (
            Plan(),
            Prelabel(),
            Annotate(),
            Verify(),
            Auto(),
            Dataset(),
            Retrain(),
            Evaluate(),
            Close(),
        )
    }
)
"""Every stage by name."""
