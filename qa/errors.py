"""Errors of the quality package: EngineError → QaError → MetricError, EvaluationError, VerificationError."""

from __future__ import annotations

from storage.errors import EngineError

__all__ = ["EvaluationError", "MetricError", "QaError", "VerificationError"]


class QaError(EngineError):
    """A measurement or a verdict cannot be made from what was given; the message says what and where."""


class MetricError(QaError):
    """Masks or tables cannot be compared: sizes differ, a column is missing, a setting is out of range."""


class EvaluationError(QaError):
    """A model cannot be evaluated as asked: unknown protocol, or a video and its truth do not fit."""


class VerificationError(QaError):
    """A masklet cannot be judged: nothing to look at, or the setting of a verifier is out of range."""
