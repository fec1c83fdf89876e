"""What stands on a page of Label Studio: regions read into marks, and masks written as regions.

A page speaks of percent and of page numbers from 0, in regions that name the control they were made with. Here they
become source pixels and plain types. Everything is checked, since Label Studio checks nothing; a PageError names the
region and the page as people count it, from 1. Masks stay packed until somebody asks for one: this runs at every click.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from annotation.errors import PageError
from annotation.pages.bitmask import decode_bitmask, encode_bitmask
from annotation.pages.views import PageView
from annotation.work import Selection, Verdict, VerdictName, WorkItem
from model.prompts import Box

__all__ = [
    "BAD",
    "BOX",
    "CLICK",
    "COMMAND",
    "IMAGE",
    "LABEL",
    "MASK",
    "NAME",
    "OBJECT",
    "POINT",
    "REASON",
    "SAYS",
    "TAKEN",
    "VERDICT",
    "VIDEO",
    "VISIBILITY",
    "BoxPrompt",
    "ClickPrompt",
    "CommandPrompt",
    "PageMarks",
    "Prompt",
    "Typed",
    "Visibility",
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

IMAGE, MASK, VISIBILITY, COMMAND, SAYS, CLICK, BOX = (
    "frames",
    "mask",
    "visibility",
    "cmd",
    "says",
    "click",
    "box",
)
"""Controls of the annotation page."""
LABEL = "object"
"""The one label of masks."""
OBJECT, POINT, NAME, TAKEN = "object", "point", "name", "taken"
"""Controls of the selection page: boxes, points, a name for each, and the objects that are annotated already."""
VIDEO, BAD, VERDICT, REASON = "video", "bad", "verdict", "reason"
"""Controls of the verification page."""

BoolMask = NDArray[np.bool_]
Visibility = Literal["absent", "occluded"]

_VERDICTS: Mapping[str, VerdictName] = {
    "satisfactory": "satisfactory",
    "unsatisfactory": "unsatisfactory",
    "reject": "rejected",
}
_MAX_TEXT = 2000
_FAR = 1e5  # percent of the frame, or degrees: no page gives more


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
        try:
            layers = [decode_bitmask(url, height=view.height, width=view.width) for url in urls]
        except PageError as error:
            raise PageError(f"Page {page + 1}: {error}") from error
        return cast(BoolMask, np.logical_or.reduce(layers))

    def digest(self, page: int) -> str:
        """Changes when the pictures of a page change; empty without any. Nothing is unpacked."""
        return digest_of(self.masks.get(page, ()))


@dataclass(frozen=True, slots=True)
class ClickPrompt:
    """A click in source pixels."""

    region_id: str
    page: int
    x: float
    y: float
    positive: bool


@dataclass(frozen=True, slots=True)
class BoxPrompt:
    """A box in source pixels."""

    region_id: str
    page: int
    box: Box


@dataclass(frozen=True, slots=True)
class CommandPrompt:
    """A command that was entered.

    The region's id stays the same for all commands of a page: what tells a command from the one before are `typed`, all
    texts that stand in the command box, newest last, and `says`, the server's text on that page.
    """

    region_id: str
    page: int
    text: str
    typed: tuple[str, ...]
    says: str


Prompt = ClickPrompt | BoxPrompt | CommandPrompt


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
    regions = _regions(result, view)
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


def read_prompt(context_result: object, view: PageView) -> Prompt | None:
    """The newest prompt of a request, None if it holds none.

    Only the last one counts: earlier ones may lie on other pages, and one click may arrive twice under one id.
    """
    regions = _regions(context_result, view)
    prompts = [region for region in regions if region.control in (CLICK, BOX, COMMAND)]
    if not prompts:
        return None
    last = prompts[-1]
    if last.control == CLICK:
        x, y = _point(last, view)
        return ClickPrompt(last.id, last.page, x, y, _positive(last))
    if last.control == BOX:
        return BoxPrompt(last.id, last.page, _box(last, view))
    typed = last.texts()
    if not typed:
        return None
    says = [region for region in regions if region.control == SAYS and region.page == last.page]
    return CommandPrompt(
        last.id, last.page, typed[-1].strip(), typed, "\n".join(says[-1].texts()) if says else ""
    )


def mask_region(page: int, mask: BoolMask, view: PageView, *, score: float | None = None) -> dict[str, Any]:
    """A mask in shown pixels, bool [h, w], as the region of its page; the same page always gives the same id."""
    region = _bitmask(f"f{page:05d}", page, mask, view, control=MASK, label=LABEL)
    return region if score is None else region | {"score": round(float(score), 4)}


def taken_region(number: int, page: int, mask: BoolMask, view: PageView) -> dict[str, Any]:
    """The mask of an object that is annotated already, for the selection page, where nobody can change it."""
    region = _bitmask(f"taken{number:03d}", page, mask, view, control=TAKEN, label=TAKEN)
    return region | {"readonly": True}


def says_region(page: int, text: str) -> dict[str, Any]:
    """A text of the server to the person, shown on one page; the next one replaces it."""
    return _classification(f"s{page:05d}", page, SAYS, "textarea", {"text": [text]})


def command_region(region_id: str, page: int, texts: Sequence[str] = ()) -> dict[str, Any]:
    """What stands in the command box of a page from now on: nothing, unless `texts` are given."""
    return _classification(region_id, page, COMMAND, "textarea", {"text": list(texts)})


def visibility_region(page: int, choice: Visibility) -> dict[str, Any]:
    """The mark "absent" or "occluded" on a page."""
    return _classification(f"v{page:05d}", page, VISIBILITY, "choices", {"choices": [choice]})


def read_selections(result: object, view: PageView, item: WorkItem) -> tuple[Selection, ...]:
    """The objects that a person chose, in the order in which they were drawn.

    A box is an object, and so is a point; a point inside a box on the same page belongs to the smallest such box that
    has none yet. Without a point the middle of the box stands for the object, without a name it is the item's. Any
    number is fine: none says that nothing in this video is worth annotating.
    """
    regions = [region for region in _regions(result, view) if not _is_taken(region)]
    boxes = [(region, _box(region, view)) for region in regions if region.control == OBJECT]
    points = [(region, _point(region, view)) for region in regions if region.control == POINT]
    names = _names(regions)
    inside = _pair(boxes, points)
    found: dict[str, Selection] = {}
    for region, box in boxes:
        partner = inside.get(region.id)
        x, y = _middle(box, view) if partner is None else partner[1]
        name = names.get(region.id) or (names.get(partner[0].id) if partner else None) or item.name
        found[region.id] = Selection(view.frame_of(region.page), x, y, box, name)
    paired = {region.id for region, _ in inside.values()}
    for region, (x, y) in points:
        if region.id not in paired:
            found[region.id] = Selection(
                view.frame_of(region.page), x, y, None, names.get(region.id) or item.name
            )
    return tuple(found[region.id] for region in regions if region.id in found and region.control != NAME)


def read_verdict(result: object, view: PageView) -> Verdict:
    """A verifier's answer. Marked stretches become one range of source frames around all; the reason lists each.

    PageError when there is no single verdict, or a satisfactory masklet has bad stretches.
    """
    regions = _regions(result, view, paged=False)
    chosen = [text for region in regions if region.control == VERDICT for text in region.choices()]
    if len(chosen) != 1 or chosen[0] not in _VERDICTS:
        shown = ", ".join(chosen) or "none"
        raise PageError(f"A verification needs one verdict of {', '.join(_VERDICTS)}, not: {shown}.")
    verdict = _VERDICTS[chosen[0]]
    stretches = [
        stretch for region in regions if region.control == BAD for stretch in _stretches(region, view)
    ]
    if verdict == "satisfactory" and stretches:
        raise PageError(
            "The masklet is called satisfactory, yet frames are marked as bad: "
            "choose unsatisfactory, or remove the marks."
        )
    stretches.sort()
    words = [f"{label} on {_frames(first, last)}" for first, last, label in stretches]
    words += [
        " ".join(text.split()) for region in regions if region.control == REASON for text in region.texts()
    ]
    hull = (stretches[0][0], max(last for _, last, _ in stretches)) if stretches else None
    return Verdict(verdict, "; ".join(word for word in words if word) or _plain_reason(verdict), hull)


@dataclass(frozen=True, slots=True)
class _Region:
    """One entry of a result. Its values are read by methods that raise PageError with its id and page."""

    id: str
    control: str
    kind: str
    page: int
    value: Mapping[str, Any]
    entry: Mapping[str, Any]
    paged: bool = True

    def wrong(self, why: str) -> PageError:
        where = f" on page {self.page + 1}" if self.paged else ""
        return PageError(f"Region {self.id!r}{where} {why}.")

    def percent(self, name: str) -> float:
        value = self.value.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _FAR:
            raise self.wrong(f"has {name} = {value!r:.40} instead of a number")
        return float(value)

    def texts(self) -> tuple[str, ...]:
        found = self.value.get("text", [])
        return self._strings([found] if isinstance(found, str) else found, "text")

    def choices(self) -> tuple[str, ...]:
        return self._strings(self.value.get("choices", []), "choices")

    def labels(self) -> tuple[str, ...]:
        """Labels of the region's own kind; none where the person had none selected."""
        return self._strings(self.value.get(self.kind, []), self.kind)

    def expect(self, *kinds: str) -> None:
        if self.kind not in kinds:
            raise self.wrong(f"is of type {self.kind!r} instead of {' or '.join(kinds)}")

    def _strings(self, values: object, name: str) -> tuple[str, ...]:
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.wrong(f"has {name} = {values!r:.40} instead of a list of texts")
        if any(len(value) > _MAX_TEXT for value in values):
            raise self.wrong(f"has a text of more than {_MAX_TEXT} characters")
        return tuple(values)


