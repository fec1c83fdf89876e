"""Reading what Label Studio sends, and shaping what it gets.

A request holds the task, the caller's own drafts (with every mask of the page), and the newest prompt. It does not say
who is calling: only a draft, or an annotation handed in before, tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from annotation.errors import PageError

__all__ = [
    "Draft",
    "PredictRequest",
    "WebhookCall",
    "answer",
    "newest",
    "read_drafts",
    "read_predict",
    "read_webhook",
]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a page showed when it was saved: by itself every five seconds, or handed in as an annotation.

    user: e-mail address, empty if only `user_id` is known (0: neither). saved_at: seconds since 1970 on Label Studio's
    clock.
    """

    user: str
    user_id: int
    saved_at: float
    result: Sequence[object]


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """One call for an answer. pages: how many the task has. context: the regions of the newest prompt, perhaps none."""

    task_id: int
    pages: int
    round_id: str
    ticket_id: str
    drafts: tuple[Draft, ...]
    annotations: tuple[Draft, ...]
    context: Sequence[object]

    @property
    def page(self) -> int:
        """The page that the newest prompt names, even where it is malformed otherwise; the first if it names none."""
        last = self.context[-1] if self.context else None
        page = _whole(last.get("item_index")) if isinstance(last, Mapping) else 0
        return min(max(page, 0), self.pages - 1)


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """Something happened to an annotation; `action` is Label Studio's word for it."""

    action: str
    annotation_id: int
    user_id: int
    round_id: str
    ticket_id: str


def read_predict(body: bytes) -> PredictRequest | None:
    """A call to /predict. None when it names no task of ours or has no prompt's context: nothing is to be answered.

    Raises PageError when it is not what Label Studio sends.
    """
    value = _object(_json(body), "request")
    tasks = value.get("tasks")
    context = _context(value)
    if not isinstance(tasks, list) or not tasks:
        raise PageError("A request for predictions needs a list of tasks.")
    if context is None or len(tasks) != 1:
        return None
    task = _object(tasks[0], "task")
    round_id, ticket_id = _ticket(task)
    return PredictRequest(
        task_id=_whole(task.get("id")),
        pages=_pages(task),
        round_id=round_id,
        ticket_id=ticket_id,
        drafts=read_drafts(task.get("drafts")),
        annotations=tuple(
            _draft(row) for row in _objects(task.get("annotations")) if not row.get("was_cancelled")
        ),
        context=context,
    )


def read_webhook(body: bytes) -> WebhookCall | None:
    """A call of the webhook; None when it is not about an annotation of a task of ours. PageError when malformed."""
    value = _object(_json(body), "webhook call")
    annotation, task = value.get("annotation"), value.get("task")
    if not isinstance(annotation, Mapping) or not isinstance(task, Mapping):
        return None
    try:
        round_id, ticket_id = _ticket(task)
    except PageError:
        return None
    return WebhookCall(
        action=str(value.get("action"))[:40],
        annotation_id=_whole(annotation.get("id")),
        user_id=_whole(annotation.get("updated_by") or annotation.get("completed_by")),
        round_id=round_id,
        ticket_id=ticket_id,
    )


def read_drafts(value: object) -> tuple[Draft, ...]:
    """Drafts as Label Studio lists them."""
    return tuple(_draft(row) for row in _objects(value))


def newest(drafts: Sequence[Draft]) -> Draft | None:
    """The one that was saved last."""
    return max(drafts, key=lambda draft: draft.saved_at, default=None)


def answer(regions: Sequence[Mapping[str, Any]], *, model_version: str) -> bytes:
    """The body of an answer with these regions, each checked by whoever built it."""
    scores = [region["score"] for region in regions if isinstance(region.get("score"), float)]
    row: dict[str, Any] = {"model_version": model_version, "result": list(regions)}
    if scores:
        row["score"] = min(scores)
    return json.dumps({"results": [row]}, separators=(",", ":")).encode()


def _context(value: Mapping[str, Any]) -> Sequence[object] | None:
    """The list in params.context.result; None where there is no context at all."""
    params = value.get("params")
    context = params.get("context") if isinstance(params, Mapping) else None
    if not context:
        return None
    result = _object(context, "context").get("result")
    if not isinstance(result, list):
        raise PageError("The context of a request needs a list 'result'.")
    return result


def _ticket(task: Mapping[str, Any]) -> tuple[str, str]:
    data = _object(task.get("data"), "task's data")
    found = data.get("round_id"), data.get("ticket_id")
    if not all(isinstance(name, str) and name for name in found):
        raise PageError("The task names no ticket: it was not published by the engine.")
    return str(found[0]), str(found[1])


def _pages(task: Mapping[str, Any]) -> int:
    frames = _object(task.get("data"), "task's data").get("frames")
    if not isinstance(frames, list) or not frames:
        raise PageError("The task shows no frames: it is none to annotate.")
    return len(frames)


def _draft(row: Mapping[str, Any]) -> Draft:
    result = row.get("result")
    if not isinstance(result, list):
        raise PageError("A draft needs a list 'result'.")
    user, user_id = row.get("user"), 0
    if user is None:  # an annotation: by a number, or with the address where Label Studio expands it
        author = row.get("completed_by")
        user = author.get("email") if isinstance(author, Mapping) else None
        user_id = _whole(author.get("id") if isinstance(author, Mapping) else author)
    return Draft(str(user or ""), user_id, _moment(row.get("updated_at")), result)


def _moment(value: object) -> float:
    """ISO time as seconds since 1970."""
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        raise PageError(f"A draft's time is {value!r:.40}, not an ISO date and time.") from None


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise PageError("The request is not JSON.") from None


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PageError(f"The {what} must be a JSON object.")
    return value


def _objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; nothing for null."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
        raise PageError("Drafts and annotations must be lists of JSON objects.")
    return value


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
