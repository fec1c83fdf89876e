"""A round through a Label Studio in memory: one short video, its frames, and whoever sits in front of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from annotation.pages.configs import PAGE_KINDS
from annotation.pages.events import EventLog, StudioEvent
from annotation.pages.marks import mask_region, visibility_region
from annotation.pages.tickets import Ticket, TicketStore
from annotation.pages.views import TaskLimits
from annotation.studio.asking import Networks
from annotation.studio.collecting import Polled
from annotation.studio.ledger import Ledger
from annotation.studio.people import LabelStudioPeople
from annotation.studio.queues import DESKS, QueueReader
from annotation.work import Submission, WorkItem
from storage.folder import FolderStore
from storage.inbox import Inbox
from storage.masks import Rle, decode, encode
from storage.objects import ObjectStore
from storage.videos import Video, VideoLibrary
from tests.annotation.studio.fake_studio import START, FakeStudio

ROUND = "r0001-p3"
HEIGHT, WIDTH, FRAMES = 8, 12, 6
PROJECTS = {kind: number for number, kind in enumerate(PAGE_KINDS, start=1)}

BoolMask = NDArray[np.bool_]


def block(x: int, y: int = 2, size: int = 3) -> BoolMask:
    """A square of pixels."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y : y + size, x : x + size] = True
    return mask


def rle(x: int, y: int = 2, size: int = 3) -> Rle:
    return encode(block(x, y, size))


@dataclass
class Round:
    """Everything a round through Label Studio touches, and short ways to act in it."""

    studio: FakeStudio
    store: ObjectStore
    library: VideoLibrary
    video: Video
    limits: TaskLimits = field(default_factory=TaskLimits)

    def __post_init__(self) -> None:
        self.inbox, self.tickets, self.events = (
            Inbox(self.store),
            TicketStore(self.store),
            EventLog(self.store),
        )

    def people(self) -> LabelStudioPeople:
        """A fresh process."""
        return LabelStudioPeople(
            self.studio,  # type: ignore[arg-type]
            self.store,
            self.inbox,
            round_id=ROUND,
            projects=PROJECTS,
            video_of=self.library.get,
            pictures=lambda ticket: {"frames": [f"/{frame}.jpg" for frame in ticket.view.frames]},
            limits=self.limits,
            networks=Networks("c" * 64),
            model_version="engine",
        )

    def exchange(self, *items: WorkItem) -> list[Submission]:
        return list(self.people().exchange(items))

    def ledger(self, desk: str = "annotation") -> Ledger:
        return Ledger(self.inbox, ROUND, desk)

    def queues(self, roles: Mapping[str, str] | None = None) -> QueueReader:
        return QueueReader(
            self.studio,  # type: ignore[arg-type]
            {desk: self.ledger(desk) for desk in DESKS},
            Polled(self.store, ROUND),
            round_id=ROUND,
            projects=PROJECTS,
            roles=roles or {},
        )

    def item(self, **changes: Any) -> WorkItem:
        values: dict[str, Any] = {
            "task_id": "m-annotate-1", "round_id": ROUND, "desk": "annotation", "kind": "annotate",
            "video_id": self.video.video_id, "phase": 3, "first_frame": 0, "masklet_id": "m", "object_id": 1,
            "masks": {frame: rle(frame) for frame in self.video.annotated_frames}, "name": "cell",
            "point": (1.0, 1.0),
        }  # fmt: skip
        return WorkItem(**values | changes)

    def verification(self, **changes: Any) -> WorkItem:
        values = {"task_id": "m-verify-1", "kind": "verify", "excluded_people": frozenset({"ann@x.org"})}
        return self.item(**values | changes)

    def ticket(self, ticket_id: str = "m-annotate-1") -> Ticket:
        return self.tickets.get(ROUND, ticket_id)

    def page_result(
        self, masks: Mapping[int, BoolMask], *, ticket_id: str = "m-annotate-1", absent: Sequence[int] = ()
    ) -> list[dict[str, Any]]:
        """What a page hands in: masks by source frame, in source pixels, and frames without the object."""
        view = self.ticket(ticket_id).view
        regions = [mask_region(view.page_of(f), view.shown(mask), view) for f, mask in masks.items()]
        return regions + [visibility_region(view.page_of(frame), "absent") for frame in absent]

    def published(self, item: WorkItem | None = None) -> dict[int, BoolMask]:
        return {frame: decode(one) for frame, one in (item or self.item()).masks.items()}

    def log(self, kind: str, *, at: float, ticket_id: str = "m-annotate-1", **more: Any) -> None:
        """Something happened at the model server, `at` seconds after the start."""
        number = sum(1 for _ in self.store.list(f"studio/events/{ROUND}/{ticket_id}/"))
        values = {"event_id": f"{number:08x}-e", "person": "ann@x.org"} | more
        event = StudioEvent(at=START.timestamp() + at, ticket_id=ticket_id, kind=kind, **values)  # type: ignore[arg-type]
        self.events.append(ROUND, event)


@pytest.fixture
def studio_round(tmp_path: Path) -> Round:
    store = FolderStore(tmp_path / "store")
    library = VideoLibrary(store)
    frames = np.random.default_rng(0).integers(0, 255, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    outcome = library.ingest_array(frames, name="film", fps=6.0, split="train", group="film")
    assert outcome.video is not None
    return Round(FakeStudio(), store, library, outcome.video)


VERDICTS: dict[str, str] = {
    "satisfactory": "satisfactory",
    "unsatisfactory": "unsatisfactory",
    "rejected": "reject",
}


def verdict_result(name: str, *ranges: tuple[int, int]) -> list[dict[str, Any]]:
    """What the verification page hands in; ranges in its own counting, from 1, both ends included."""
    result: list[dict[str, Any]] = [
        {
            "id": "v",
            "from_name": "verdict",
            "to_name": "video",
            "type": "choices",
            "value": {"choices": [VERDICTS[name]]},
        }
    ]
    for number, (start, end) in enumerate(ranges):
        value = {"ranges": [{"start": start, "end": end}], "timelinelabels": ["bad mask"]}
        result.append(
            {
                "id": f"b{number}",
                "from_name": "bad",
                "to_name": "video",
                "type": "timelinelabels",
                "value": value,
            }
        )
    return result
