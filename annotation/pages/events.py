"""The log of what people did at pages: one small object an event, written once, never changed.

Everything a page's state depends on is here: what was asked, what the model answered, in source resolution. A state can
be built again from a draft and this log, and effort is counted from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from annotation.errors import AnnotationError, EventError
from annotation.pages.tickets import key_part, read_frame_masks, write_frame_masks
from annotation.records import JsonReader, check_choice, check_text
from storage.commits import canonical_json
from storage.errors import ObjectNotFound
from storage.masks import Rle
from storage.objects import ObjectStore

__all__ = ["EventLog", "LogScan", "StudioEvent", "StudioEventKind"]

StudioEventKind = Literal[
    "open",
    "click",
    "box",
    "mask",
    "command",
    "brush",
    "absent",
    "occluded",
    "visible",
    "draft",
    "undo",
    "reset",
    "submit",
    "verdict",
    "refused",
]

_FOLDER = "studio/events"
_NS_DIGITS = 19  # enough until the year 2286


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioEvent:
    """One act at a page, or what was made of it.

    at: seconds since 1970 on the server's clock. person: Label Studio's user, empty while unknown. frame: a source
    frame; x, y: source pixels. text: the command or message. answers: masks by source frame that the act left, in
    source resolution; scores: their predicted IoU. region: the prompt's id in the page; the same prompt sent twice is
    one event.
    """

    event_id: str
    at: float
    ticket_id: str
    person: str
    kind: StudioEventKind
    frame: int | None = None
    x: float | None = None
    y: float | None = None
    positive: bool | None = None
    text: str = ""
    answers: Mapping[int, Rle] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    region: str = ""

    def __post_init__(self) -> None:
        check_text("event", "event_id", self.event_id)
        check_text("event", "ticket_id", self.ticket_id)
        check_choice("event", "kind", self.kind, get_args(StudioEventKind))
        if not (math.isfinite(self.at) and 0 <= self.at < 10**10):
            raise EventError(f"The time of event {self.event_id} is {self.at}, not seconds since 1970.")

    @property
    def order(self) -> tuple[float, str]:
        """What events are sorted by: time, then id."""
        return self.at, self.event_id

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "event_id": self.event_id,
            "at": self.at,
            "ticket_id": self.ticket_id,
            "person": self.person,
            "kind": self.kind,
            "frame": self.frame,
            "x": self.x,
            "y": self.y,
            "positive": self.positive,
            "text": self.text,
            "answers": write_frame_masks(self.answers),
            "scores": [[frame, score] for frame, score in sorted(self.scores.items())],
            "region": self.region,
        }

    @classmethod
    def from_json(cls, value: object) -> StudioEvent:
        """The inverse of `to_json`; RecordError or EventError names what is wrong."""
        reader = JsonReader(value, "event")
        event = cls(
            event_id=reader.text("event_id"),
            at=reader.number("at"),
            ticket_id=reader.text("ticket_id"),
            person=reader.text("person"),
            kind=cast(StudioEventKind, reader.text("kind")),
            frame=reader.optional("frame", reader.whole),
            x=reader.optional("x", reader.number),
            y=reader.optional("y", reader.number),
            positive=reader.optional("positive", reader.flag),
            text=reader.text("text"),
            answers=read_frame_masks(reader, "answers"),
            scores=dict(reader.each("scores", _read_score)),
            region=reader.text("region"),
        )
        reader.finish()
        return event


@dataclass(frozen=True, slots=True)
class LogScan:
    """What a log holds: its events in order, and each object that could not be read, with the reason."""

    events: tuple[StudioEvent, ...]
    damaged: Mapping[str, str]


class EventLog:
    """Events in the object store, by round and ticket. Any number of writers; nobody changes what is there."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def append(self, round_id: str, event: StudioEvent) -> None:
        """Keep an event. The same one again changes nothing; other content in its place is an EventError."""
        name = f"{round(event.at * 1e9):0{_NS_DIGITS}d}-{key_part(event.event_id)}.json"
        key, data = _folder(round_id, event.ticket_id) + name, canonical_json(event.to_json())
        if not self._store.put_if_absent(key, data) and self._store.get(key) != data:
            raise EventError(f"{key} in {self._store.url} is there already with other content.")

    def read(self, round_id: str, ticket_id: str) -> list[StudioEvent]:
        """All events of a ticket by time, then id. EventError names every object that cannot be read."""
        scan = self.scan(round_id, ticket_id)
        if scan.damaged:
            listed = "; ".join(f"{key}: {why}" for key, why in scan.damaged.items())
            raise EventError(
                f"{len(scan.damaged)} of {len(scan.damaged) + len(scan.events)} objects in the log of {ticket_id} in "
                f"{self._store.url} cannot be read. Restore them from a backup or move them away. {listed}"
            )
        return list(scan.events)

    def scan(self, round_id: str, ticket_id: str) -> LogScan:
        """What can be read of a ticket's log and, by key, what cannot."""
        events: list[StudioEvent] = []
        damaged: dict[str, str] = {}
        for key in self._store.list(_folder(round_id, ticket_id)):
            try:
                events.append(self._event(key, ticket_id))
            except ObjectNotFound:
                damaged[key] = "it vanished while the log was read"
            except (AnnotationError, ValueError) as error:
                damaged[key] = str(error)
        return LogScan(tuple(sorted(events, key=lambda event: event.order)), damaged)

    def _event(self, key: str, ticket_id: str) -> StudioEvent:
        event = StudioEvent.from_json(json.loads(self._store.get(key)))
        if event.ticket_id != ticket_id:
            raise EventError(f"It is an event of another ticket, {event.ticket_id}.")
        return event


def _read_score(value: object) -> tuple[int, float]:
    reader = JsonReader({"score": value}, "score of a frame")
    frame, score = reader.point("score")
    return int(frame), score


def _folder(round_id: str, ticket_id: str) -> str:
    return f"{_FOLDER}/{key_part(round_id)}/{key_part(ticket_id)}/"
