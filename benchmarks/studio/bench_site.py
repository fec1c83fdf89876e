"""A whole site to measure: an engine home with drawn clips, Label Studio, the model server, and published work."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from annotation.pages.configs import clip_html, marker_html
from annotation.pages.marks import mask_region
from annotation.pages.media import MediaRoot, clip_fps
from annotation.pages.tickets import Ticket, TicketStore
from annotation.pages.views import TaskLimits, plan_views
from annotation.site import Secrets, Site, read_secrets
from annotation.site.access import open_api
from annotation.site.lifecycle import invite_member
from annotation.site.records import PREDICTION_VERSION
from annotation.work import WorkItem
from benchmarks.studio.clips import Clip
from engine.home import EngineHome, open_home
from engine.rounds import base_checkpoint
from storage.masks import Rle, decode
from tests.studio_site import running_site

__all__ = ["BenchSite", "Work", "bench_site"]

ROUND_ID = "r0001-p3"
PASSWORD_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Work:
    """A published task: its ticket, its number in Label Studio, and the clip it shows."""

    ticket: Ticket
    task_id: int
    clip: Clip
    data: Mapping[str, object]
    predictions: Sequence[Mapping[str, object]]


@dataclass
class BenchSite:
    """A running site and what was put into it."""

    home: EngineHome
    site: Site
    secrets: Secrets
    passwords: dict[str, str] = field(default_factory=dict)
    _works: dict[str, Work] = field(default_factory=dict)

    def publish(self, clip: Clip, *, name: str, prelabelled: float | None = None) -> Work:
        """The task `name`, of phase 3, made if it is not there.

        prelabelled: every frame has a mask already, a disc of that share of the true radius.
        """
        if name in self._works:
            return self._works[name]
        video_id = self._video(clip)
        video = self.home.library.get(video_id)
        masks = {} if prelabelled is None else clip.reference(radius=prelabelled * clip.radius)
        (view,) = plan_views(
            video.annotated_frames, height=clip.height, width=clip.width, limits=TaskLimits()
        )
        item = _item(name, video_id, clip, masks)
        ticket = Ticket(
            ticket_id=item.task_id, item=item, view=view, checkpoint_hash=base_checkpoint(self.home)
        )
        TicketStore(self.home.store).put(ticket)
        data = self._data(ticket)
        regions = [mask_region(frame, decode(rle), view) for frame, rle in masks.items()]
        predictions = [{"model_version": PREDICTION_VERSION, "result": regions}] if regions else []
        task_id = self._import({"data": data, "predictions": predictions})
        return self._works.setdefault(name, Work(ticket, task_id, clip, data, predictions))

    def member(self, email: str) -> str:
        """Make somebody an annotator; returns the password."""
        if email not in self.passwords:
            self.passwords[email] = secrets.token_urlsafe(PASSWORD_LENGTH)
            file = self.home.path / f"{email}.txt"
            file.write_text(self.passwords[email], encoding="utf-8")
            invite_member(self.home.path, email=email, role="annotator", password_file=file)
        return self.passwords[email]

    def _import(self, task: Mapping[str, object]) -> int:
        path = f"/api/projects/{self.site.projects['annotation-3']}/import?return_task_ids=true"
        with open_api(self.site.url, self.secrets) as api:
            return int(api.post(path, dict(task))["task_ids"][0])

    def _video(self, clip: Clip) -> str:
        outcome = self.home.library.ingest_array(
            clip.pictures(), name=f"disc-{clip.number}-{clip.frames}", fps=6.0
        )
        if outcome.video is None:
            raise RuntimeError(f"a drawn clip was refused: {outcome.reason}")
        self.home.catalog.record_video(outcome.video)
        return outcome.video.video_id

    def _data(self, ticket: Ticket) -> dict[str, object]:
        video = self.home.library.get(ticket.item.video_id)
        media, frames = MediaRoot(self.site.media), self.home.library.frames(video)
        return {
            "ticket_id": ticket.ticket_id,
            "round_id": ticket.round_id,
            "kind": "annotate",
            "phase": 3,
            "video_id": video.video_id,
            "masklet_id": ticket.item.masklet_id,
            "object_name": "disc",
            "notice": "",
            "frames": media.frames(video, ticket.view, frames),
            "clip_html": clip_html(media.clip(video, ticket.view, frames)),
            "marker_html": marker_html(media.marker(ticket, video, frames)),
            "fps": clip_fps(video, ticket.view),
        }


@contextmanager
def bench_site(folder: Path, *, database_url: str = "") -> Iterator[BenchSite]:
    """A site on free ports in `folder`, taken down in the end.

    The environment variable ENGINE_STUDIO__ENVIRONMENT names Label Studio's environment if it is not in the cache.
    """
    with running_site(folder, settings={"database_url": database_url}) as site:
        home = open_home(folder / "home")
        yield BenchSite(home, site, read_secrets(home.path))


def _item(name: str, video_id: str, clip: Clip, masks: Mapping[int, Rle]) -> WorkItem:
    return WorkItem(
        task_id=f"{name}-annotate-1",
        round_id=ROUND_ID,
        desk="annotation",
        kind="annotate",
        video_id=video_id,
        phase=3,
        first_frame=0,
        masklet_id=name,
        object_id=1,
        point=clip.centre(0),
        name="disc",
        masks=masks,
    )
