"""What crosses the seam between the engine and people: work items out, submissions back.

Everything is a frozen dataclass that checks itself and turns into JSON (plain dicts and lists) and back
without loss. Frames are always source frame indices, masks COCO RLE in the video's resolution, points and
boxes pixels of the frame, times seconds since the person opened the item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from annotation.errors import RecordError
from annotation.records import JsonReader, box_to_json, check_choice, check_text, check_whole
from model.prompts import Box
from storage.masks import Rle

__all__ = [
    "Desk",
    "EffortEvent",
    "EventKind",
    "FrameMask",
    "PhaseRules",
    "Selection",
    "Submission",
    "TrackerPrompts",
    "Verdict",
    "VerdictName",
    "WorkItem",
    "WorkKind",
    "submission_id",
]

Desk = Literal["selection", "annotation", "auto"]
WorkKind = Literal["select", "annotate", "verify"]
TrackerPrompts = Literal["none", "masks", "all"]
VerdictName = Literal["satisfactory", "unsatisfactory", "rejected"]
EventKind = Literal[
    "click",
    "box",
    "brush",
    "absent",
    "locate",
    "examine",
    "propagate",
    "undo",
    "reset",
    "submit",
    "verdict",
    "idle",
]
"""What a person did. `idle` lasts no time: it stands where a pause was too long to count as work."""


@dataclass(frozen=True, slots=True)
class PhaseRules:
    """What the annotation tool allows in a phase (SAM 2, §5.1).

    propagates: whether masks may be tracked to other frames. tracker_prompts: what the tracker takes: nothing
    (there is no tracker), masks only (SAM 2 Mask), or clicks, boxes and masks (SAM 2).
    """

    phase: int
    propagates: bool
    tracker_prompts: TrackerPrompts

    def __post_init__(self) -> None:
        check_choice("phase's rules", "phase", self.phase, (1, 2, 3))
        check_choice("phase's rules", "tracker_prompts", self.tracker_prompts, get_args(TrackerPrompts))
        if self.propagates == (self.tracker_prompts == "none"):
            raise RecordError(
                f"The rules of phase {self.phase} contradict themselves: propagates is {self.propagates} "
                f"but the tracker takes {self.tracker_prompts!r} prompts."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One piece of work for one person.

    revision: the one to be made (annotate) or judged (verify). masks: what to start from, or what to judge,
    by source frame. bad_range: source frames (from, to), both inclusive, that a verifier found wrong, and reason:
    what they said of it. wanted: how many objects to select. taken: masks at `first_frame` of objects already
    annotated (select). scores: how sure the model is of the masks it made, 0 to 1, by source frame.
    """

    task_id: str
    round_id: str
    desk: Desk
    kind: WorkKind
    video_id: str
    phase: int
    first_frame: int
    masklet_id: str | None = None
    object_id: int | None = None
    revision: int = 1
    point: tuple[float, float] | None = None
    box: Box | None = None
    name: str = "object"
    masks: Mapping[int, Rle] = field(default_factory=dict)
    bad_range: tuple[int, int] | None = None
    excluded_people: frozenset[str] = frozenset()
    wanted: int = 1
    taken: tuple[Rle, ...] = ()
    reason: str = ""
    scores: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("task_id", "round_id", "video_id"):
            check_text("work item", name, getattr(self, name))
        check_choice("work item", "desk", self.desk, get_args(Desk))
        check_choice("work item", "kind", self.kind, get_args(WorkKind))
        check_choice("work item", "phase", self.phase, (1, 2, 3))
        check_whole("work item", "first_frame", self.first_frame)
        check_whole("work item", "revision", self.revision)
        check_whole("work item", "wanted", self.wanted)
        _check_range("work item", self.bad_range)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; sets and maps are written sorted, so that equal items give equal text."""
        value: dict[str, Any] = {
            "task_id": self.task_id,
            "round_id": self.round_id,
            "desk": self.desk,
            "kind": self.kind,
            "video_id": self.video_id,
            "masklet_id": self.masklet_id,
            "object_id": self.object_id,
            "phase": self.phase,
            "revision": self.revision,
            "first_frame": self.first_frame,
            "point": None if self.point is None else list(self.point),
            "box": box_to_json(self.box),
            "name": self.name,
            "masks": [{"frame": f, "rle": rle.to_coco()} for f, rle in sorted(self.masks.items())],
            "bad_range": None if self.bad_range is None else list(self.bad_range),
            "excluded_people": sorted(self.excluded_people),
            "wanted": self.wanted,
            "taken": [rle.to_coco() for rle in self.taken],
        }
        if self.reason:
            value["reason"] = self.reason
        if self.scores:
            value["scores"] = [{"frame": f, "score": score} for f, score in sorted(self.scores.items())]
        return value

    @classmethod
    def from_json(cls, value: object) -> WorkItem:
        """The inverse of `to_json`; RecordError names the field that is wrong."""
        reader = JsonReader(value, "work item")
        item = cls(
            task_id=reader.text("task_id"),
            round_id=reader.text("round_id"),
            desk=cast(Desk, reader.text("desk")),
            kind=cast(WorkKind, reader.text("kind")),
            video_id=reader.text("video_id"),
            masklet_id=reader.optional("masklet_id", reader.text),
            object_id=reader.optional("object_id", reader.whole),
            phase=reader.whole("phase"),
            revision=reader.whole("revision"),
            first_frame=reader.whole("first_frame"),
            point=reader.optional("point", reader.point),
            box=reader.optional("box", reader.box),
            name=reader.text("name"),
            masks=dict(reader.each("masks", _read_frame_rle)),
            bad_range=reader.optional("bad_range", reader.range),
            excluded_people=frozenset(reader.texts("excluded_people")),
            wanted=reader.whole("wanted"),
            taken=reader.rles("taken"),
            reason=reader.text("reason") if reader.has("reason") else "",
            scores=dict(reader.each("scores", _read_score)) if reader.has("scores") else {},
        )
        reader.finish()
        return item


@dataclass(frozen=True, slots=True)
class Selection:
    """One object that a person chose: a point and a box on it at `first_frame`, and what to call it."""

    first_frame: int
    x: float
    y: float
    box: Box | None
    name: str

    def __post_init__(self) -> None:
        check_whole("selection", "first_frame", self.first_frame)
        check_text("selection", "name", self.name)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "first_frame": self.first_frame,
            "x": self.x,
            "y": self.y,
            "box": box_to_json(self.box),
            "name": self.name,
        }

    @classmethod
    def from_json(cls, value: object) -> Selection:
        """The inverse of `to_json`; RecordError names the field that is wrong."""
        reader = JsonReader(value, "selection")
        selection = cls(
            first_frame=reader.whole("first_frame"),
            x=reader.number("x"),
            y=reader.number("y"),
            box=reader.optional("box", reader.box),
            name=reader.text("name"),
        )
        reader.finish()
        return selection


@dataclass(frozen=True, slots=True)
class FrameMask:
    """One frame of a submitted masklet.

    edited: a person made or changed this mask in this revision. clicks: clicks given on it. locked: a person
    vouches for it (edited or accepted), so that the tracker must not replace it. occluded: a person said that
    something hides part of the object.
    """

    frame: int
    rle: Rle
    edited: bool
    clicks: int
    locked: bool
    occluded: bool = False

    def __post_init__(self) -> None:
        check_whole("frame mask", "frame", self.frame)
        check_whole("frame mask", "clicks", self.clicks)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `occluded` only where it is so, as hand-ins from before it existed have it."""
        value = {
            "frame": self.frame,
            "rle": self.rle.to_coco(),
            "edited": self.edited,
            "clicks": self.clicks,
            "locked": self.locked,
        }
        return value | {"occluded": True} if self.occluded else value

    @classmethod
    def from_json(cls, value: object) -> FrameMask:
        """The inverse of `to_json`; RecordError names the field that is wrong."""
        reader = JsonReader(value, "frame mask")
        mask = cls(
            frame=reader.whole("frame"),
            rle=reader.rle("rle"),
            edited=reader.flag("edited"),
            clicks=reader.whole("clicks"),
            locked=reader.flag("locked"),
            occluded=reader.has("occluded") and reader.flag("occluded"),
        )
        reader.finish()
        return mask


