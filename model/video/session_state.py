"""The objects of a session and every edit of them: prompts, clears and locks, each of which can be taken back.

Whatever changes an object on behalf of a person goes through here, so that three books are always kept: what undo
restores, which tracked frames are stale now, and what changed from one answer to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from model.errors import LockedFrameError, NotPromptedError
from model.video.answers import low_res_mask
from model.video.object_table import FrameOutput, FramePrompt, LockedAnswer, ObjectTable, TrackedObject
from model.video.revision_log import FrameChange, RevisionLog
from model.video.tracking import FrameTracker
from model.video.undo_history import UndoHistory, Undone, UndoStep

__all__ = ["SessionState"]


class SessionState:
    """Owner of the object table, the undo history and the log of revisions."""

    def __init__(self, objects: ObjectTable, tracker: FrameTracker, *, revision_bytes: int) -> None:
        self.objects = objects
        self.edit = 0  # number of the last edit
        self._tracker = tracker
        self._history = UndoHistory()
        self._log = RevisionLog(revision_bytes)

    def open(self, object_id: int, frame: int) -> TrackedObject:
        """Return an object to be prompted, a new one (not yet in the table) for an unknown id.

        Raises LockedFrameError when a person accepted the frame.
        """
        if object_id not in self.objects.ids:
            return self.objects.new()
        item = self.objects.get(object_id)
        if frame in item.locks:
            raise LockedFrameError(
                f"frame {frame} of object {object_id} is locked; unlock it before changing its prompts"
            )
        return item

    def fix(
        self, object_id: int, frame: int, prompt: FramePrompt, output: FrameOutput, *, item: TrackedObject
    ) -> None:
        """Make a prompt and its answer a fixed point of an object, which becomes known if it was not."""

        def change() -> None:
            item.fix(frame, prompt, output)
            self.objects.add(object_id, item)

        self._edit(item, (frame,), change, created=object_id not in self.objects.ids)
        self.note(item, frame)

    def clear(self, object_id: int, frames: Collection[int] | None) -> None:
        """Take back the prompts of an object on some or all frames. LockedFrameError for a locked one."""
        item = self.objects.get(object_id)
        frames = tuple(item.prompts) if frames is None else frames
        for frame in frames:
            self.open(object_id, frame)
        prompted = [frame for frame in frames if frame in item.prompts]

        def change() -> None:
            for frame in prompted:
                item.clear(frame)

        if prompted:
            self._edit(item, prompted, change)

    def lock(self, object_id: int, frame: int, answer: LockedAnswer, *, changes_mask: bool) -> None:
        """Make a mask the accepted one. A prompted frame keeps its prompt and its memory.

        Accepting an answer as it is makes nothing around it stale.
        """
        item = self.objects.get(object_id)

        def change() -> None:
            item.locks[frame] = answer
            item.drop_tracked(frame)

        self._edit(item, (frame,), change, spreads=changes_mask)
        self.note(item, frame)

    def unlock(self, object_id: int, frame: int, answer: Callable[[LockedAnswer], FrameOutput]) -> None:
        """Let tracking change a frame again; until then `answer` makes its answer from the mask."""
        item = self.objects.get(object_id)
        if frame not in item.locks:
            raise NotPromptedError(f"frame {frame} of object {object_id} is not locked")

        def change() -> None:
            lock = item.locks.pop(frame)
            if frame not in item.prompts:
                item.tracked[frame] = answer(lock)
                if not item.scores.direction(frame):
                    item.scores.note_tracked(frame, reverse=False)

        self._edit(item, (frame,), change)

    def undo(self) -> Undone | None:
        """Take back the last edit; None when there is none."""
        step = self._history.pop()
        if step is None:
            return None
        object_id = self.objects.id_of(step.item)
        self.edit += 1
        step.restore()
        if step.created:
            self.remove(object_id)
            return Undone(object_id, step.frames, removed=True)
        for frame in step.frames:
            self._tracker.budget.note(step.item, frame)
            self._write(step.item, frame)
        return Undone(object_id, step.frames, removed=False)

    def note(self, item: TrackedObject, frame: int) -> None:
        """Record the scores of a new answer, and how it differs from the one before."""
        answer = item.answer(frame)
        if answer is not None:
            item.scores.note(frame, answer.scores, edit=self.edit)
            self._write(item, frame)

    def remove(self, object_id: int) -> None:
        """Forget an object."""
        item = self.objects.get(object_id)
        self._tracker.forget(item)
        self._history.forget(item)
        self._log.forget(item.serial)
        self.objects.remove(object_id)

    def forget_before(self, frame: int) -> None:
        """Let go of what is known of frames that cannot be read any more, but for the memory of prompted ones."""
        for _, item in self.objects.items():
            item.scores.forget_before(frame)
            for place in [place for place in item.locks if place < frame]:
                del item.locks[place]
        self._history.forget_before(frame)
        self._log.forget_before(frame)

    def changes(self, object_id: int, *, since: int) -> list[FrameChange]:
        """Answers of edit `since` or later that differ from those before them."""
        found = self._log.changes(self.objects.get(object_id).serial, since=since)
        return [FrameChange(object_id, *change) for change in found]

    def revision(self, item: TrackedObject, frame: int) -> int:
        """How many answers an object has had on a frame."""
        return self._log.revision(item.serial, frame)

    def _edit(
        self,
        item: TrackedObject,
        frames: Collection[int],
        change: Callable[[], None],
        *,
        created: bool = False,
        spreads: bool = True,
    ) -> None:
        """Change an object on some frames so that it can be taken back; what it `spreads` to becomes stale."""
        self.edit += 1
        self._history.push(UndoStep.before(item, frames, edit=self.edit, created=created))
        change()
        for frame in frames:
            self._tracker.budget.note(item, frame)
            if spreads:
                item.scores.mark_stale(frame, item.barriers)

    def _write(self, item: TrackedObject, frame: int) -> None:
        answer = item.answer(frame)
        if answer is not None:
            self._log.write(item.serial, frame, low_res_mask(answer), edit=self.edit)
