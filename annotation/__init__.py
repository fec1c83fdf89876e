"""Where people and the engine meet: work items, submissions, the annotation tool and simulated people.

Importing this package loads no network; the tool itself is in `annotation.session`.
"""

from __future__ import annotations

from annotation.errors import (
    ActionError,
    AnnotationError,
    EventError,
    PageError,
    PeopleError,
    RecordError,
    SiteError,
    TicketError,
)
from annotation.people import People
from annotation.work import (
    EffortEvent,
    FrameMask,
    PhaseRules,
    Selection,
    Submission,
    Verdict,
    WorkItem,
    submission_id,
)

__all__ = [
    "ActionError",
    "AnnotationError",
    "EffortEvent",
    "EventError",
    "FrameMask",
    "PageError",
    "People",
    "PeopleError",
    "PhaseRules",
    "RecordError",
    "Selection",
    "SiteError",
    "Submission",
    "TicketError",
    "Verdict",
    "WorkItem",
    "submission_id",
]
