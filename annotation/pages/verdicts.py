"""A verifier's answer: the verdict, the stretches that were marked on the timeline, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from annotation.errors import PageError
from annotation.pages.regions import BAD, REASON, VERDICT, Region, read_regions
from annotation.pages.views import PageView
from annotation.work import Verdict, VerdictName

__all__ = ["read_verdict"]

_VERDICTS: Mapping[str, VerdictName] = {
    "satisfactory": "satisfactory",
    "unsatisfactory": "unsatisfactory",
    "reject": "rejected",
}


def read_verdict(result: object, view: PageView) -> Verdict:
    """A verifier's answer. Marked stretches become one range of source frames around all; the reason lists each.

    PageError when there is no single verdict, or a satisfactory masklet has bad stretches.
    """
    regions = read_regions(result, view, paged=False)
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


def _stretches(region: Region, view: PageView) -> Iterator[tuple[int, int, str]]:
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


def _range(region: Region, entry: object) -> tuple[int, int]:
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
