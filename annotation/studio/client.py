"""Label Studio as the engine sees it: tasks by ticket, annotations as they came, and nothing else.

A thin skin over Label Studio's SDK. Answers that hold human work are handed on as raw JSON: what is kept is what was
received. Every failure to reach it is one error that says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from http import HTTPStatus
from typing import Any

import httpx

from annotation.errors import SiteError

__all__ = ["StudioClient", "TaskError", "TaskHead"]

_HEAD = "id,data,created_at,updated_at,draft_exists,annotations_ids"
_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class TaskHead:
    """What a listing says of a task: which ticket it shows, and whether somebody has begun or answered it."""

    id: int
    project: int
    ticket_id: str
    created_at: datetime
    updated_at: datetime
    has_draft: bool
    annotations: frozenset[int]


class StudioClient:
    """One Label Studio, used with its admin's personal access token. Every method raises SiteError if it fails."""

    def __init__(self, url: str, token: str, *, timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=True, trust_env=False)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def check(self) -> None:
        """SiteError unless Label Studio answers and takes the token."""
        with self._reaching():
            self._sdk.users.whoami()

    def tasks(self, project: int, *, round_id: str, since: datetime | None = None) -> Iterator[TaskHead]:
        """The tasks of a round in a project, oldest first; with `since`, those that changed after that time.

        A task changes when an annotation of it comes, changes or goes, not when a draft is saved.
        """
        query = json.dumps(_query(round_id, since))
        with self._reaching():
            listed = self._sdk.tasks.list(
                project=project, query=query, fields="all", include=_HEAD, page_size=_PAGE_SIZE
            )
            for task in listed:
                yield _head(project, task)

    def task(self, task_id: int) -> dict[str, Any] | None:
        """A task with all its annotations, as received; None if it was deleted, TaskError if it cannot be read."""
        try:
            with self._reaching(task_id):
                found: dict[str, Any] = self._sdk.tasks.with_raw_response.get(task_id).response.json()
        except _NotFound:
            return None
        return found

    def drafts(self, task_id: int) -> list[dict[str, Any]]:
        """Everybody's drafts of a task: `user` (an e-mail address), `created_at`, `updated_at` and more."""
        with self._reaching():
            access = self._sdk.tokens.refresh(refresh=self._token).access
            response = self._http.get(
                f"{self.url}/api/tasks/{task_id}/drafts", headers={"Authorization": f"Bearer {access}"}
            )
            response.raise_for_status()
            found: list[dict[str, Any]] = response.json()
            return found

    def add_task(
        self, project: int, data: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Import one task; never tried twice, since a lost answer says nothing of what was done."""
        request: dict[str, Any] = {"data": dict(data)}
        if predictions:
            request["predictions"] = [dict(prediction) for prediction in predictions]
        with self._reaching():
            done = self._sdk.projects.import_tasks(
                project, request=[request], return_task_ids=True, request_options={"max_retries": 0}
            )
        if not done.task_ids:
            raise SiteError(f"Label Studio at {self.url} imported no task into its project {project}.")
        return int(done.task_ids[0])

    def set_data(self, task_id: int, data: Mapping[str, Any]) -> None:
        """Replace what a task shows."""
        with self._reaching():
            self._sdk.tasks.update(task_id, data=dict(data))

    def delete_task(self, task_id: int) -> None:
        """Remove a task; no error if it is gone."""
        with suppress(_NotFound), self._reaching():
            self._sdk.tasks.delete(task_id)

    @cached_property
    def _sdk(self) -> Any:
        from label_studio_sdk import LabelStudio  # a second to import: only when it is needed

        build: Any = LabelStudio
        return build(base_url=self.url, api_key=self._token, httpx_client=self._http)

    @contextmanager
    def _reaching(self, task_id: int | None = None) -> Iterator[None]:
        from label_studio_sdk.core import ApiError

        try:
            yield
        except httpx.HTTPError as error:
            raise SiteError(
                f"Label Studio at {self.url} does not answer ({type(error).__name__}). "
                "Run `engine studio up`, then the same command again; nothing is lost."
            ) from error
        except ApiError as error:
            kind, what = (SiteError, "") if task_id is None else (TaskError, f" for task {task_id}")
            if error.status_code == HTTPStatus.NOT_FOUND:
                kind = _NotFound
            raise kind(
                f"Label Studio at {self.url} refused a request{what} ({error.status_code}): {_said(error.body)}. "
                "If something of the engine's is gone or damaged there, `engine studio up` mends it; else see "
                "`engine studio logs`."
            ) from error


class TaskError(SiteError):
    """Label Studio fails over one task; the others are not concerned."""


class _NotFound(SiteError):
    """What was asked for is not there, or not any more."""


def _said(body: object) -> str:
    """What Label Studio says is wrong; its pages for browsers say nothing."""
    text = str(body.get("detail") or body) if isinstance(body, Mapping) else str(body).strip()
    return "no reason given" if text.startswith("<") else text[:300].rstrip(".")


def _query(round_id: str, since: datetime | None) -> dict[str, Any]:
    filters = [_filter("tasks:data.round_id", "equal", "String", round_id)]
    if since is not None:
        filters.append(_filter("tasks:updated_at", "greater", "Datetime", _iso(since)))
    return {"filters": {"conjunction": "and", "items": filters}, "ordering": ["tasks:id"]}


def _filter(field: str, operator: str, kind: str, value: str) -> dict[str, str]:
    return {"filter": f"filter:{field}", "operator": operator, "type": kind, "value": value}


def _iso(moment: datetime) -> str:
    """Label Studio filters by milliseconds: cut off, so that nothing of that millisecond is missed."""
    return (moment - timedelta(milliseconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _head(project: int, task: Any) -> TaskHead:
    data = task.data if isinstance(task.data, Mapping) else {}
    ids = str(task.annotations_ids or "").split(",")
    return TaskHead(
        id=int(task.id),
        project=project,
        ticket_id=str(data.get("ticket_id", "")),
        created_at=_moment(task.created_at),
        updated_at=_moment(task.updated_at),
        has_draft=bool(task.draft_exists),
        annotations=frozenset(int(found) for found in ids if found.strip().isdigit()),
    )


def _moment(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
