"""The model server of an engine home: what `uvicorn --factory engine.model_server:create` starts.

It reads the home from ENGINE_HOME, and its secrets from what `engine studio up` left there. Weights are loaded when the
first ticket asks for them, by the hash that the ticket names.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from annotation.assistance import SessionTools
from annotation.pages.events import EventLog
from annotation.pages.tickets import Ticket, TicketStore
from annotation.server.app import create_app
from annotation.server.config import ServerConfig
from annotation.server.label_studio import LabelStudioDrafts
from annotation.session import AnnotationSession
from annotation.site import read_secrets, read_site
from engine.errors import HomeError
from engine.home import EngineHome, open_home
from engine.phases import phase
from engine.rounds import champion_checkpoint
from engine.weights import load_sam, load_weights
from model.runtime import Precision
from model.video.frame_source import FrameSource
from model.video.session_config import SessionConfig
from storage.errors import EngineError

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["PageFrames", "Sittings", "create", "create_for", "load_ahead"]

_LOG = logging.getLogger("engine.model_server")
_KEPT_TOOLS = 2
"""Champion and challenger."""
_KEPT_VIDEOS = 8
_CATCH_UP = 1
"""A click on a frame that the tracker has not come to refines what the page shows, so that nobody waits."""


def create() -> FastAPI:
    """The application for the home that ENGINE_HOME names. HomeError or SiteError say what is missing."""
    path = os.environ.get("ENGINE_HOME")
    if not path:
        raise HomeError("The model server needs ENGINE_HOME, the folder of the engine's home.")
    home = open_home(Path(path))
    app = create_for(home)
    threading.Thread(target=load_ahead, args=(home,), name="model-server-weights", daemon=True).start()
    return app


def load_ahead(home: EngineHome) -> None:
    """Load the weights in use, which takes seconds, before the first click waits for them.

    What stands in the way is only noted: tickets name their weights, and say so to whoever clicks.
    """
    try:
        load_weights(home, champion_checkpoint(home))
    except EngineError as error:
        _LOG.warning("the weights in use cannot be loaded: %s", error)


def create_for(home: EngineHome) -> FastAPI:
    """The application for a home."""
    _log_to_stderr()
    secrets = read_secrets(home.path)
    config = ServerConfig(
        user=secrets.model_user, password=secrets.model_password, webhook_secret=secrets.webhook_secret
    )
    return create_app(
        config,
        tickets=TicketStore(home.store),
        events=EventLog(home.store),
        open_sitting=Sittings(home).open,
        drafts=LabelStudioDrafts(lambda: (read_site(home.path).url, read_secrets(home.path).token)),
    )


class Sittings:
    """Opens sittings on the videos of a home, with the networks that their tickets name."""

    def __init__(self, home: EngineHome) -> None:
        self._home = home
        self._tools = lru_cache(maxsize=_KEPT_TOOLS)(self._load)
        self._frames = lru_cache(maxsize=_KEPT_VIDEOS)(self._read)  # sittings on a video share its pictures

    def open(self, ticket: Ticket) -> AnnotationSession:
        """A sitting on the frames that a ticket shows, which may be a window of the video."""
        item, view = ticket.item, ticket.view
        video = self._home.library.get(item.video_id)
        positions = [video.annotated_frames.index(frame) for frame in view.frames]
        masks = {
            frame: rle for frame, rle in {**item.masks, **ticket.carried}.items() if frame in view.frames
        }
        first = item.first_frame if item.first_frame in view.frames else view.frames[0]
        return AnnotationSession(
            replace(item, masks=masks, first_frame=first),
            PageFrames(self._frames(item.video_id), positions),
            view.frames,
            tools=self._tools(ticket.checkpoint_hash, ticket.sam_checkpoint_hash, ticket.precision),
            rules=phase(item.phase).rules,
            clock=_Clock(),
            scores=item.scores,
            catch_up=_CATCH_UP,
        )

    def _read(self, video_id: str) -> FrameSource:
        return self._home.library.frames(self._home.library.get(video_id))

    def _load(self, checkpoint_hash: str, sam_checkpoint_hash: str, precision: str) -> SessionTools:
        return SessionTools(
            load_weights(self._home, checkpoint_hash),
            config=SessionConfig(precision=cast(Precision, precision)),
            sam=load_sam(self._home, sam_checkpoint_hash),
        )


class PageFrames:
    """Some frames of a video, as the pages of one task show them, in source resolution."""

    def __init__(self, frames: FrameSource, positions: list[int]) -> None:
        self._frames = frames
        self._positions = positions
        self.height, self.width = frames.height, frames.width

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, page: int) -> npt.NDArray[np.uint8]:
        """The frame of a page, uint8 [H, W, 3] RGB."""
        return self._frames[self._positions[page]]


class _Clock:
    """The time for a sitting's own diary; effort is counted from the event log instead."""

    def now_s(self) -> float:
        return time.monotonic()


def _log_to_stderr() -> None:
    """One line for each prompt, where uvicorn writes its own."""
    if not _LOG.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        _LOG.addHandler(handler)
        _LOG.setLevel(logging.INFO)
        _LOG.propagate = False