@dataclass(frozen=True, slots=True)
class EffortEvent:
    """One act of a person: what, where (a source frame and pixel, if any), when, and how long it took.

    at_s: seconds from opening the item to the start of the act. duration_s: seconds it took.
    """

    kind: EventKind
    frame: int | None
    x: float | None
    y: float | None
    positive: bool | None
    at_s: float
    duration_s: float

    def __post_init__(self) -> None:
        check_choice("effort event", "kind", self.kind, get_args(EventKind))
        for name, value in (("at_s", self.at_s), ("duration_s", self.duration_s)):
            if not value >= 0:
                raise RecordError(
                    f"The field {name!r} of an effort event is {value}; time does not run backwards."
                )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": self.kind,
            "frame": self.frame,
            "x": self.x,
            "y": self.y,
            "positive": self.positive,
            "at_s": self.at_s,
            "duration_s": self.duration_s,
        }

    @classmethod
    def from_json(cls, value: object) -> EffortEvent:
        """The inverse of `to_json`; RecordError names the field that is wrong."""
        reader = JsonReader(value, "effort event")
        event = cls(
            kind=cast(EventKind, reader.text("kind")),
            frame=reader.optional("frame", reader.whole),
            x=reader.optional("x", reader.number),
            y=reader.optional("y", reader.number),
            positive=reader.optional("positive", reader.flag),
            at_s=reader.number("at_s"),
            duration_s=reader.number("duration_s"),
        )
        reader.finish()
        return event


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's answer (SAM 2, §5.1); `bad_range` are source frames (from, to), both inclusive."""

    verdict: VerdictName
    reason: str
    bad_range: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_choice("verdict", "verdict", self.verdict, get_args(VerdictName))
        _check_range("verdict", self.bad_range)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        bad_range = None if self.bad_range is None else list(self.bad_range)
        return {"verdict": self.verdict, "reason": self.reason, "bad_range": bad_range}

    @classmethod
    def from_json(cls, value: object) -> Verdict:
        """The inverse of `to_json`; RecordError names the field that is wrong."""
        reader = JsonReader(value, "verdict")
        verdict = cls(
            verdict=cast(VerdictName, reader.text("verdict")),
            reason=reader.text("reason"),
            bad_range=reader.optional("bad_range", reader.range),
        )
        reader.finish()
        return verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What one person hands in for one work item: selections, masks or a verdict, and the effort it took.

    helpers: others who made part of it, where a long video was cut into several pieces of work.
    """

    submission_id: str
    task_id: str
    actor: str
    selections: tuple[Selection, ...] = ()
    masks: tuple[FrameMask, ...] = ()
    verdict: Verdict | None = None
    effort: tuple[EffortEvent, ...] = ()
    helpers: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in ("submission_id", "task_id", "actor"):
            check_text("submission", name, getattr(self, name))
        frames = [mask.frame for mask in self.masks]
        if frames != sorted(set(frames)):
            raise RecordError("The field 'masks' of a submission must hold each frame once, in order.")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `helpers` only where there were any."""
        value: dict[str, Any] = {
            "submission_id": self.submission_id,
            "task_id": self.task_id,
            "actor": self.actor,
            "selections": [selection.to_json() for selection in self.selections],
            "masks": [mask.to_json() for mask in self.masks],
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "effort": [event.to_json() for event in self.effort],
        }
        return value | {"helpers": sorted(self.helpers)} if self.helpers else value

    @classmethod
    def from_json(cls, value: object) -> Submission:
        """The inverse of `to_json`; RecordError names the field that is wrong."""
        reader = JsonReader(value, "submission")
        submission = cls(
            submission_id=reader.text("submission_id"),
            task_id=reader.text("task_id"),
            actor=reader.text("actor"),
            selections=reader.each("selections", Selection.from_json),
            masks=reader.each("masks", FrameMask.from_json),
            verdict=reader.optional("verdict", lambda name: reader.nested(name, Verdict.from_json)),
            effort=reader.each("effort", EffortEvent.from_json),
            helpers=frozenset(reader.texts("helpers") if reader.has("helpers") else ()),
        )
        reader.finish()
        return submission


def submission_id(task_id: str, actor: str) -> str:
    """The same person handing in the same item twice gives one id: 20 hex digits, safe in any key or path."""
    return hashlib.sha256(f"{task_id}\n{actor}".encode()).hexdigest()[:20]


def _read_frame_rle(value: object) -> tuple[int, Rle]:
    reader = JsonReader(value, "work item's mask")
    pair = reader.whole("frame"), reader.rle("rle")
    reader.finish()
    return pair


def _read_score(value: object) -> tuple[int, float]:
    reader = JsonReader(value, "work item's score")
    pair = reader.whole("frame"), reader.number("score")
    reader.finish()
    return pair


def _check_range(what: str, bad_range: tuple[int, int] | None) -> None:
    if bad_range is not None and not 0 <= bad_range[0] <= bad_range[1]:
        raise RecordError(
            f"The field 'bad_range' of a {what} is {bad_range}; it must be (from, to) with from <= to."
        )
