"""Who has what in hand, how long the rest has been waiting, how fast it goes, and what somebody should look at.

Read from Label Studio's listing of tasks, its drafts, and the engine's own record; nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from annotation.studio.client import StudioClient, TaskError, TaskHead
from annotation.studio.collecting import Polled
from annotation.studio.effort import working_s
from annotation.studio.ledger import Answer, Ledger, content_hash

__all__ = ["DESKS", "Holding", "Mending", "Queue", "QueueReader", "Queues", "Throughput"]

DESKS = ("selection", "annotation", "auto")
Work = Literal["select", "annotate", "verify"]
WORKS: tuple[Work, ...] = ("select", "annotate", "verify")

_LATER = timedelta(seconds=2)
"""A task changes a moment after the annotation that changes it."""
_SLACK_S = 10.0


@dataclass(frozen=True, slots=True)
class Queue:
    """One kind of work. waiting: tasks nobody has begun, the oldest for `oldest_s` seconds; held: begun ones;
    mending: handed in, and back with their authors."""

    work: Work
    waiting: int
    held: int
    mending: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Holding:
    """Somebody has begun a task. since, saved: when their first and their latest draft was kept."""

    ticket_id: str
    work: Work
    person: str
    since: datetime
    saved: datetime


@dataclass(frozen=True, slots=True)
class Mending:
    """A submission that could not be used, and why; its author can mend it."""

    ticket_id: str
    person: str
    since: str
    reason: str


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one person handed in of one kind of work, and seconds a piece took."""

    person: str
    work: Work
    last_hour: int
    last_day: int
    total: int
    seconds_each: float


