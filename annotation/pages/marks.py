"""What stands on the pages of a task to annotate: masks, marks and texts.

Masks stay packed until somebody asks for one: this runs at every click. The other readings of a page, and what we write
on it, can be imported from here, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import cast

import numpy as np
from numpy.typing import NDArray

from annotation.errors import PageError
from annotation.pages.bitmask import decode_bitmask
from annotation.pages.prompts import BoxPrompt, ClickPrompt, CommandPrompt, Prompt, read_prompt
from annotation.pages.regions import (
    BOX,
    CLICK,
    COMMAND,
    LABEL,
    MASK,
    SAYS,
    VISIBILITY,
    Region,
    Visibility,
    read_regions,
)
from annotation.pages.selections import read_selections
from annotation.pages.verdicts import read_verdict
from annotation.pages.views import PageView
from annotation.pages.writing import command_region, mask_region, says_region, taken_region, visibility_region

__all__ = [
    "BoxPrompt",
    "ClickPrompt",
    "CommandPrompt",
    "PageMarks",
    "Prompt",
    "Typed",
    "command_region",
    "digest_of",
    "mask_region",
    "read_marks",
    "read_prompt",
    "read_selections",
    "read_verdict",
    "says_region",
    "taken_region",
    "visibility_region",
]

BoolMask = NDArray[np.bool_]

_MAX_PICTURES = 200  # of one page: strokes that were painted with no mask selected make one each


@dataclass(frozen=True, slots=True)
class Typed:
    """One text that a person entered on a page; entries of one page share their region's id."""

    region_id: str
    page: int
    text: str


@dataclass(frozen=True, slots=True)
class PageMarks:
    """Everything on the pages of a task, by page from 0.

    masks: the packed pictures of a page, whose union is its mask. says: the server's text that stands there. ids: of
    all regions, the ones ignored otherwise, too.
    """

    masks: Mapping[int, tuple[str, ...]]
    visibility: Mapping[int, Visibility]
    commands: tuple[Typed, ...]
    says: Mapping[int, str]
    ids: frozenset[str]

    def typed(self, page: int) -> tuple[str, ...]:
        """The command texts that stand on a page, oldest first."""
        return tuple(entry.text for entry in self.commands if entry.page == page)

    def mask(self, page: int, view: PageView) -> BoolMask | None:
        """The mask of a page in shown pixels, bool [h, w]; None if it has no region. PageError names the page."""
        urls = self.masks.get(page)
        if not urls:
            return None
        if len(urls) > _MAX_PICTURES:
            raise PageError(f"Page {page + 1} holds {len(urls)} masks; at most {_MAX_PICTURES} make one.")
        try:
            return _union(decode_bitmask(url, height=view.height, width=view.width) for url in urls)
        except PageError as error:
            raise PageError(f"Page {page + 1}: {error}") from error

    def digest(self, page: int) -> str:
        """Changes when the pictures of a page change; empty without any. Nothing is unpacked."""
        return digest_of(self.masks.get(page, ()))


def _union(layers: Iterable[BoolMask]) -> BoolMask:
    return reduce(np.logical_or, layers)


def digest_of(urls: Sequence[str]) -> str:
    """What `PageMarks.digest` gives for a page that holds these packed pictures; empty for none."""
    if not urls:
        return ""
    digest = hashlib.sha256()
    for url in urls:
        digest.update(f"{len(url)}:".encode())
        digest.update(url.encode("utf-8", errors="replace"))
    return digest.hexdigest()


def read_marks(result: object, view: PageView) -> PageMarks:
    """What a draft or an annotation of a task to annotate holds. PageError names the region that is malformed."""
    masks: dict[int, tuple[str, ...]] = {}
    visibility: dict[int, Visibility] = {}
    commands: list[Typed] = []
    says: dict[int, str] = {}
    regions = read_regions(result, view)
    for region in regions:
        if region.control == MASK and (picture := _picture(region)):
            masks[region.page] = (*masks.get(region.page, ()), picture)
        elif region.control == VISIBILITY and (choice := _visibility(region)):
            visibility[region.page] = choice
        elif region.control == COMMAND:
            commands.extend(Typed(region.id, region.page, text) for text in region.texts())
        elif region.control == SAYS:
            says[region.page] = "\n".join(region.texts())
        elif region.control not in (MASK, VISIBILITY, CLICK, BOX):
            raise region.wrong(f"was made with the unknown control {region.control!r}")
    return PageMarks(masks, visibility, tuple(commands), says, frozenset(region.id for region in regions))


def _picture(region: Region) -> str | None:
    """The packed picture of a mask.

    None for the shadow of a click or a text: the page gives everything that is made while a label is selected a second
    entry under the mask's control, without a picture.
    """
    if region.kind == "bitmasklabels" and "imageDataURL" not in region.value:
        return None
    region.expect("bitmasklabels", "bitmask")
    if any(label != LABEL for label in region.labels()):
        raise region.wrong(f"has the labels {list(region.labels())} instead of {LABEL!r}")
    url = region.value.get("imageDataURL")
    if not isinstance(url, str) or not url:
        raise region.wrong("has no picture of its mask (imageDataURL)")
    return url


def _visibility(region: Region) -> Visibility | None:
    region.expect("choices")
    choices = region.choices()
    if not choices:
        return None
    if len(choices) > 1 or choices[0] not in ("absent", "occluded"):
        raise region.wrong(f"has the choices {list(choices)} instead of absent or occluded")
    return cast(Visibility, choices[0])
