"""The last barrier before a training step: clips of evaluation groups never reach the network.

A data set is made leak-safe long before this. The guard is for what nobody foresaw: a manifest that was written before
a video became evaluation, or was altered by hand. It looks at every clip that is drawn, so it cannot be gone around by
a list of videos that looks right.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from model.errors import LeakError
from model.training.clips import Clip, ClipSource

__all__ = ["GuardedClips", "LeakError", "refuse_leak"]


class GuardedClips:
    """A `ClipSource` that hands on another one's clips and stops training at the first of a forbidden group.

    Clips without a group (drawn ones) pass. Raises LeakError naming the clip and its group.
    """

    def __init__(self, source: ClipSource, forbidden: Collection[str]) -> None:
        self._source = source
        self._forbidden = frozenset(group for group in forbidden if group)

    def __len__(self) -> int:
        return len(self._source)

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """The clip of the guarded source, drawn alike; LeakError if its group is forbidden."""
        clip = self._source.clip(index, rng, frames=frames, objects=objects, size=size)
        refuse_leak(clip.name, clip.group, self._forbidden)
        return clip


def refuse_leak(name: str, group: str, forbidden: Collection[str]) -> None:
    """Raises LeakError, naming the clip or video and its group, if the group is kept for evaluation."""
    if group and group in forbidden:
        raise LeakError(
            f"Clip {name} belongs to group {group}, which is kept for evaluation; training on it would make every "
            "later score worthless. Nothing of this step was learnt. Remove the video from what is trained on; if its "
            "manifest was written before the video became evaluation, train on a newer one."
        )
