"""What can go wrong where people and the engine meet.

AnnotationError                root: something about work items, sessions or people
└── RecordError                a work item or a submission is malformed; the message names the field
└── ActionError                the annotation tool refuses an action: wrong phase, place, size or order
└── PeopleError                nobody can do the work: no one is left, or the references are missing
└── PageError                  what comes from or goes to a page is malformed; the message names the region or page
    ├── TicketError            a published piece of work is missing, damaged, or was published with other content
    └── EventError             an entry of the log of what people did is damaged, or is there with other content
└── SiteError                  Label Studio or the model server cannot be made, started or reached
"""

from __future__ import annotations

from storage.errors import EngineError

__all__ = [
    "ActionError",
    "AnnotationError",
    "EventError",
    "PageError",
    "PeopleError",
    "RecordError",
    "SiteError",
    "TicketError",
]


class AnnotationError(EngineError):
    """Something about work items, sessions or people; its text is shown to the user as it is."""


class RecordError(AnnotationError):
    """A work item or a submission is malformed; the message names the field."""


class ActionError(AnnotationError):
    """The annotation tool refuses an action: wrong phase, place, size or order."""


class PeopleError(AnnotationError):
    """Nobody can do the work: no one is left to take it, or reference masks are missing."""


class PageError(AnnotationError):
    """What comes from or goes to a page is malformed; the message names the region or the page."""


class TicketError(PageError):
    """A published piece of work is missing, damaged, or was published before with other content."""


class EventError(PageError):
    """An entry of the log of what people did is damaged, or is there already with other content."""


class SiteError(AnnotationError):
    """Label Studio or the model server cannot be made, started or reached; the message says what to do."""
