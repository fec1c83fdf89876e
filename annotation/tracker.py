"""SAM 2 on one object of one video, as one sitting uses it: prompts stay, and masks flow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from annotation.answer import Answer
from annotation.encoded_frames import ShelfPlace
from model.prompts import Box, Click
from model.video.feature_cache import FeatureCache
from model.video.frame_result import FrameResult
from model.video.video_session import VideoSession
from storage.masks import Rle, is_empty

__all__ = ["Tracker"]

_OBJECT = 1
"""The only object of the session."""


class Tracker:
    """Tracks one object; `session` is its own, `features` are shared with others on the video.

    Mask prompts are passed on only when an answer is asked for, because each costs a run of the encoder.
    catch_up: the most frames that are tracked before a click on a frame that was not tracked yet is answered;
    None: all frames from the nearest one that was.
    """

    def __init__(
        self, session: VideoSession, features: ShelfPlace[FeatureCache], *, catch_up: int | None = None
    ) -> None:
        self._session = session
        self._features = features
        self._catch_up = catch_up
        self._waiting: dict[int, Rle] = {}
        self._prompted: set[int] = set()
        self._known: set[int] = set()  # positions of which the session knows a mask
        self._unseen: set[int] = set()  # positions of which it knows a mask that was never shown
        self._shown: dict[int, Rle] = {}  # what is shown instead of a mask that the session knows

    @property
    def has_prompts(self) -> bool:
        """Whether there is anything to propagate."""
        return bool(self._prompted)

    @property
    def earliest(self) -> int:
        """The first position with a prompt."""
        return min(self._prompted)

    def start_from(self, masks: Mapping[int, Rle]) -> None:
        """Masks that were there before the sitting, as prompts."""
        for position, mask in masks.items():
            self.set_mask(position, mask)

    def set_mask(self, position: int, mask: Rle) -> None:
        """Say what the mask is; an empty one: the object is absent there."""
        self._waiting[position] = mask
        self._prompted.add(position)
        self._shown.pop(position, None)

    def release(self, position: int) -> None:
        """Take back what was said about a position: it is tracked like any other."""
        self._waiting.pop(position, None)
        self._prompted.discard(position)
        self._known.discard(position)
        self._shown.pop(position, None)
        self._unseen.discard(position)
        if not self._prompted and self._session.object_ids:
            self._session.remove_object(_OBJECT)
            self._known.clear()
            self._unseen.clear()
        elif self._session.object_ids:
            self._session.clear_frame(position, _OBJECT)

    def show(self, position: int, mask: Rle) -> None:
        """Say what a person sees on a position without prompt: if it is not from here, the next click refines it."""
        if position not in self._prompted and (position not in self._known or position in self._unseen):
            self._shown[position] = mask

    def refine(self, position: int, clicks: Sequence[Click], box: Box | None) -> Answer:
        """The mask under all clicks and the box of a frame, on top of the mask there: shown, given or tracked."""
        self._pass_on_masks()
        self._prepare(position)
        result = self._session.add_points(position, _OBJECT, clicks, box=box, keep_previous=False)
        self._prompted.add(position)
        self._known.add(position)
        self._unseen.discard(position)
        self._features.used()
        return _answer(result)

    def predict(self, position: int) -> Answer:
        """The mask that tracking gives on a position without prompt."""
        self._pass_on_masks()
        self._track_to(position)
        self._unseen.discard(position)
        return _answer(self._session.answer(position, (_OBJECT,)))

    def propagate(self, first: int, last: int, *, forward_only: bool) -> Iterator[Answer]:
        """Masks of the positions `first` to `last`, both inclusive.

        They flow forward from the earliest prompt (or from `first`, if that is later), then, unless
        `forward_only`, backward from the earliest prompt to `first`.
        """
        self._pass_on_masks()
        earliest = self.earliest
        yield from self._run(range(max(first, 0 if forward_only else earliest), last + 1))
        if not forward_only and first < earliest:
            yield from self._run(range(min(earliest, last), first - 1, -1))

    def propagate_backward(self, first: int, last: int) -> Iterator[Answer]:
        """Masks of the positions `last` down to `first`, both inclusive."""
        self._pass_on_masks()
        yield from self._run(range(last, first - 1, -1))

    def warm(self, position: int) -> bool:
        """Encode a frame ahead of the first click; False, and nothing done, when there is no room to keep it."""
        if self._features.cache.get(position) is None:
            if not self._features.has_room():
                return False
            self._session.encode(position)
            self._features.used()
        return True

    @property
    def byte_size(self) -> int:
        """Bytes held for this sitting alone, roughly: what is remembered of frames; the features are shared."""
        config, limits = self._session.model.config, self._session.config
        pixels, places = (4 * config.grid) ** 2, config.grid**2
        tracked = len(self._known) * (2 * pixels + 2 * places * config.memory.dim)
        conditioned = len(self._known) * 4 * places * config.dim
        prompted = len(self._prompted) * 8 * pixels
        rles = sum(len(mask.counts) for mask in (*self._waiting.values(), *self._shown.values()))
        return (
            min(tracked, limits.memory_bytes)
            + min(conditioned, limits.conditioned_cache_bytes)
            + prompted
            + rles
        )

    def _pass_on_masks(self) -> None:
        """Tell the session about masks set since the last answer."""
        for position, mask in sorted(self._waiting.items()):
            self._session.add_mask(position, _OBJECT, mask)
            self._known.add(position)
        self._waiting.clear()

    def _prepare(self, position: int) -> None:
        """See to it that a click refines what is shown, or else what tracking gives there."""
        shown = self._shown.pop(position, None)
        if shown is None or is_empty(shown):
            self._track_to(position)
        elif not self._prompted:
            self._session.add_mask(position, _OBJECT, shown)
        else:  # accepted and taken back: now it counts as tracked
            self._session.lock(position, _OBJECT, shown)
            self._session.unlock(position, _OBJECT)

    def _track_to(self, position: int) -> None:
        """Track to a position that the session knows nothing of yet, from the nearest one it knows."""
        if not self._known or position in self._known:
            return
        before = [place for place in self._known if place < position]
        path = range(max(before), position + 1) if before else range(min(self._known), position - 1, -1)
        for answer in self._run(path if self._catch_up is None else path[-max(self._catch_up, 1) :]):
            self._unseen.add(answer.position)

    def _run(self, path: range) -> Iterator[Answer]:
        if not path:
            return
        results = self._session.propagate(start=path.start, stop=path.stop, reverse=path.step < 0)
        for result in results:
            self._known.add(result.frame)
            self._unseen.discard(result.frame)
            self._shown.pop(result.frame, None)
            self._features.used()
            yield _answer(result)


def _answer(result: FrameResult) -> Answer:
    return Answer(
        result.frame, result.masks[0], float(result.predicted_ious[0]), float(result.stabilities[0])
    )
