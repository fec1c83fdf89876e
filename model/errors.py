"""Errors of the model package: EngineError → ModelError → CheckpointError, PromptError, TrainingError."""

from __future__ import annotations

from storage.errors import EngineError

__all__ = ["CheckpointError", "ModelError", "PromptError", "TrainingError"]


class ModelError(EngineError):
    """Something about the network, its weights or its input is wrong; the message says what and where."""


class CheckpointError(ModelError):
    """A weights file is missing, damaged or does not fit the network."""


class PromptError(ModelError):
    """A prompt (click, box, mask) or a request about an object or a frame cannot be used."""


class TrainingError(ModelError):
    """Training cannot start or cannot go on."""
