"""The exchange with people: publish what is open, keep what is handed in, so that nothing is lost.

Each hand-in is appended to the inbox the moment it arrives, under its work item's id: the first counts, a second one
for the same item is kept aside by the inbox. Everything else is computed from the inbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from annotation.work import Submission, WorkItem
from engine.people import people_for
from engine.stages.base import StageContext
from engine.workbench import Candidate, Desk, Workbench, fold

OpenItems = Callable[[Mapping[str, Submission]], Sequence[WorkItem]]
"""What is open, given everything handed in so far by task id."""


def handed_in(context: StageContext, desk: str) -> dict[str, Submission]:
    """What people handed in at a desk of the round, by task id."""
    payloads = context.home.inbox.read(context.round.round_id, desk)
    return {task: Submission.from_json(payload) for task, payload in payloads.items()}


def workbench(
    context: StageContext, desk: Desk, candidates: Sequence[Candidate], received: Mapping[str, Submission]
) -> Workbench:
    """Where the candidates of a desk stand, given what was handed in by task id."""
    return fold(
        context.round.round_id,
        desk,
        candidates,
        received,
        max_reannotations=context.settings.round.max_reannotations,
    )


def work_through(
    context: StageContext, desk: Desk, candidates: Sequence[Candidate]
) -> tuple[Workbench, dict[str, Submission]]:
    """Exchange with people about these candidates; where they stand then, and everything handed in."""
    received = exchange(
        context,
        desk,
        lambda submissions: workbench(context, desk, candidates, submissions).open_items(),
    )
    return workbench(context, desk, candidates, received), received


def exchange(context: StageContext, desk: str, open_items: OpenItems) -> dict[str, Submission]:
    """Exchange with the round's people until they bring nothing new; returns everything handed in by task id.

    Nobody is asked, and no site has to run, when nothing is open.
    """
    received = handed_in(context, desk)
    if not _still_open(open_items, received):
        return received
    with people_for(context) as people:
        while open_now := _still_open(open_items, received):
            news = 0
            for submission in people.exchange(open_now):
                context.home.inbox.append(
                    context.round.round_id, desk, submission.task_id, submission.to_json()
                )
                news += submission.task_id not in received
                received.setdefault(submission.task_id, submission)
            if not news:
                break
    return received


def _still_open(open_items: OpenItems, received: Mapping[str, Submission]) -> list[WorkItem]:
    return [item for item in open_items(received) if item.task_id not in received]
