"""A small Label Studio in memory around the real model server: pages that behave like the editor, and saved drafts.

A page keeps its regions, replaces those of the same id by what an answer brings, drops answers to requests that are no
longer the newest, and saves drafts when told to. Requests are JSON as Label Studio sends it.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import io
import itertools
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import PIL.Image

from annotation.assistance import SessionTools
from annotation.pages.bitmask import decode_bitmask
from annotation.pages.events import EventLog, StudioEvent
from annotation.pages.marks import mask_region
from annotation.pages.tickets import Ticket, TicketStore
from annotation.pages.views import PageView
from annotation.server import ServerConfig, create_app
from annotation.server.wire import Draft, read_drafts
from annotation.session import AnnotationSession
from annotation.simulated.time_model import SimulatedClock
from storage.masks import Rle, decode, encode
from storage.objects import open_store
from tests.annotation.conftest import RULES
from tests.annotation.discs import DiscVideo, annotate_item, moving

CONFIG = ServerConfig(
    user="label-studio",
    password="basic-secret",
    webhook_secret="hook-secret",
    draft_wait_s=25.0,
    draft_poll_s=0.02,
    watch_s=0,
    repeat_s=0.0,
    rate_burst=1000,
)
AUTH = httpx.BasicAuth(CONFIG.user, CONFIG.password)
START = 1_790_000_000.0
IDS = itertools.count(1)


@dataclass
class Clock:
    """The time of day, for the server and Label Studio alike; it moves a little at every look."""

    value: float = START

    def __call__(self) -> float:
        self.value += 0.001
        return self.value

    def wait(self, seconds: float) -> None:
        self.value += seconds


class World:
    """One ticket, its store, the server, and whoever has the task open."""

    def __init__(
        self, folder: Path, tools: SessionTools, *, phase: int = 3, pages: int = 6, **changes: Any
    ) -> None:
        self.folder = folder
        self.store = open_store(folder / "store")
        self.tools = tools
        self.clock = Clock()
        self.video = moving(pages)
        self.ticket = disc_ticket(self.video, phase, **changes)
        TicketStore(self.store).put(self.ticket)
        self.events = EventLog(self.store)
        self.saved: dict[str, Any] = {}  # user -> draft as Label Studio keeps it
        self.opened = 0
        self.sessions: list[AnnotationSession] = []
        self.gate = threading.Event()  # cleared: sittings open no further
        self.gate.set()
        self.config = CONFIG
        self._running = AsyncExitStack()

    async def __aenter__(self) -> World:
        await self.restart()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._running.aclose()

    async def restart(self, **changes: Any) -> None:
        """A new server on the same store, perhaps with other settings."""
        await self._running.aclose()
        self.config = replace(self.config, **changes)
        self.app = create_app(
            self.config,
            tickets=TicketStore(self.store),
            events=self.events,
            open_sitting=self._open,
            drafts=self,
            clock=self.clock,
        )
        await self._running.enter_async_context(self.app.router.lifespan_context(self.app))
        transport = httpx.ASGITransport(self.app)
        client = httpx.AsyncClient(transport=transport, base_url="http://model", auth=AUTH)
        self.client = await self._running.enter_async_context(client)

    def _open(self, ticket: Ticket) -> AnnotationSession:
        self.opened += 1
        self.gate.wait()
        item = ticket.item
        session = AnnotationSession(
            item,
            self.video,
            ticket.view.frames,
            tools=self.tools,
            rules=RULES[item.phase],
            clock=SimulatedClock(),
            catch_up=1,
        )
        self.sessions.append(session)
        return session

    async def drafts(self, task_id: int) -> tuple[Draft, ...]:
        return read_drafts(list(self.saved.values()))

    async def email(self, user_id: int) -> str:
        return {1: "anno1@example.com", 2: "anno2@example.com"}.get(user_id, "")

    async def waiting(self, count: int) -> None:
        """Until so many jobs wait for the network."""
        line = f"engine_model_server_queue_length {count}"
        while line not in (await self.client.get("/metrics")).text.splitlines():
            await asyncio.sleep(0.01)

    def page(self, user: str = "anno1@example.com") -> Page:
        """Somebody opens the task."""
        regions = {
            f"f{page:05d}": mask_region(page, rle_mask(rle), self.ticket.view)
            for page, frame in enumerate(self.ticket.view.frames)
            if (rle := self.ticket.item.masks.get(frame)) is not None
        }
        return Page(self, user, regions)

    def log(self, *kinds: str) -> list[StudioEvent]:
        """The event log, or only some kinds of events."""
        events = self.events.read(self.ticket.round_id, self.ticket.ticket_id)
        return [event for event in events if not kinds or event.kind in kinds]


@dataclass
class Page:
    """The editor with the task open. `regions` is what the person sees, by id."""

    world: World
    user: str
    regions: dict[str, dict[str, Any]]
    past: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    newest: int = 0
    texts: dict[int, str] = field(default_factory=dict)  # page -> id of its command box

    async def click(self, page: int, x: float, y: float, *, positive: bool | None = True) -> Answered:
        """A click at pixel (x, y); None: without a sign."""
        region = self._drawn("keypoint", "click", page, self._percent(x, y) | {"width": 0.2, "labels": []})
        if positive is not None:
            region["is_positive"] = positive
        return await self.send([region])

    async def box(self, page: int, x0: float, y0: float, x1: float, y1: float) -> Answered:
        side = self.world.video.side
        value = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
        percent = {name: 100 * number / side for name, number in value.items()}
        return await self.send([self._drawn("rectangle", "box", page, percent | {"rotation": 0})])

    async def enter(self, page: int, text: str, *, save: bool = True) -> Answered:
        """Type a command and press Enter; the page saves its draft a moment later."""
        context = self.typed(page, text)
        if save:
            self.save()
        return await self.send(context)

    def typed(self, page: int, text: str) -> list[dict[str, Any]]:
        """The command stands in its box; what the request will hold."""
        name = self.texts.setdefault(page, f"cmd-{next(IDS)}")
        before = self.regions.get(name, {"value": {"text": []}})["value"]["text"]
        self.regions[name] = self._entry(name, "textarea", "cmd", page, {"text": [*before, text]})
        says = [self.regions[f"s{page:05d}"]] if f"s{page:05d}" in self.regions else []
        return copy.deepcopy([*says, self.regions[name]])

    async def send(self, context: list[dict[str, Any]] | None) -> Answered:
        """A request; its answer is shown unless a newer request was sent meanwhile."""
        self.newest += 1
        number = self.newest
        response = await self.world.client.post("/predict", json=self.request(context))
        assert response.status_code == 200, response.text
        results = response.json()["results"]
        answer = Answered(results[0]["result"] if results else [], results)
        if number == self.newest:
            self.show(answer)
        return answer

    def show(self, answer: Answered) -> None:
        self.past.append(copy.deepcopy(self.regions))
        self.regions |= {region["id"]: region for region in answer.regions}

    def undo(self) -> None:
        """Ctrl+Z; nobody is told."""
        self.regions = self.past.pop()

    def paint(self, page: int, mask: np.ndarray) -> None:
        """Brush strokes, packed as Chrome packs them."""
        region = mask_region(page, mask, self.world.ticket.view)
        self.regions[region["id"]] = region

    def mark(self, page: int, choice: str | None) -> None:
        """The mark "absent" or "occluded"; None takes it off."""
        name = f"mark-{page}"
        self.regions.pop(name, None)
        if choice:
            self.regions[name] = self._entry(name, "choices", "visibility", page, {"choices": [choice]})

    def save(self) -> None:
        """The page saves its draft."""
        self.world.saved[self.user] = {
            "id": 7,
            "user": self.user,
            "created_username": f"{self.user}, 1",
            "result": [copy.deepcopy(r) for r in self.regions.values() if r["value"].get("text") != []],
            "lead_time": 16.9,
            "updated_at": datetime.fromtimestamp(self.world.clock(), UTC).isoformat().replace("+00:00", "Z"),
        }

    def mask(self, page: int) -> np.ndarray | None:
        """What the person sees, bool [h, w]; None without a region."""
        region = self.regions.get(f"f{page:05d}")
        if region is None:
            return None
        view = self.world.ticket.view
        return decode_bitmask(region["value"]["imageDataURL"], height=view.height, width=view.width)

    def says(self, page: int) -> str:
        region = self.regions.get(f"s{page:05d}")
        return region["value"]["text"][0] if region else ""

    def request(self, context: list[dict[str, Any]] | None, **task: Any) -> dict[str, Any]:
        """The body of POST /predict."""
        ticket = self.world.ticket
        data = {
            "ticket_id": ticket.ticket_id,
            "round_id": ticket.round_id,
            "frames": [f"/data/local-files/?d=f/{frame}.jpg" for frame in ticket.view.frames],
        }
        mine = self.world.saved.get(self.user)
        values = {
            "id": 62,
            "data": data,
            "drafts": [mine] if mine else [],
            "predictions": [],
            "annotations": [],
        }
        return {
            "tasks": [values | {"project": 29} | task],
            "project": "29.1795340761",
            "label_config": "<View/>",
            "params": {
                "login": None,
                "password": None,
                "context": None if context is None else {"result": context},
            },
        }

    def _drawn(self, kind: str, control: str, page: int, value: Mapping[str, Any]) -> dict[str, Any]:
        view = self.world.ticket.view
        size = {"original_width": view.width, "original_height": view.height, "image_rotation": 0}
        return size | self._entry(f"r{next(IDS)}", kind, control, page, value)

    def _percent(self, x: float, y: float) -> dict[str, Any]:
        side = self.world.video.side
        return {"x": 100 * (x + 0.5) / side, "y": 100 * (y + 0.5) / side}

    @staticmethod
    def _entry(name: str, kind: str, control: str, page: int, value: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": name,
            "type": kind,
            "from_name": control,
            "to_name": "frames",
            "origin": "manual",
            "item_index": page,
            "value": dict(value),
        }


@dataclass(frozen=True)
class Answered:
    """The regions of an answer."""

    regions: list[dict[str, Any]]
    results: list[dict[str, Any]]

    @property
    def pages(self) -> list[int]:
        """Pages that got a mask."""
        return [region["item_index"] for region in self.regions if region["from_name"] == "mask"]

    @property
    def says(self) -> str:
        return " ".join(t for r in self.regions if r["from_name"] == "says" for t in r["value"]["text"])


def disc_ticket(video: DiscVideo, phase: int, **changes: Any) -> Ticket:
    """The disc's masklet to annotate; in phases 2 and 3 the first frame has a mask."""
    masks: dict[int, Rle] = {} if phase == 1 else {0: encode(video.truth(0))}
    item = annotate_item(phase, **{"masks": masks, **changes})
    side = video.side
    view = PageView(frames=video.numbers, source_height=side, source_width=side, height=side, width=side)
    return Ticket(ticket_id=item.task_id, item=item, view=view, checkpoint_hash="c" * 64)


def rle_mask(rle: Rle) -> np.ndarray:
    return decode(rle)


def repacked(mask: np.ndarray) -> str:
    """A mask as the browser packs what it has touched: RGBA with half-transparent edges."""
    alpha = np.where(mask, 255, 0).astype(np.uint8)
    pixels = np.dstack([np.full_like(alpha, 255), np.zeros_like(alpha), np.zeros_like(alpha), alpha])
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels, "RGBA").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