@dataclass(frozen=True, slots=True)
class Queues:
    """Everything about the people of one round."""

    queues: tuple[Queue, ...]
    holdings: tuple[Holding, ...]
    mending: tuple[Mending, ...]
    throughput: tuple[Throughput, ...]
    warnings: tuple[str, ...]
    has_news: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, times as ISO text."""
        value = asdict(self)
        for holding in value["holdings"]:
            holding["since"], holding["saved"] = holding["since"].isoformat(), holding["saved"].isoformat()
        return value


class QueueReader:
    """Reads the queues of one round. projects: by kind of page. roles: what each member was invited to do."""

    def __init__(
        self,
        client: StudioClient,
        ledgers: Mapping[str, Ledger],
        polled: Polled,
        *,
        round_id: str,
        projects: Mapping[str, int],
        roles: Mapping[str, str],
    ) -> None:
        self._client = client
        self._ledgers = ledgers
        self._polled = polled
        self._round_id = round_id
        self._projects = projects
        self._roles = roles

    def read(self, now: datetime | None = None) -> Queues:
        """The queues as they are."""
        now = now or datetime.now(UTC)
        heads = list(self._heads())
        answers = self._answers()
        closed = answers.keys() | {key for ledger in self._ledgers.values() for key in ledger.invalids()}
        open_heads = [(work, head) for work, head in heads if head.ticket_id not in closed]
        mending = {one.ticket_id: one for one in self._mending() if one.ticket_id not in closed}
        holdings = [held for work, head in open_heads for held in self._holdings(work, head)]
        return Queues(
            queues=tuple(_queue(work, open_heads, mending, now) for work in WORKS),
            holdings=tuple(sorted(holdings, key=lambda held: held.since)),
            mending=tuple(mending.values()),
            throughput=tuple(_throughput(answers.values(), now)),
            warnings=tuple(self._warnings(answers, [head for _, head in heads])),
            has_news=any(self._is_new(head) for _, head in heads),
        )

    def audit(self) -> list[str]:
        """What was changed or deleted in Label Studio after it had been accepted here."""
        return list(self._tampered(self._answers(), [head for _, head in self._heads()]))

    def _heads(self) -> Iterator[tuple[Work, TaskHead]]:
        for kind, project in self._projects.items():
            for head in self._client.tasks(project, round_id=self._round_id):
                yield _work_of(kind), head

    def _answers(self) -> dict[str, Answer]:
        return {ticket: one for ledger in self._ledgers.values() for ticket, one in ledger.answers().items()}

    def _mending(self) -> Iterator[Mending]:
        """The newest refusal of each ticket, oldest ticket first."""
        notes = [note for ledger in self._ledgers.values() for note in ledger.refusals()]
        for note in sorted(notes, key=lambda note: str(note["updated_at"])):
            yield Mending(note["ticket_id"], note["actor"], note["updated_at"], note["reason"])

    def _holdings(self, work: Work, head: TaskHead) -> Iterator[Holding]:
        if not head.has_draft:
            return
        for draft in self._client.drafts(head.id):
            since, saved = (datetime.fromisoformat(draft[key]) for key in ("created_at", "updated_at"))
            yield Holding(head.ticket_id, work, str(draft["user"]), since, saved)

    def _is_new(self, head: TaskHead) -> bool:
        """Whether something was handed in, changed or deleted since the last look."""
        newest = self._polled.newest(head.project)
        return bool(head.annotations) and (newest is None or head.updated_at > newest)

    def _warnings(self, answers: Mapping[str, Answer], heads: Sequence[TaskHead]) -> Iterator[str]:
        yield from _other_roles(answers, self._roles)
        yield from _doubtful_times(answers)
        yield from self._tampered(answers, heads)
        for ledger in self._ledgers.values():
            for second in ledger.second_answers():
                yield (
                    f"{second.ticket_id}: {second.submission.actor} handed it in, too "
                    f"(annotation {second.annotation_id}); the first one counts, this one is kept aside"
                )

    def _tampered(self, answers: Mapping[str, Answer], heads: Sequence[TaskHead]) -> Iterator[str]:
        by_ticket: dict[str, list[TaskHead]] = {}
        for head in heads:
            by_ticket.setdefault(head.ticket_id, []).append(head)
        for ticket_id, answer in answers.items():
            tasks = by_ticket.get(ticket_id, [])
            holder = next((head for head in tasks if answer.annotation_id in head.annotations), None)
            what = f"{ticket_id}: annotation {answer.annotation_id} by {answer.submission.actor}"
            if not tasks:
                yield f"{what}: its task was deleted in Label Studio; what was accepted is kept here"
            elif holder is None:
                yield f"{what} was deleted in Label Studio; what was accepted is kept here"
            elif holder.updated_at > datetime.fromisoformat(answer.updated_at) + _LATER:
                yield from self._changed(what, holder, answer)

    def _changed(self, what: str, head: TaskHead, answer: Answer) -> Iterator[str]:
        try:
            task = self._client.task(head.id) or {}
        except TaskError as error:
            yield f"{what}: {error}"
            return
        for raw in task.get("annotations") or ():
            if raw["id"] == answer.annotation_id and content_hash(raw) != answer.content:
                yield f"{what} was changed in Label Studio after it had been accepted; the change does not count"


def _queue(
    work: Work,
    open_heads: Sequence[tuple[Work, TaskHead]],
    mending: Mapping[str, Mending],
    now: datetime,
) -> Queue:
    heads = [head for kind, head in open_heads if kind == work]
    back = [head for head in heads if head.ticket_id in mending]
    held = [head for head in heads if head.has_draft and head.ticket_id not in mending]
    idle = [head for head in heads if not head.has_draft and head.ticket_id not in mending]
    oldest_s = max(((now - head.created_at).total_seconds() for head in idle), default=0.0)
    return Queue(work, len(idle), len(held), len(back), round(max(oldest_s, 0.0), 1))


def _throughput(answers: Iterable[Answer], now: datetime) -> Iterator[Throughput]:
    groups: dict[tuple[str, Work], list[Answer]] = {}
    for answer in answers:
        groups.setdefault((answer.submission.actor, _work_done(answer)), []).append(answer)
    for (person, work), done in sorted(groups.items()):
        ages = [now - datetime.fromisoformat(answer.updated_at) for answer in done]
        seconds = sum(working_s(answer.submission.effort) for answer in done)
        yield Throughput(
            person=person,
            work=work,
            last_hour=sum(age < timedelta(hours=1) for age in ages),
            last_day=sum(age < timedelta(days=1) for age in ages),
            total=len(done),
            seconds_each=round(seconds / len(done), 1),
        )


def _other_roles(answers: Mapping[str, Answer], roles: Mapping[str, str]) -> Iterator[str]:
    """Who did what they were not invited for. It counts, as long as nobody judges their own masks.

    Any member can let others in with Label Studio's own link; them the engine has not invited.
    """
    found: Counter[tuple[str, str, str]] = Counter()
    for answer in answers.values():
        person, work = answer.submission.actor, _work_done(answer)
        role = roles.get(person, "")
        fits = {"annotator": ("select", "annotate"), "verifier": ("verify",)}.get(role, ())
        if roles and work not in fits:
            found[person, role, work] += 1
    for (person, role, done), count in sorted(found.items()):
        how = f"was invited as {role}" if role else "was not invited with `engine studio invite`"
        yield f"{person} {how} and handed in {count} of kind `{done}`; it counts"


def _doubtful_times(answers: Mapping[str, Answer]) -> Iterator[str]:
    """More work than the page was open cannot be: a clock is wrong, or acts were counted for the wrong person."""
    for ticket_id, answer in answers.items():
        counted = working_s(answer.submission.effort)
        if counted > 1.2 * answer.lead_time_s + _SLACK_S:
            yield (
                f"{ticket_id}: {counted:.0f} s of work were counted, but Label Studio says that the page was open "
                f"for {answer.lead_time_s:.0f} s; look at the clocks of both servers"
            )


def _work_done(answer: Answer) -> Work:
    submission = answer.submission
    return "verify" if submission.verdict else "annotate" if submission.masks else "select"


def _work_of(kind: str) -> Work:
    return "select" if kind == "selection" else "verify" if kind == "verification" else "annotate"