def _regions(result: object, view: PageView, *, paged: bool = True) -> list[_Region]:
    if not isinstance(result, list):
        raise PageError(f"A page's result must be a list of regions, not {result!r:.60}.")
    return [_region(entry, number, view, paged=paged) for number, entry in enumerate(result)]


def _region(entry: object, number: int, view: PageView, *, paged: bool) -> _Region:
    if not isinstance(entry, Mapping):
        raise PageError(f"Entry {number} of a page's result must be a region, not {entry!r:.60}.")
    found = [entry.get(name) for name in ("id", "from_name", "type")]
    if not all(isinstance(part, str) and part for part in found):
        raise PageError(
            f"Entry {number} of a page's result needs the texts id, from_name and type, not {found!r:.90}."
        )
    region_id, control, kind = (str(part) for part in found)
    value = entry.get("value")
    if not isinstance(value, Mapping):
        raise PageError(f"Region {region_id!r} has the value {value!r:.40} instead of an object.")
    page = _page(entry, region_id, view) if paged else 0
    return _Region(region_id, control, kind, page, value, entry, paged)


def _page(entry: Mapping[str, Any], region_id: str, view: PageView) -> int:
    page = entry.get("item_index", 0 if len(view) == 1 else None)
    if not isinstance(page, int) or isinstance(page, bool) or not 0 <= page < len(view):
        raise PageError(
            f"Region {region_id!r} names page {page!r:.20} (item_index) of a task with pages 0 to {len(view) - 1}."
        )
    _check_size(entry, region_id, page, view)
    return page


