"""Which ticket of a work item people have in hand, and what the item hands in once all of them are answered.

Nothing is stored here: it follows from the item, the video and the ledger.

    annotate   window after window of a long video, each with the masks that the one before left on their common frames
    verify     asked again, as attempt 2, 3, …, while those who answered had made the masks themselves
    select     one ticket
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from annotation.pages.tickets import Ticket
from annotation.pages.views import PageView, TaskLimits, plan_views
from annotation.studio.ledger import Answer, Ledger
from annotation.work import EffortEvent, FrameMask, Submission, WorkItem, submission_id
from storage.masks import Rle, empty
from storage.videos import Video

__all__ = ["Asking", "Networks"]


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks that help in a round: hashes of their weights, and their arithmetic."""

    checkpoint_hash: str
    sam_checkpoint_hash: str = ""
    precision: str = "auto"


class Asking:
    """Tickets for work items. video_of: a video of the library by its id."""

    def __init__(
        self, ledger: Ledger, video_of: Callable[[str], Video], *, limits: TaskLimits, networks: Networks
    ) -> None:
        self._ledger = ledger
        self._video_of = video_of
        self._limits = limits
        self._networks = networks

    def stand(self, item: WorkItem) -> Ticket | Submission:
        """The ticket that is to be answered next, or everything that was handed in, once nothing is."""
        if item.kind == "annotate":
            return self._stand_of_windows(item)
        for attempt in range(1, 1000):
            ticket_id = item.task_id if attempt == 1 else f"{item.task_id}-a{attempt}"
            answer = self._ledger.answer(ticket_id)
            if answer is not None:
                return answer.submission
            if self._ledger.invalid(ticket_id) is None:
                return self._ticket(item, ticket_id, self._whole_view(item), attempt=attempt)
        raise AssertionError("a thousand verdicts by the wrong people")

    def _stand_of_windows(self, item: WorkItem) -> Ticket | Submission:
        answers: list[Answer] = []
        for view in self._windows(item):
            ticket_id = f"{item.task_id}-w{view.window + 1:02d}" if view.window else item.task_id
            answer = self._ledger.answer(ticket_id)
            if answer is None:
                carried = _carried(item, view, answers)
                return self._ticket(_cut(item, view, carried), ticket_id, view, carried=carried)
            answers.append(answer)
        return _joined(item, [answer.submission for answer in answers], self._video_of(item.video_id))

    def _windows(self, item: WorkItem) -> list[PageView]:
        """The windows that somebody has to look at: those with bad frames, where a verifier named any."""
        video = self._video_of(item.video_id)
        views = plan_views(
            video.annotated_frames, height=video.height, width=video.width, limits=self._limits
        )
        if item.bad_range is None or len(views) == 1:
            return list(views)
        first, last = item.bad_range
        complete = all(frame in item.masks for frame in video.annotated_frames)
        bad = [view for view in views if any(first <= frame <= last for frame in view.frames)]
        return bad if bad and complete else list(views)

    def _whole_view(self, item: WorkItem) -> PageView:
        """All frames of the video in a single view (or, to select in, the item's first frame alone)."""
        video = self._video_of(item.video_id)
        frames = (item.first_frame,) if item.kind == "select" else video.annotated_frames
        (single,) = plan_views(frames[:1], height=video.height, width=video.width, limits=self._limits)
        return replace(single, frames=tuple(frames))

    def _ticket(
        self,
        item: WorkItem,
        ticket_id: str,
        view: PageView,
        *,
        carried: Mapping[int, Rle] | None = None,
        attempt: int = 1,
    ) -> Ticket:
        return Ticket(
            ticket_id=ticket_id,
            item=item,
            view=view,
            carried=carried or {},
            attempt=attempt,
            checkpoint_hash=self._networks.checkpoint_hash,
            sam_checkpoint_hash=self._networks.sam_checkpoint_hash,
            precision=self._networks.precision,
        )


def _carried(item: WorkItem, view: PageView, answers: Sequence[Answer]) -> dict[int, Rle]:
    """Masks of a window's first frames as the window before left them, by people now or in the revision before."""
    masks = dict(item.masks)
    for answer in answers:
        masks.update({mask.frame: mask.rle for mask in answer.submission.masks})
    return {frame: masks[frame] for frame in view.frames[: view.carried] if frame in masks}


def _cut(item: WorkItem, view: PageView, carried: Mapping[int, Rle]) -> WorkItem:
    """The item as one window has it: its own frames, which begin where it begins."""
    if view.windows == 1:
        return item
    masks = {frame: rle for frame, rle in item.masks.items() if frame in set(view.frames)}
    cut = replace(item, masks={**masks, **carried})
    if item.first_frame in view.frames:
        return cut
    return replace(
        cut, first_frame=view.frames[0], point=None, box=None
    )  # those lie on a frame of another window


def _joined(item: WorkItem, parts: Sequence[Submission], video: Video) -> Submission:
    """One submission of all windows; frames of windows nobody had to look at stay as they were."""
    if len(parts) == 1 and len(parts[0].masks) == len(video.annotated_frames):
        return parts[0]
    masks = {frame: _unchanged(frame, item, video) for frame in video.annotated_frames}
    seen: set[int] = set()
    for part in parts:
        for mask in part.masks:
            if mask.frame not in seen or mask.edited:
                masks[mask.frame] = mask
            seen.add(mask.frame)
    actor = parts[0].actor
    return Submission(
        submission_id=submission_id(item.task_id, actor),
        task_id=item.task_id,
        actor=actor,
        masks=tuple(masks[frame] for frame in sorted(masks)),
        effort=tuple(_in_a_row(parts)),
        helpers=frozenset(part.actor for part in parts) - {actor},
    )


def _unchanged(frame: int, item: WorkItem, video: Video) -> FrameMask:
    rle = item.masks.get(frame) or empty(video.height, video.width)
    return FrameMask(frame=frame, rle=rle, edited=False, clicks=0, locked=False)


def _in_a_row(parts: Sequence[Submission]) -> Iterator[EffortEvent]:
    """The effort of all parts, each beginning when the one before ended."""
    start_s = 0.0
    for part in parts:
        end_s = start_s
        for event in part.effort:
            shifted = replace(event, at_s=round(start_s + event.at_s, 3))
            end_s = max(end_s, shifted.at_s + shifted.duration_s)
            yield shifted
        start_s = end_s
