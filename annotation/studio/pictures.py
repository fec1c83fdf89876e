"""The pictures and clips of a ticket's task, made once, and the entries of the task's data that point at them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from annotation.pages.configs import clip_html, marker_html
from annotation.pages.media import MediaRoot, clip_fps
from annotation.pages.tickets import Ticket
from storage.videos import VideoLibrary

__all__ = ["TicketPictures"]


class TicketPictures:
    """Pictures of tickets, from the frames of a library into the folder that Label Studio serves."""

    def __init__(self, root: Path, library: VideoLibrary) -> None:
        self._media = MediaRoot(root)
        self._library = library

    def __call__(self, ticket: Ticket) -> dict[str, Any]:
        """What the data of the ticket's task says of pictures (see `annotation.pages.configs.TASK_KEYS`)."""
        video = self._library.get(ticket.item.video_id)
        frames = self._library.frames(video)
        if ticket.item.kind == "verify":
            return {
                "overlay_video": self._media.overlay(ticket, video, frames),
                "marker_html": marker_html(self._media.marker(ticket, video, frames)),
                "fps": clip_fps(video, ticket.view),
            }
        view = ticket.view
        if ticket.item.kind == "select":
            view = replace(
                view, frames=video.annotated_frames
            )  # the clip shows more than the page to select on
        data = {
            "frames": self._media.frames(video, ticket.view, frames),
            "clip_html": clip_html(self._media.clip(video, view, frames)),
            "fps": clip_fps(video, view),
        }
        if ticket.item.kind == "annotate":
            data["marker_html"] = marker_html(self._media.marker(ticket, video, frames))
        return data
