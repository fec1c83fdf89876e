"""Label Studio in memory: what `StudioClient` sees of it, and what people do to it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from annotation.errors import SiteError
from annotation.studio.client import TaskError, TaskHead

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeStudio:
    """Tasks, annotations and drafts; every act takes a second.

    `down`: it does not answer. `unreadable`: tasks over which it fails.
    """

    url = "http://studio"

    def __init__(self) -> None:
        self.now = START
        self.down = False
        self.imports = 0
        self.writes = 0
        self.unreadable: set[int] = set()
        self._tasks: dict[int, dict[str, Any]] = {}
        self._next_id = 0

    # what the engine sees

    def tasks(self, project: int, *, round_id: str, since: datetime | None = None) -> Iterator[TaskHead]:
        self._answering()
        for task in list(self._tasks.values()):
            updated = datetime.fromisoformat(task["updated_at"])
            if task["project"] != project or task["data"]["round_id"] != round_id:
                continue
            if since is None or updated > since:
                ids = frozenset(one["id"] for one in task["annotations"])
                yield TaskHead(
                    task["id"], project, task["data"]["ticket_id"], datetime.fromisoformat(task["created_at"]),
                    updated, bool(task["drafts"]), ids,
                )  # fmt: skip

    def task(self, task_id: int) -> dict[str, Any] | None:
        self._answering()
        if task_id in self.unreadable:
            raise TaskError(f"refused a request for task {task_id}")
        return copy.deepcopy(self._tasks.get(task_id))

    def drafts(self, task_id: int) -> list[dict[str, Any]]:
        self._answering()
        return copy.deepcopy(self._tasks[task_id]["drafts"])

    def add_task(
        self, project: int, data: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        self._answering()
        self.imports += 1
        number = self._id()
        self._tasks[number] = {
            "id": number, "project": project, "data": copy.deepcopy(dict(data)),
            "predictions": copy.deepcopy(list(predictions)), "annotations": [], "drafts": [],
            "created_at": self._tick(), "updated_at": self.now.isoformat(),
        }  # fmt: skip
        return number

    def set_data(self, task_id: int, data: Mapping[str, Any]) -> None:
        self._answering()
        self.writes += 1
        self._tasks[task_id]["data"] = dict(data)
        self._touch(task_id)

    def delete_task(self, task_id: int) -> None:
        self._answering()
        self._tasks.pop(task_id, None)

    # what people do

    def find(self, ticket_id: str) -> list[dict[str, Any]]:
        return [task for task in self._tasks.values() if task["data"]["ticket_id"] == ticket_id]

    def open_tickets(self) -> list[str]:
        """Tickets of tasks that nobody has answered, in the order of the tasks."""
        return [task["data"]["ticket_id"] for task in self._tasks.values() if not task["annotations"]]

    def notice(self, ticket_id: str) -> str:
        (task,) = self.find(ticket_id)
        return str(task["data"]["notice"])

    def save_draft(self, ticket_id: str, person: str, result: Sequence[Mapping[str, Any]] = ()) -> None:
        (task,) = self.find(ticket_id)
        at = self._tick()
        task["drafts"].append({"user": person, "created_at": at, "updated_at": at, "result": list(result)})

    def submit(
        self, ticket_id: str, person: str, result: Sequence[Mapping[str, Any]], **more: Any
    ) -> dict[str, Any]:
        """An annotation, as an admin sees it in the task."""
        task = self.find(ticket_id)[0]
        number = self._id()
        annotation = {
            "id": number, "result": copy.deepcopy(list(result)), "was_cancelled": False, "lead_time": 30.0,
            "completed_by": {"id": 7, "email": person}, "created_at": self._tick(),
            "updated_at": self.now.isoformat(), "task": task["id"], "created_ago": "0 minutes",
        } | more  # fmt: skip
        task["annotations"].append(annotation)
        task["drafts"] = [draft for draft in task["drafts"] if draft["user"] != person]
        self._touch(task["id"])
        return annotation

    def update(self, annotation: dict[str, Any], result: Sequence[Mapping[str, Any]]) -> None:
        annotation["result"] = copy.deepcopy(list(result))
        annotation["updated_at"] = self._tick()
        self._touch(annotation["task"])

    def delete_annotation(self, annotation: dict[str, Any]) -> None:
        self._tasks[annotation["task"]]["annotations"].remove(annotation)
        self._touch(annotation["task"])

    def _touch(self, task_id: int) -> None:
        self._tasks[task_id]["updated_at"] = self._tick()

    def _tick(self) -> str:
        self.now += timedelta(seconds=1)
        return self.now.isoformat()

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _answering(self) -> None:
        if self.down:
            raise SiteError("Label Studio at http://studio does not answer")