def _check_size(entry: Mapping[str, Any], region_id: str, page: int, view: PageView) -> None:
    """A region says on which size of frame it was drawn, unless it is a text or a choice."""
    size = entry.get("original_height"), entry.get("original_width")
    if size not in ((None, None), (view.height, view.width)):
        raise PageError(
            f"Region {region_id!r} on page {page + 1} was made on a frame of {size[0]!r:.20}x{size[1]!r:.20} pixels, "
            f"the page shows {view.height}x{view.width} (height x width)."
        )


def _picture(region: _Region) -> str | None:
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


def _visibility(region: _Region) -> Visibility | None:
    region.expect("choices")
    choices = region.choices()
    if not choices:
        return None
    if len(choices) > 1 or choices[0] not in ("absent", "occluded"):
        raise region.wrong(f"has the choices {list(choices)} instead of absent or occluded")
    return cast(Visibility, choices[0])


def _positive(region: _Region) -> bool:
    """A click that came back from a draft has lost its sign, and was a positive one unless it says otherwise."""
    positive = region.entry.get("is_positive", True)
    if not isinstance(positive, bool):
        raise region.wrong(f"has is_positive = {positive!r:.20} instead of true or false")
    return positive


def _point(region: _Region, view: PageView) -> tuple[float, float]:
    region.expect("keypoint", "keypointlabels")
    try:
        return view.to_source(region.percent("x"), region.percent("y"))
    except PageError as error:
        raise PageError(f"Region {region.id!r} on page {region.page + 1}: {error}") from error


def _box(region: _Region, view: PageView) -> Box:
    """A rectangle in source pixels, cut to the frame; of a turned one the box around it."""
    region.expect("rectangle", "rectanglelabels")
    turned = math.radians(region.percent("rotation") if "rotation" in region.value else 0.0)
    x, y = region.percent("x") * view.source_width / 100, region.percent("y") * view.source_height / 100
    width = region.percent("width") * view.source_width / 100
    height = region.percent("height") * view.source_height / 100
    along = width * math.cos(turned), width * math.sin(turned)
    down = -height * math.sin(turned), height * math.cos(turned)
    xs = sorted(
        _clipped(x + shift, view.source_width) for shift in (0, along[0], down[0], along[0] + down[0])
    )
    ys = sorted(
        _clipped(y + shift, view.source_height) for shift in (0, along[1], down[1], along[1] + down[1])
    )
    if xs[-1] - xs[0] < 1e-6 or ys[-1] - ys[0] < 1e-6:
        raise region.wrong("is a box without area inside the frame; draw it around the object")
    return Box(xs[0], ys[0], xs[-1], ys[-1])


