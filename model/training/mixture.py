"""Batches from several sources: each step takes all its clips from one of them, drawn by weight.

SAM 2 trains so on images and videos together (paper, appendix C.2): a full batch of one kind a step, the kind
drawn in proportion to the sources' sizes, with batch sizes of their own. Whatever a step draws is a function
of the seed, the step and the number of the clip in the step, so ranks, worker processes and resumed runs need
no state: see `Mixture.draw`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.errors import ClipError, TrainingError
from model.training.batch import Batch, SkippedClip
from model.training.clips import Clip, ClipSource
from storage.errors import MaskError, StoreError, VideoError

UNREADABLE = (ClipError, MaskError, StoreError, VideoError)
"""What drawing a clip may raise because of the clip; anything else stops the training."""

ATTEMPTS = 20
"""Clips that one place of a batch may try before the source is given up."""


@dataclass(frozen=True, slots=True)
class Source:
    """Clips under a name, and how they are drawn.

    `weight` is the share of steps relative to the other sources; None: in proportion to the number of clips
    where no source has a weight, 1 beside sources that have one. `frames` (1: images), `objects` and
    `clips_per_step` replace the run's values.
    """

    name: str
    clips: ClipSource
    weight: float | None = None
    frames: int | None = None
    clips_per_step: int | None = None
    objects: int | None = None

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 < self.weight < float("inf"):
            raise TrainingError(f"Source {self.name}: the weight must be above 0, got {self.weight}.")
        for name in ("frames", "clips_per_step", "objects"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise TrainingError(f"Source {self.name}: {name} must be at least 1, got {value}.")


class Mixture:
    """Draws the batch of any step from one of several sources."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        frames: int,
        objects: int,
        clips_per_step: int,
        size: int,
        seed: int,
    ) -> None:
        """`frames` of a clip, most `objects` of one, `size` of its frames in pixels."""
        if not sources:
            raise TrainingError("There is no source to draw training clips from.")
        for source in sources:
            if len(source.clips) == 0:
                raise TrainingError(f"Source {source.name} is empty: there is nothing to draw from it.")
        self.sources = tuple(sources)
        self.shares = _shares(self.sources)
        self._frames, self._objects, self._clips = frames, objects, clips_per_step
        self._size, self._seed = size, seed

    def source(self, step: int) -> Source:
        """The source of a step; the same on every rank."""
        rng = np.random.default_rng([self._seed, step, 0, 1])  # a stream of its own beside those of the clips
        return self.sources[int(rng.choice(len(self.sources), p=self.shares))]

    def draw(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        """The clips of a step that fall to a rank: number `rank`, `rank + world`, … of the whole batch.

        Clip c is drawn from `default_rng([seed, step, 1 + c])`, so one process with four clips and two ranks
        with two clips each draw the same four. A clip that cannot be read is replaced by another one of the
        same source and listed in `Batch.skipped`. Raises `TrainingError` if nothing can be read, or if there
        are fewer clips than ranks.
        """
        source = self.source(step)
        count = source.clips_per_step or self._clips
        if count < world:
            raise TrainingError(
                f"{count} clips a step cannot be shared by {world} processes; raise clips_per_step "
                f"of {source.name}."
            )
        skipped: list[SkippedClip] = []
        drawn = [self._draw_clip(source, step, number, skipped) for number in range(rank, count, world)]
        batch = Batch.from_clips([clip for clip, _ in drawn], seeds=[seed for _, seed in drawn])
        return Batch(
            batch.images, batch.masks, batch.clip_of_object, batch.names, batch.seeds, tuple(skipped)
        )

    def _draw_clip(
        self, source: Source, step: int, number: int, skipped: list[SkippedClip]
    ) -> tuple[Clip, int]:
        """A clip and the seed of its clicks; what could not be read is added to `skipped`."""
        seed = -1
        for attempt in range(ATTEMPTS):
            retry = [attempt] if attempt else []
            rng = np.random.default_rng([self._seed, step, 1 + number, *retry])
            if attempt == 0:
                seed = int(rng.integers(2**62))
            index = int(rng.integers(len(source.clips)))
            try:
                clip = source.clips.clip(
                    index,
                    rng,
                    frames=source.frames or self._frames,
                    objects=source.objects or self._objects,
                    size=self._size,
                )
            except UNREADABLE as error:
                skipped.append(SkippedClip(source.name, index, str(error)))
            else:
                return clip, seed
        raise TrainingError(
            f"Step {step}: none of {ATTEMPTS} clips of {source.name} could be read; the last one: {skipped[-1]}"
        )


def _shares(sources: Sequence[Source]) -> npt.NDArray[np.float64]:
    """Probability of each source."""
    if all(source.weight is None for source in sources):
        weights = np.array([len(source.clips) for source in sources], dtype=np.float64)
    else:
        weights = np.array([1.0 if source.weight is None else source.weight for source in sources])
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares
