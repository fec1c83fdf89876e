"""A session on one video: prompt objects on any frame, track them, correct, accept, track again.

Three promises that the published predictor does not make. A prompted or corrected frame is a fixed point: tracking
never overwrites it and always remembers it. A locked frame, accepted by a person, comes out bit for bit. And memory
does not grow with the video: frames are read one at a time, features and old answers live in bounded caches.

    session = VideoSession(model, frames)
    session.add_points(0, 1, [Click(120, 80)])
    for result in session.propagate():
        save(result.frame, result.rles())
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.errors import NotPromptedError, PromptError
from model.network.sam2 import Sam2
from model.prompts import Box, Click
from model.video.answers import accepted, checked_mask, make_result, unlocked
from model.video.feature_cache import FeatureCache
from model.video.frame_result import FrameResult
from model.video.frame_scores import FORWARD, REVERSE
from model.video.frame_source import FrameSource, StreamFrames
from model.video.network_steps import NetworkSteps
from model.video.object_table import Answered, FramePrompt, LockedAnswer, ObjectTable, TrackedObject
from model.video.propagation import Leg, Propagation, frame_path, stale_legs
from model.video.revision_log import FrameChange
from model.video.session_config import SessionConfig
from model.video.session_state import SessionState
from model.video.tracking import FrameTracker
from model.video.undo_history import Undone
from storage.masks import Rle

__all__ = ["FrameResult", "FrameSource", "SessionConfig", "VideoSession"]


class VideoSession:
    """Tracks objects through one video with one model. Not for several threads at once; its features are."""

    def __init__(
        self,
        model: Sam2,
        frames: FrameSource,
        *,
        config: SessionConfig | None = None,
        features: FeatureCache | None = None,
    ) -> None:
        """`features` may be shared by sessions on the same video with the same model; else each makes its own."""
        self.model = model
        self.frames = frames
        self.config = SessionConfig() if config is None else config
        self.features = FeatureCache(self.config.feature_cache_bytes) if features is None else features
        self._objects = ObjectTable()
        self._steps = NetworkSteps(model, frames, self.features, self.config)
        self._tracker = FrameTracker(self._steps, self._objects, self.config)
        self._state = SessionState(self._objects, self._tracker, revision_bytes=self.config.revision_bytes)

    # --- objects

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of all objects, in the order of their first prompt."""
        return self._objects.ids

    @property
    def edit(self) -> int:
        """Number of the last prompt, clear, lock, unlock or undo; `changes` can be asked from any on."""
        return self._state.edit

    def prompted_frames(self, object_id: int) -> tuple[int, ...]:
        """Return the frames on which an object has prompts, ascending. UnknownObjectError when it is unknown."""
        return tuple(sorted(self._objects.get(object_id).prompts))

    def locked_frames(self, object_id: int) -> tuple[int, ...]:
        """Return the frames that a person accepted, ascending. UnknownObjectError when it is unknown."""
        return tuple(sorted(self._objects.get(object_id).locks))

    def remove_object(self, object_id: int) -> None:
        """Forget an object, its locks and what could be undone of it. UnknownObjectError when it is unknown."""
        self._state.remove(object_id)

    def rename(self, old: int, new: int) -> None:
        """Call an object something else; nothing else changes. UnknownObjectError if it is unknown or `new` taken."""
        self._objects.rename(old, new)

    def reset(self) -> None:
        """Forget all objects; the encoded frames stay."""
        for object_id in self.object_ids:
            self.remove_object(object_id)

    # --- prompts

    def encode(self, frame: int) -> None:
        """Encode a frame ahead of its first prompt; `features` keeps it. FrameRangeError outside the video."""
        self._steps.check_frame(frame)
        self._steps.encode(frame)

    def add_points(
        self,
        frame: int,
        object_id: int,
        clicks: Sequence[Click],
        *,
        box: Box | None = None,
        keep_previous: bool = True,
    ) -> FrameResult:
        """Prompt an object with clicks and perhaps a box; return this object's mask on that frame at once.

        Earlier clicks and box of the frame stay unless `keep_previous` is false; a mask prompt does not. The answer
        refines the last one that led to these clicks, never that to a click which is no longer there. An unknown
        object id makes a new object. Raises FrameRangeError and CoordinateError for a frame or point outside the
        video, LockedFrameError, and PromptError for an empty prompt or if the model takes only masks.
        """
        self._steps.check_frame(frame)
        if self.config.mask_prompts_only:
            raise PromptError("this model takes masks as prompts; it does not understand clicks or boxes")
        for shape in (*clicks, *((box,) if box else ())):
            shape.check_inside(height=self.frames.height, width=self.frames.width)
        item = self._state.open(object_id, frame)
        old = item.first_prompt(frame)
        if keep_previous:
            clicks, box = old.clicks + tuple(clicks), box or old.box
        if not clicks and box is None:
            raise PromptError(f"no click and no box for object {object_id} on frame {frame}")
        clicks = tuple(clicks)
        return self._answer(
            frame,
            object_id,
            item,
            replace(old, clicks=clicks, box=box, mask=None, steps=old.base(clicks, box)),
        )

    def add_mask(self, frame: int, object_id: int, mask: NDArray[np.bool_] | Rle) -> FrameResult:
        """Say what an object's mask is on a frame: bool [H, W] or run lengths, empty when the object is absent.

        Replaces clicks on that frame. Raises MaskShapeError for a mask of another size or type, FrameRangeError and
        LockedFrameError.
        """
        self._steps.check_frame(frame)
        rle = self._checked(mask, frame, object_id)
        item = self._state.open(object_id, frame)
        prompt = replace(item.first_prompt(frame), clicks=(), box=None, mask=rle, steps=())
        return self._answer(frame, object_id, item, prompt)

    def clear_frame(self, frame: int, object_id: int) -> None:
        """Take back all prompts of an object on a frame; it is tracked there like on any other frame."""
        self._steps.check_frame(frame)
        self._state.clear(object_id, (frame,))

    def clear_object(self, object_id: int) -> None:
        """Take back all prompts of an object, which stays known. LockedFrameError if one of them is locked."""
        self._state.clear(object_id, None)

    def undo(self) -> Undone | None:
        """Take back the last prompt, clear, lock or unlock of any object; None when there is none (or it is 32 ago).

        Prompt, answer and what feeds the next refinement are then as if it had never been. Frames tracked since are
        stale.
        """
        return self._state.undo()

    # --- accepted frames

    def lock(self, frame: int, object_id: int, mask: NDArray[np.bool_] | Rle | None = None) -> None:
        """Accept a mask bool [H, W] of an object on a frame, by default the present answer.

        It comes out bit for bit whatever is tracked, other frames are tracked from it, and prompts on it are refused
        until `unlock`. Raises UnknownObjectError, FrameRangeError, MaskShapeError, and NotPromptedError without mask
        when there is no answer (or it is no longer kept: then give the mask).
        """
        self._steps.check_frame(frame)
        item = self._objects.get(object_id)
        if mask is None:
            answer = self._accept_present(item, frame, object_id)
        else:
            self._state.open(object_id, frame)
            rle = self._checked(mask, frame, object_id)
            answer = accepted(rle, self._mask_side)
            if frame in item.prompts:
                self.add_mask(frame, object_id, rle)
        if frame not in item.locks:
            self._state.lock(object_id, frame, answer, changes_mask=mask is not None)

    def unlock(self, frame: int, object_id: int) -> None:
        """Let a locked frame be tracked and prompted again. NotPromptedError if it is not locked."""
        self._steps.check_frame(frame)
        self._state.unlock(object_id, frame, partial(unlocked, device=self.model.device))

    # --- tracking

    def propagate(
        self,
        *,
        start: int | None = None,
        stop: int | None = None,
        reverse: bool = False,
        only_stale: bool = False,
    ) -> Propagation:
        """Track all objects from frame `start` up to, not including, `stop`; yield each frame's masks.

        Forward by default to the end of the video; `reverse` goes down, by default through frame 0. Without
        `start` it begins at the earliest prompted frame. `only_stale` tracks just what edits made stale, forward from
        them and then backward; `start` and `stop` then bound the frames. Prompts may be added, and objects removed,
        between two frames. Raises NotPromptedError when there is no object or one has no prompt, FrameRangeError for a
        bound outside the video.
        """
        return self._propagation(start, stop, reverse=reverse, only_stale=only_stale, batch=None)

    def propagate_in_batches(
        self, *, start: int | None = None, stop: int | None = None, reverse: bool = False
    ) -> Propagation:
        """Like `propagate`, but with several results per frame, each of at most `object_batch` objects.

        For hundreds of objects, whose full-size masks would not fit in memory together; `non_overlap` then
        only holds within a result.
        """
        batch = self.config.object_batch
        return self._propagation(start, stop, reverse=reverse, only_stale=False, batch=batch)

    def push(self, rgb: NDArray[np.uint8]) -> FrameResult:
        """Take in the next frame of a stream, RGB uint8 [H, W, 3], and track all objects on it.

        For sessions on `StreamFrames`. Objects may be prompted on this frame (or one that the stream still keeps)
        afterwards; results are those of a long video known from the beginning. FrameShapeError for another picture,
        PromptError for a session that is not on a stream.
        """
        if not isinstance(self.frames, StreamFrames):
            raise PromptError("push is for sessions on StreamFrames; this session's video is complete")
        if self.object_ids:
            self._check_prompted()
            self._tracker.remember_newest(len(self.frames) - 1)
        frame = self.frames.append(rgb)
        self._track(frame, Leg((frame,), reverse=False))
        self._state.forget_before(self.frames.first)
        return self.answer(frame)

    # --- results

    def answer(self, frame: int, object_ids: Sequence[int] | None = None) -> FrameResult:
        """Return the present masks of a frame without running the network, by default of all objects.

        Only of objects that have an answer there that is still kept. Raises FrameRangeError, UnknownObjectError.
        """
        self._steps.check_frame(frame)
        objects = self._objects.select(object_ids)
        answers = [(i, item, found) for i, item in objects if (found := item.answer(frame)) is not None]
        return make_result(
            frame,
            answers,
            [self._state.revision(item, frame) for _, item, _ in answers],
            size=(self.frames.height, self.frames.width),
            side=self._mask_side,
            tidying=self.config.tidying,
        )

    def changes(self, object_id: int | None = None, *, since: int | None = None) -> tuple[FrameChange, ...]:
        """Which answers changed, and by how much: IoU with the answer before, on the network's mask map.

        By default those given since the last edit, which is what a correction and the propagation after it changed;
        `since` is a number that `edit` had. Of one object or of all. UnknownObjectError for an unknown one.
        """
        first = self.edit if since is None else since
        ids = self.object_ids if object_id is None else (object_id,)
        return tuple(change for i in ids for change in self._state.changes(i, since=first))

    def stale_frames(self, object_id: int) -> tuple[int, ...]:
        """Tracked frames, ascending, around edits made since, up to the next prompted or locked frame on each side.

        `propagate(only_stale=True)` tracks them anew. UnknownObjectError for an unknown object.
        """
        return tuple(self._objects.get(object_id).scores.stale_frames().tolist())

    def suggest_frames(self, object_id: int, count: int = 5, *, gap: int = 5) -> tuple[int, ...]:
        """Tracked frames that a person should look at next, the worst first.

        Those with the lowest predicted IoU × stability, at least `gap` frames from each other and from every frame
        that a person prompted or accepted. UnknownObjectError for an unknown object.
        """
        item = self._objects.get(object_id)
        return item.scores.suggest(count, fixed=item.barriers, gap=gap)

    # --- inside

    def _answer(self, frame: int, object_id: int, item: TrackedObject, prompt: FramePrompt) -> FrameResult:
        """Run the model on a prompt and make the frame a fixed point of the object."""
        output = self._tracker.answer(item, frame, prompt)
        step = Answered(prompt.clicks, prompt.box, output.low_res)
        prompt = replace(prompt, steps=(*prompt.steps, step))
        self._state.fix(object_id, frame, prompt, output, item=item)
        return self.answer(frame, (object_id,))

    def _accept_present(self, item: TrackedObject, frame: int, object_id: int) -> LockedAnswer:
        """What an object's answer on a frame is if it is accepted as it is."""
        found, result = item.answer(frame), self.answer(frame, (object_id,))
        if found is None:
            raise NotPromptedError(
                f"object {object_id} has no answer on frame {frame} to lock; track the frame or give the mask"
            )
        return accepted(result.rles()[0], self._mask_side, found.scores)

    def _checked(self, mask: NDArray[np.bool_] | Rle, frame: int, object_id: int) -> Rle:
        where = f"object {object_id} on frame {frame}"
        return checked_mask(mask, height=self.frames.height, width=self.frames.width, where=where)

    @property
    def _mask_side(self) -> int:
        """Pixels along the network's square masks."""
        return 4 * self.model.config.grid

    def _check_prompted(self) -> None:
        if not self.object_ids:
            raise NotPromptedError("there is no object to track; add a prompt first")
        for object_id, item in self._objects.items():
            if not item.prompts:
                raise NotPromptedError(f"object {object_id} has no prompt left; prompt it or remove it")

    def _propagation(
        self, start: int | None, stop: int | None, *, reverse: bool, only_stale: bool, batch: int | None
    ) -> Propagation:
        self._check_prompted()
        items = [item for _, item in self._objects.items()]
        if start is None and not only_stale:
            start = min(min(item.prompts) for item in items)
        path = frame_path(start, stop, count=len(self.frames), reverse=reverse)
        legs = stale_legs([item.scores for item in items], path) if only_stale else [Leg(path, reverse)]
        results = partial(self._results, batch=batch)
        return Propagation(legs, self._track, results)

    def _track(self, frame: int, leg: Leg) -> tuple[int, ...]:
        """Answer a frame of a leg; return the objects whose answers are to be given out."""
        direction = REVERSE if leg.reverse else FORWARD
        if not isinstance(self.frames, StreamFrames) or self.object_ids:
            self._check_prompted()
        objects = [
            (object_id, item)
            for object_id, item in self._objects.items()
            if not leg.only_stale or item.scores.is_stale(frame, direction)
        ]
        items = [item for _, item in objects]
        for item in self._tracker.track(frame, items, reverse=leg.reverse):
            self._state.note(item, frame)
        return tuple(object_id for object_id, _ in objects)

    def _results(
        self, frame: int, object_ids: tuple[int, ...], *, batch: int | None
    ) -> Iterator[FrameResult]:
        size = batch or len(object_ids)
        for first in range(0, len(object_ids), size):
            yield self.answer(frame, object_ids[first : first + size])
