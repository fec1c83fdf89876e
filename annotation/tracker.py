"""SAM 2 on one object of one video, as one sitting uses it: prompts stay, and masks flow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from annotation.answer import Answer
from annotation.encoded_frames import ShelfPlace
from annotation.support_click import support_click
from model.prompts import Box, Click
from model.video.feature_cache import FeatureCache
from model.video.frame_result import FrameResult
from model.video.video_session import VideoSession
from storage.masks import Rle, is_empty

__all__ = ["BESIDE", "Tracker"]

_OBJECT = 1
"""The only object of the session."""

BESIDE = 2
"""Masks shown beside a frame that tracking starts from where it has not come yet: with none, nano loses the object."""


class Tracker:
    """Tracks one object; `session` is its own, `features` are shared with others on the video.

    Mask prompts are passed on only when an answer is asked for, because each costs a run of the encoder.

    catch_up: None: before a click on a frame, tracking comes to it from the nearest frame that it knows. A number: for
    people who wait and see what is shown: their click refines that, with the help of the masks shown beside it; where
    nothing is shown tracking comes at most that many frames far, and a click farther away starts a new mask.
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
        self._starts: dict[int, Rle] = {}  # masks that the next click on a frame refines
        self._supports: dict[int, Click] = {}  # clicks that go before those of a person

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
        self._forget(position)
        self._waiting[position] = mask
        self._prompted.add(position)

    def release(self, position: int) -> None:
        """Take back what was said about a position: it is tracked like any other."""
        self._forget(position)
        self._prompted.discard(position)
        self._known.discard(position)
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
        if self._catch_up is not None and self._is_absent(position):
            self.release(position)
        self._pass_on_masks()
        self._prepare(position)
        if clicks and box is None:
            clicks = self._supported(position, clicks)
        result = self._session.add_points(position, _OBJECT, clicks, box=box, keep_previous=False)
        self._prompted.add(position)
        self._known.add(position)
        self._unseen.discard(position)
        self._shown.pop(position, None)
        self._features.used()
        return _answer(result)

    def predict(self, position: int) -> Answer:
        """The mask that tracking gives on a position without prompt."""
        self._pass_on_masks()
        if self._catch_up is None or not self._track_from_shown(position):
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
        if position in self._waiting:
            self._pass_on(position)
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

    def _forget(self, position: int) -> None:
        """Forget what was said about a frame, or shown there."""
        for kept in (self._waiting, self._shown, self._starts, self._supports):
            kept.pop(position, None)

    def _pass_on_masks(self) -> None:
        """Tell the session about masks set since the last answer."""
        for position in sorted(self._waiting):
            self._pass_on(position)

    def _pass_on(self, position: int) -> None:
        self._add_mask(position, self._waiting.pop(position))
        self._known.add(position)

    def _add_mask(self, position: int, mask: Rle) -> None:
        self._session.add_mask(position, _OBJECT, mask)
        self._starts[position] = mask

    def _prepare(self, position: int) -> None:
        """See to it that a click refines what is shown, or else what tracking gives there."""
        shown = self._shown.get(position)
        if shown is None or is_empty(shown):
            if self._catch_up is None or self._is_near(position):
                self._track_to(position)
        elif self._track_from_shown(position):
            with self._borrowed({position: shown}):
                pass
            self._starts[position] = shown
        else:
            self._add_mask(position, shown)

    def _supported(self, position: int, clicks: Sequence[Click]) -> Sequence[Click]:
        """The clicks, and before them the one that keeps the mask which they refine, if it was given."""
        start = self._starts.pop(position, None)
        support = None if start is None or self._catch_up is None else support_click(start, clicks)
        if support is not None:
            self._supports[position] = support
        support = self._supports.get(position)
        return clicks if support is None else (support, *clicks)

    def _is_absent(self, position: int) -> bool:
        """Whether all that was said about a frame is that the object is not there."""
        mask = self._waiting.get(position) or self._starts.get(position)
        return mask is not None and is_empty(mask)

    def _is_near(self, position: int) -> bool:
        """Whether tracking may come to a frame while a person waits."""
        assert self._catch_up is not None
        return min((abs(position - place) for place in self._known), default=0) <= self._catch_up

    def _track_from_shown(self, position: int) -> bool:
        """Track one frame as if the tracker had made the masks shown beside it; False if there is nothing beside it.

        Forward from the frames before it, else backward from those after it.
        """
        if not self._prompted:
            return False
        for places, step in (
            (range(position - BESIDE, position), 1),
            (range(position + BESIDE, position, -1), -1),
        ):
            shown = {place: self._shown.pop(place) for place in places if place in self._shown}
            if shown or not self._known.isdisjoint(places):
                with self._borrowed(shown):
                    for _ in self._run(range(position, position + step, step)):
                        pass
                return True
        return False

    @contextmanager
    def _borrowed(self, masks: Mapping[int, Rle]) -> Iterator[None]:
        """Within it masks are remembered as accepted ones, afterwards as tracked ones that are free to change."""
        for position, mask in masks.items():
            self._session.lock(position, _OBJECT, mask)
        try:
            yield
        finally:
            for position in masks:
                self._session.unlock(position, _OBJECT)
                self._known.add(position)
                self._unseen.discard(position)

    def _track_to(self, position: int) -> None:
        """Track to a position that the session knows nothing of yet, from the nearest one it knows."""
        if not self._known or position in self._known:
            return
        before = [place for place in self._known if place < position]
        path = range(max(before), position + 1) if before else range(min(self._known), position - 1, -1)
        for answer in self._run(path):
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
