"""The pages people work on: their configurations for Label Studio, and the data a task of each needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from xml.sax.saxutils import escape

from annotation.errors import PageError
from annotation.work import WorkItem

__all__ = ["PAGE_KINDS", "TASK_KEYS", "clip_html", "label_config", "marker_html", "page_kind"]

PAGE_KINDS = ("selection", "annotation-1", "annotation-2", "annotation-3", "verification")
"""Kinds of pages; each has a project of its own in Label Studio."""

_COMMON_KEYS = ("ticket_id", "round_id", "kind", "phase", "video_id", "masklet_id", "object_name", "notice")
TASK_KEYS: Mapping[str, tuple[str, ...]] = {
    "selection": (*_COMMON_KEYS, "frames", "clip_html", "fps"),
    "annotation-1": (*_COMMON_KEYS, "frames", "clip_html", "marker_html", "fps"),
    "annotation-2": (*_COMMON_KEYS, "frames", "clip_html", "marker_html", "fps"),
    "annotation-3": (*_COMMON_KEYS, "frames", "clip_html", "marker_html", "fps"),
    "verification": (*_COMMON_KEYS, "overlay_video", "marker_html", "fps"),
}
"""What the data of a task holds, by kind of page. All are texts but `phase` (a number), `frames` (a list of addresses)
and `fps` (a number); `notice` says what is to be done and may be empty."""


@dataclass(frozen=True, slots=True)
class _Phase:
    """What the annotation page of a phase says."""

    hint: str
    help: tuple[str, ...]


_CLICK_HELP = (
    "M, then click on the object: the model draws its mask. Click again to add to it, Alt+click to take away. "
    "A click on a mask that is not selected selects it first.",
    "1, then B: paint (U before that, if a mask of another page is selected). E erases, [ and ] set the size, "
    "Ctrl+Z takes back.",
    "A frame without the object: X (absent). Covered in part: C (occluded).",
    "Ctrl+Right and Ctrl+Left turn the pages; Ctrl+Enter hands in.",
)
_COMMAND_HELP = (
    "Type a command and press Enter: r empties the frame, u takes back your last act on it, "
    "n names a frame to look at, ? helps. Click beside the field before you use keys again."
)
_TRACK_HELP = (
    "p carries masks forward from this frame, b backward, pp through the whole video; "
    "frames you corrected stay."
)

_PHASES = {
    1: _Phase("r empty, u undo, n next, ? help", (*_CLICK_HELP, _COMMAND_HELP)),
    2: _Phase(
        "p forward, b backward, pp all, r, u, n, ? help",
        (
            *_CLICK_HELP,
            _COMMAND_HELP,
            _TRACK_HELP,
            "Make the mask of one frame whole before you carry it on.",
        ),
    ),
    3: _Phase(
        "p forward, b backward, pp all, r, u, n, ? help",
        (
            *_CLICK_HELP,
            _COMMAND_HELP,
            _TRACK_HELP,
            "A click on a later frame corrects the mask that is there.",
        ),
    ),
}


@cache
def label_config(kind: str) -> str:
    """The labelling configuration (XML) of a kind of page. PageError for a kind that is not in PAGE_KINDS."""
    if kind not in PAGE_KINDS:
        raise PageError(f"There is no page of kind {kind!r}; there are {', '.join(PAGE_KINDS)}.")
    if not kind.startswith("annotation-"):
        return _config_file(kind)
    phase = _PHASES[int(kind.removeprefix("annotation-"))]
    lines = "".join(f'<Header value="{_attribute(line)}" size="6"/>' for line in phase.help)
    return (
        _config_file("annotation").replace("@hint@", _attribute(phase.hint)).replace("<!-- help -->", lines)
    )


def page_kind(item: WorkItem) -> str:
    """The kind of page that a work item is done on."""
    return {"select": "selection", "annotate": f"annotation-{item.phase}", "verify": "verification"}[
        item.kind
    ]


def clip_html(video_url: str) -> str:
    """A player of a clip, for the task data `clip_html`."""
    address = _attribute(video_url)
    return f'<video controls loop muted width="560" src="{address}"></video>'


def marker_html(image_url: str) -> str:
    """A small picture that shows which object is meant, for the task data `marker_html`."""
    address = _attribute(image_url)
    return f'<img src="{address}" height="96" alt="the object is marked"/>'


def _config_file(name: str) -> str:
    return (resources.files("annotation") / "configs" / f"{name}.xml").read_text(encoding="utf-8")


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
