"""What can go wrong where people and the engine meet.

AnnotationError                root: something about work items, sessions or people
└── RecordError                a work item or a submission is malformed; the message names the field
└── ActionError                the annotation tool refuses an action: wrong phase, place, size or order
└── PeopleError                nobody can do the work: no one is left, or the references are missing
└── SiteError                  Label Studio or the model server cannot be made, started or reached
"""

from __future__ import annotations

from storage.errors import EngineError

__all__ = ["ActionError", "AnnotationError", "PeopleError", "RecordError", "SiteError"]


class AnnotationError(EngineError):
    """Something about work items, sessions or people; its text is shown to the user as it is."""


class RecordError(AnnotationError):
    """A work item or a submission is malformed; the message names the field."""


class ActionError(AnnotationError):
    """The annotation tool refuses an action: wrong phase, place, size or order."""


class PeopleError(AnnotationError):
    """Nobody can do the work: no one is left to take it, or reference masks are missing."""


class SiteError(AnnotationError):
    """Label Studio or the model server cannot be made, started or reached; the message says what to do."""
