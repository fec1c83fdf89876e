"""Where every masklet of a round stands, computed from what people handed in (SAM 2, §5.1).

Nothing here is stored: the state is a fold over the inbox, so a killed process loses nothing and the same hand-ins
always give the same state. One hand-in counts per work item: the first to arrive (the inbox keeps the others aside).

    planned ── annotate 1 ── verify 1 ─┬ satisfactory ──────────────────────────── accepted
                  ▲                    ├ unsatisfactory ── annotate 2 ── … ── at most N times, then escalated
                  └────────────────────┴ rejected ─────────────────────────────── rejected

An automatic masklet starts at its verification as revision 0; when unsatisfactory it either enters the same loop (a
sampled failure) or is dropped as failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from annotation.work import FrameMask, Submission, Verdict, WorkItem
from model.prompts import Box
from storage.masks import Rle

Desk = Literal["annotation", "auto"]
State = Literal["to_annotate", "to_verify", "accepted", "rejected", "failed", "escalated"]
"""`to_…` states are open; the others are final."""

OPEN_STATES: frozenset[State] = frozenset({"to_annotate", "to_verify"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A masklet that people are to work on.

    `masks` are the pre-labels, or an automatic masklet's own masks; `scores` how sure the model is of them, 0 to 1.
    """

    masklet_id: str
    video_id: str
    object_id: int
    phase: int
    first_frame: int
    point: tuple[float, float]
    box: Box | None
    name: str
    masks: Mapping[int, Rle]
    mined: bool = False
    refine_if_failed: bool = True
    scores: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Revision:
    """One immutable version of a masklet: who made it (with whose help), and its masks by source frame."""

    number: int
    annotator: str
    masks: tuple[FrameMask, ...]
    helpers: frozenset[str] = frozenset()

    def rles(self) -> dict[int, Rle]:
        """Masks by source frame."""
        return {mask.frame: mask.rle for mask in self.masks}


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict on one revision."""

    revision: int
    verifier: str
    verdict: Verdict
    duration_s: float


@dataclass(frozen=True, slots=True)
class MaskletWork:
    """One masklet's history in a round and where it stands."""

    candidate: Candidate
    state: State
    revisions: tuple[Revision, ...]
    verdicts: tuple[Judged, ...]

    @property
    def latest(self) -> Revision:
        """The newest revision; a mined masklet's revision 0 is the model's own."""
        return self.revisions[-1]

    @property
    def people(self) -> frozenset[str]:
        """Everyone who annotated this masklet: none of them may verify it."""
        made = [revision for revision in self.revisions if revision.number > 0]
        return frozenset().union(*({revision.annotator, *revision.helpers} for revision in made))


@dataclass(frozen=True)
class Workbench:
    """All masklets of one desk of a round, and what is open."""

    round_id: str
    desk: Desk
    works: tuple[MaskletWork, ...]

    @cached_property
    def counts(self) -> Counter[State]:
        """How many masklets are in each state."""
        return Counter(work.state for work in self.works)

    @property
    def done(self) -> bool:
        """Whether nothing is left for people to do."""
        return not any(work.state in OPEN_STATES for work in self.works)

    def open_items(self) -> list[WorkItem]:
        """What people can work on now, in the masklets' order."""
        return [self._item(work) for work in self.works if work.state in OPEN_STATES]

    def describe(self) -> str:
        """`3 of 8 masklets done, 2 to annotate, 3 to verify`."""
        counts = self.counts
        finished = sum(count for state, count in counts.items() if state not in OPEN_STATES)
        return (
            f"{finished} of {len(self.works)} masklets done, "
            f"{counts['to_annotate']} to annotate, {counts['to_verify']} to verify"
        )

    def _item(self, work: MaskletWork) -> WorkItem:
        candidate = work.candidate
        verifying = work.state == "to_verify"
        revision = work.latest.number if verifying else next_revision(work.revisions)
        refused = work.verdicts[-1].verdict if work.verdicts and not verifying else None
        return WorkItem(
            task_id=task_id(candidate.masklet_id, "verify" if verifying else "annotate", revision),
            round_id=self.round_id,
            desk=self.desk,
            kind="verify" if verifying else "annotate",
            video_id=candidate.video_id,
            masklet_id=candidate.masklet_id,
            object_id=candidate.object_id,
            phase=candidate.phase,
            revision=revision,
            first_frame=candidate.first_frame,
            point=candidate.point,
            box=candidate.box,
            name=candidate.name,
            masks=work.latest.rles() if work.revisions else candidate.masks,
            scores={} if work.revisions else candidate.scores,
            bad_range=refused.bad_range if refused else None,
            reason=refused.reason if refused else "",
            excluded_people=work.people if verifying else frozenset(),
        )


def fold(
    round_id: str,
    desk: Desk,
    candidates: Iterable[Candidate],
    handed_in: Mapping[str, Submission],
    *,
    max_reannotations: int,
) -> Workbench:
    """Where every candidate stands, given what was handed in by task id."""
    works = tuple(
        _follow(candidate, handed_in, max_reannotations=max_reannotations) for candidate in candidates
    )
    return Workbench(round_id=round_id, desk=desk, works=works)


def task_id(masklet_id: str, kind: str, revision: int) -> str:
    """The name of one piece of work, the same however often it is published."""
    return f"{masklet_id}-{kind}-{revision}"


def next_revision(revisions: tuple[Revision, ...]) -> int:
    """The number of the revision to be made."""
    return revisions[-1].number + 1 if revisions else 1


def _follow(
    candidate: Candidate, handed_in: Mapping[str, Submission], *, max_reannotations: int
) -> MaskletWork:
    revisions: list[Revision] = [_mined_revision(candidate)] if candidate.mined else []
    verdicts: list[Judged] = []
    state: State = "to_verify" if candidate.mined else "to_annotate"
    while state in OPEN_STATES:
        if state == "to_annotate":
            number = next_revision(tuple(revisions))
            submission = handed_in.get(task_id(candidate.masklet_id, "annotate", number))
            if submission is None:
                break
            revisions.append(Revision(number, submission.actor, submission.masks, submission.helpers))
            state = "to_verify"
        else:
            number = revisions[-1].number
            submission = handed_in.get(task_id(candidate.masklet_id, "verify", number))
            if submission is None or submission.verdict is None:
                break
            verdicts.append(_judged(number, submission, submission.verdict))
            state = _after_verdict(
                candidate, submission.verdict, revision=number, max_reannotations=max_reannotations
            )
    return MaskletWork(candidate, state, tuple(revisions), tuple(verdicts))


def _after_verdict(candidate: Candidate, verdict: Verdict, *, revision: int, max_reannotations: int) -> State:
    if verdict.verdict == "satisfactory":
        return "accepted"
    if verdict.verdict == "rejected":
        return "rejected"
    if candidate.mined and revision == 0 and not candidate.refine_if_failed:
        return "failed"
    return "to_annotate" if revision <= max_reannotations else "escalated"


def _judged(revision: int, submission: Submission, verdict: Verdict) -> Judged:
    spent_s = sum(event.duration_s for event in submission.effort)
    return Judged(revision, submission.actor, verdict, duration_s=round(spent_s, 3))


def _mined_revision(candidate: Candidate) -> Revision:
    masks = tuple(
        FrameMask(frame=frame, rle=rle, edited=False, clicks=0, locked=False)
        for frame, rle in sorted(candidate.masks.items())
    )
    return Revision(number=0, annotator="model", masks=masks)