def _clipped(value: float, largest: int) -> float:
    return min(max(value, 0.0), float(largest))


def _is_taken(region: _Region) -> bool:
    """Whether a region of the selection page is one of ours and says nothing; PageError if it is of no use."""
    if region.control == TAKEN and region.id.startswith("taken"):
        return True
    if region.control not in (OBJECT, POINT, NAME):
        raise region.wrong("is no selection: choose objects with a box or a point")
    return False


def _names(regions: Sequence[_Region]) -> dict[str, str]:
    """Names by the id of the box or point they were given to."""
    found = {}
    for region in regions:
        if region.control == NAME:
            found[region.id] = " ".join(" ".join(region.texts()).split())
    return found


def _pair(
    boxes: Sequence[tuple[_Region, Box]], points: Sequence[tuple[_Region, tuple[float, float]]]
) -> dict[str, tuple[_Region, tuple[float, float]]]:
    """The point that belongs to a box, by the box's id."""
    by_size = sorted(boxes, key=lambda pair: (pair[1].x1 - pair[1].x0) * (pair[1].y1 - pair[1].y0))
    inside: dict[str, tuple[_Region, tuple[float, float]]] = {}
    for point, (x, y) in points:
        for region, box in by_size:
            hit = box.x0 <= x + 0.5 <= box.x1 and box.y0 <= y + 0.5 <= box.y1
            if hit and region.page == point.page and region.id not in inside:
                inside[region.id] = point, (x, y)
                break
    return inside


def _middle(box: Box, view: PageView) -> tuple[float, float]:
    """The pixel in the middle of a box, whose edges lie half a pixel before the middles of pixels."""
    x, y = (box.x0 + box.x1) / 2 - 0.5, (box.y0 + box.y1) / 2 - 0.5
    return _clipped(x, view.source_width - 1), _clipped(y, view.source_height - 1)


def _stretches(region: _Region, view: PageView) -> Iterator[tuple[int, int, str]]:
    """First and last source frame of each range on the timeline, which counts from 1, both ends included."""
    region.expect("timelinelabels")
    label = ", ".join(region.labels()) or "bad"
    ranges = region.value.get("ranges")
    if not isinstance(ranges, list):
        raise region.wrong(f"has ranges = {ranges!r:.40} instead of a list")
    for entry in ranges:
        first, last = _range(region, entry)
        if not 1 <= first <= last or first > len(view):
            raise region.wrong(f"marks frames {first} to {last} of a clip with frames 1 to {len(view)}")
        yield view.frame_of(first - 1), view.frame_of(min(last, len(view)) - 1), label


def _range(region: _Region, entry: object) -> tuple[int, int]:
    ends = [entry.get(name) for name in ("start", "end")] if isinstance(entry, Mapping) else []
    whole = [end for end in ends if isinstance(end, int) and not isinstance(end, bool)]
    if len(whole) != 2:
        raise region.wrong(f"has the range {entry!r:.60} instead of a start and an end")
    return whole[0], whole[1]


def _frames(first: int, last: int) -> str:
    return f"frame {first}" if first == last else f"frames {first} to {last}"


def _plain_reason(verdict: VerdictName) -> str:
    return {"satisfactory": "", "unsatisfactory": "no frames marked", "rejected": "no clear boundary"}[
        verdict
    ]


def _bitmask(
    region_id: str, page: int, mask: BoolMask, view: PageView, *, control: str, label: str
) -> dict[str, Any]:
    view.frame_of(page)
    if mask.shape != (view.height, view.width):
        raise PageError(
            f"The mask for page {page + 1} has the shape {mask.shape}, the page shows {view.height}x{view.width} "
            "(height x width)."
        )
    return {
        "id": region_id,
        "type": "bitmasklabels",
        "from_name": control,
        "to_name": IMAGE,
        "original_width": view.width,
        "original_height": view.height,
        "image_rotation": 0,
        "item_index": page,
        "value": {"imageDataURL": encode_bitmask(mask), "bitmasklabels": [label]},
    }


def _classification(
    region_id: str, page: int, control: str, kind: str, value: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "id": region_id,
        "type": kind,
        "from_name": control,
        "to_name": IMAGE,
        "item_index": page,
        "value": dict(value),
    }
