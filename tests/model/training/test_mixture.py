"""Which source, clips and seeds a step draws, on one process or many."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.errors import ClipError, TrainingError
from model.training.batch import Batch
from model.training.clips import Clip, ClipSource
from model.training.mixture import Mixture, Source


class Numbered:
    """`length` clips that show a number drawn from the generator; `objects` of them at random."""

    def __init__(self, name: str, length: int = 10, broken: tuple[int, ...] = ()) -> None:
        self.name, self.length, self.broken = name, length, broken

    def __len__(self) -> int:
        return self.length

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        if index in self.broken:
            raise ClipError(f"{self.name}-{index} is cut")
        images = np.full((frames, size, size, 3), rng.integers(256), dtype=np.uint8)
        count = int(rng.integers(1, objects + 1))
        return Clip(images, np.ones((frames, count, size, size), dtype=bool), f"{self.name}-{index}")


def mix(*sources: Source, seed: int = 0) -> Mixture:
    return Mixture(sources, frames=3, objects=3, clips_per_step=4, size=8, seed=seed)


def source(name: str = "a", clips: ClipSource | None = None, **how: int | float) -> Source:
    return Source(name, Numbered(name) if clips is None else clips, **how)  # type: ignore[arg-type]


def shares(*sources: Source) -> list[float]:
    return [round(float(share), 3) for share in mix(*sources).shares]


def test_without_weights_sources_are_drawn_by_size() -> None:
    assert shares(source(clips=Numbered("a", 30)), source(clips=Numbered("b", 10))) == [0.75, 0.25]


def test_weights_replace_sizes() -> None:
    assert shares(source(weight=2.0), source("b", Numbered("b", 999))) == [0.667, 0.333]


def test_steps_follow_the_shares() -> None:
    mixture = mix(source("often", weight=3), source("seldom", weight=1))
    names = [mixture.source(step).name for step in range(400)]
    assert 0.69 < names.count("often") / 400 < 0.81


def test_all_clips_of_a_step_come_from_one_source() -> None:
    mixture = mix(source("a"), source("b"))
    for step in range(20):
        names = {name.split("-")[0] for name in mixture.draw(step).names}
        assert names == {mixture.source(step).name}


def test_ranks_share_the_batch_of_one_process() -> None:
    mixture = mix(source())
    for step in range(5):
        whole = mixture.draw(step)
        parts = [mixture.draw(step, rank=rank, world=2) for rank in range(2)]
        for rank, part in enumerate(parts):
            assert part.names == whole.names[rank::2]
            assert part.seeds == whole.seeds[rank::2]
            assert torch.equal(part.images, whole.images[:, rank::2])


def test_seeds_of_clicks_differ_by_clip_and_step() -> None:
    seeds = [seed for step in range(10) for seed in mix(source()).draw(step).seeds]
    assert len(set(seeds)) == 40


def test_a_source_may_have_its_own_clip_length_and_batch_size() -> None:
    batch = mix(source(frames=1, clips_per_step=6)).draw(0)
    assert (batch.frames, len(batch.names)) == (1, 6)


def test_clips_that_cannot_be_read_are_replaced_and_listed() -> None:
    mixture = mix(source(clips=Numbered("a", 10, broken=tuple(range(5)))))
    batches = [mixture.draw(step) for step in range(20)]
    assert all(int(name[2:]) >= 5 for batch in batches for name in batch.names)
    skipped = [clip for batch in batches for clip in batch.skipped]
    assert 40 < len(skipped) < 130
    assert str(skipped[0]) == f"clip {skipped[0].index} of a: a-{skipped[0].index} is cut"
    assert mixture.draw(3).skipped == batches[3].skipped


def test_a_replaced_clip_keeps_its_seed_and_its_neighbours() -> None:
    good, bad = mix(source()), mix(source(clips=Numbered("a", 10, broken=(4,))))
    for step in range(20):
        whole, mended = good.draw(step), bad.draw(step)
        assert whole.seeds == mended.seeds
        pairs = zip(whole.names, mended.names, strict=True)
        assert all(old == new for old, new in pairs if old != "a-4")


def test_a_source_without_one_readable_clip_stops_the_training() -> None:
    with pytest.raises(TrainingError, match=r"none of 20 clips of a could be read.*is cut"):
        mix(source(clips=Numbered("a", 3, broken=(0, 1, 2)))).draw(0)


def test_fewer_clips_than_processes_are_refused() -> None:
    with pytest.raises(TrainingError, match="4 clips a step cannot be shared by 5 processes"):
        mix(source()).draw(0, rank=0, world=5)


@pytest.mark.parametrize(
    ("how", "why"),
    [({"weight": 0.0}, "weight"), ({"weight": float("nan")}, "weight"), ({"frames": 0}, "frames")],
)
def test_impossible_sources_are_refused(how: dict[str, float], why: str) -> None:
    with pytest.raises(TrainingError, match=why):
        source(**how)


def test_empty_mixtures_are_refused() -> None:
    with pytest.raises(TrainingError, match="no source"):
        mix()
    with pytest.raises(TrainingError, match="Source a is empty"):
        mix(source(clips=Numbered("a", 0)))


def test_a_batch_moves_to_a_device_with_all_it_knows() -> None:
    batch = mix(source()).draw(1)
    moved = batch.to("meta")
    assert moved.images.device.type == moved.masks.device.type == moved.clip_of_object.device.type == "meta"
    assert (moved.names, moved.seeds) == (batch.names, batch.seeds)


def test_a_batch_needs_a_seed_for_each_clip() -> None:
    batch = mix(source()).draw(0)
    with pytest.raises(TrainingError, match="needs a seed each"):
        Batch(batch.images, batch.masks, batch.clip_of_object, batch.names, (1,))
