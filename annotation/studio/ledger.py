"""The engine's own record of what came from Label Studio, one desk of one round at a time.

Truth is here, not in Label Studio, where any member can change or delete anything. Everything is written once under an
id, so that a kill, a duplicate or another order of arrival changes nothing:

    <desk>-raw      every annotation as received, under `<annotation id>-<content hash>`
    <desk>-answers  what counts: the first valid answer to each ticket, under the ticket's id
    <desk>-invalid  verdicts by somebody who made the masklet; their ticket is asked again under another id
    <desk>-refused  annotations that cannot be used, and why; their authors can mend them
    <desk>-skipped  who skipped which ticket
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotation.errors import PageError
from annotation.records import JsonReader
from annotation.work import Submission
from storage.errors import ManifestError
from storage.inbox import Inbox

__all__ = ["Answer", "Ledger", "Received", "content_hash"]

_VOLATILE = frozenset({"created_ago", "created_username", "completed_by", "updated_by", "updated_at"})
"""Fields of an annotation that change, or are written in several forms, while its content stays as it is."""


@dataclass(frozen=True, slots=True)
class Received:
    """An annotation as Label Studio gave it, and what identifies this state of it."""

    annotation_id: int
    ticket_id: str
    actor: str
    updated_at: str
    content: str  # hash of what a person said by it
    raw: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Where it lies in the ledger."""
        return f"{self.annotation_id}-{self.content}"

    @property
    def is_authors_own(self) -> bool:
        """Whether its author saved it last: any member can change, or import, annotations in another's name."""
        author = self.raw.get("completed_by")
        author_id = author.get("id") if isinstance(author, Mapping) else None
        return "@" in self.actor and self.raw.get("updated_by", author_id) == author_id

    @classmethod
    def from_raw(cls, ticket_id: str, raw: Mapping[str, Any]) -> Received:
        """From an annotation inside a task as an admin gets it; ValueError or TypeError when it is none."""
        author = raw.get("completed_by")
        email = author.get("email") if isinstance(author, Mapping) else None
        return cls(
            annotation_id=int(raw["id"]),
            ticket_id=ticket_id,
            actor=str(email or "").lower(),
            updated_at=str(raw.get("updated_at", "")),
            content=content_hash(raw),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A valid answer to a ticket: where it came from, and what it hands in."""

    ticket_id: str
    annotation_id: int
    content: str
    updated_at: str
    lead_time_s: float
    submission: Submission

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "ticket_id": self.ticket_id,
            "annotation_id": self.annotation_id,
            "content": self.content,
            "updated_at": self.updated_at,
            "lead_time_s": self.lead_time_s,
            "submission": self.submission.to_json(),
        }

    @classmethod
    def from_json(cls, value: object) -> Answer:
        """The inverse of `to_json`; RecordError names the field that is wrong."""
        reader = JsonReader(value, "answer")
        answer = cls(
            ticket_id=reader.text("ticket_id"),
            annotation_id=reader.whole("annotation_id"),
            content=reader.text("content"),
            updated_at=reader.text("updated_at"),
            lead_time_s=reader.number("lead_time_s"),
            submission=reader.nested("submission", Submission.from_json),
        )
        reader.finish()
        return answer


class Ledger:
    """One desk of one round."""

    def __init__(self, inbox: Inbox, round_id: str, desk: str) -> None:
        self._inbox = inbox
        self._round_id = round_id
        self._desk = desk

    def keep(self, received: Received) -> None:
        """Keep an annotation as it came; its first form is enough. PageError if it is too large to be kept."""
        if self._inbox.get(self._round_id, f"{self._desk}-raw", received.key) is None:
            self._append(
                "raw", received.key, {"ticket_id": received.ticket_id, "annotation": dict(received.raw)}
            )

    def accept(self, answer: Answer) -> bool:
        """Whether this answer is the first to its ticket, and counts; another one is kept aside as a conflict."""
        return self._append("answers", answer.ticket_id, answer.to_json())

    def invalidate(self, answer: Answer) -> bool:
        """Keep a verdict that does not count, since who gave it made the masklet."""
        return self._append("invalid", answer.ticket_id, answer.to_json())

    def refuse(self, received: Received, reason: str) -> None:
        """Keep that an annotation cannot be used, and why."""
        if not self.refusal(received):
            self._append("refused", received.key, _note(received) | {"reason": reason})

    def skip(self, received: Received) -> None:
        """Keep that somebody handed a ticket back."""
        if self._inbox.get(self._round_id, f"{self._desk}-skipped", received.key) is None:
            self._append("skipped", received.key, _note(received))

    def answer(self, ticket_id: str) -> Answer | None:
        """What counts for a ticket."""
        return self._answer("answers", ticket_id)

    def invalid(self, ticket_id: str) -> Answer | None:
        """The verdict on a ticket that does not count."""
        return self._answer("invalid", ticket_id)

    def refusal(self, received: Received) -> str:
        """Why an annotation in this form cannot be used; empty if it was not refused."""
        value = self._inbox.get(self._round_id, f"{self._desk}-refused", received.key)
        return "" if value is None else str(value["reason"])

    def has_judged(self, received: Received) -> bool:
        """Whether it is known what becomes of an annotation in this form.

        What its author changes after it was accepted is kept, and counts no more.
        """
        standing = [self.answer(received.ticket_id), self.invalid(received.ticket_id)]
        if any(answer.annotation_id == received.annotation_id for answer in standing if answer):
            return True
        if self.refusal(received):
            return True
        seconds = self.second_answers() if any(standing) else []
        return any(
            (one.annotation_id, one.content) == (received.annotation_id, received.content) for one in seconds
        )

    def answers(self) -> dict[str, Answer]:
        """All that counts, by ticket."""
        return {ticket: Answer.from_json(value) for ticket, value in self._read("answers").items()}

    def invalids(self) -> dict[str, Answer]:
        """All verdicts that do not count, by ticket."""
        return {ticket: Answer.from_json(value) for ticket, value in self._read("invalid").items()}

    def refusals(self) -> list[dict[str, Any]]:
        """Everything refused so far: annotation_id, content, ticket_id, actor, updated_at, reason."""
        return list(self._read("refused").values())

    def skips(self) -> list[dict[str, Any]]:
        """Who skipped what: annotation_id, content, ticket_id, actor, updated_at."""
        return list(self._read("skipped").values())

    def second_answers(self) -> list[Answer]:
        """Valid answers that came second to their tickets."""
        return [
            Answer.from_json(value)
            for value in self._inbox.conflicts(self._round_id, f"{self._desk}-answers").values()
        ]

    def _answer(self, kind: str, ticket_id: str) -> Answer | None:
        value = self._inbox.get(self._round_id, f"{self._desk}-{kind}", ticket_id)
        return None if value is None else Answer.from_json(value)

    def _append(self, kind: str, key: str, payload: Mapping[str, Any]) -> bool:
        try:
            return self._inbox.append(self._round_id, f"{self._desk}-{kind}", key, payload)
        except ManifestError as error:
            raise PageError(f"It cannot be kept: {error}.") from error

    def _read(self, kind: str) -> dict[str, dict[str, Any]]:
        return self._inbox.read(self._round_id, f"{self._desk}-{kind}")


def content_hash(annotation: Mapping[str, Any]) -> str:
    """Hash of what an annotation says; equal for the same one read in another form or later."""
    said = {name: value for name, value in annotation.items() if name not in _VOLATILE}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _note(received: Received) -> dict[str, Any]:
    return {
        "annotation_id": received.annotation_id,
        "content": received.content,
        "ticket_id": received.ticket_id,
        "actor": received.actor,
        "updated_at": received.updated_at,
    }
