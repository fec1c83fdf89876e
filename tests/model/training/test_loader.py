"""Batches drawn ahead by worker processes: equal to those drawn here, whatever happens to a worker."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from model.errors import ClipError, TrainingError
from model.training.batch import Batch, SkippedClip
from model.training.clips import Clip
from model.training.loader import SkippedClips, StepLoader
from model.training.mixture import Mixture, Source


class GreyClips:
    """Clips of one grey; every index in `broken` cannot be read."""

    def __init__(self, broken: tuple[int, ...] = ()) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 8

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        if index in self.broken:
            raise ClipError(f"grey-{index}.mp4 is cut")
        images = np.full((frames, size, size, 3), rng.integers(256), dtype=np.uint8)
        return Clip(images, np.ones((frames, 1, size, size), dtype=bool), f"grey-{index}")


def mixture(broken: tuple[int, ...] = ()) -> Mixture:
    return Mixture([Source("grey", GreyClips(broken))], frames=2, objects=1, clips_per_step=2, size=8, seed=3)


@dataclass(frozen=True)
class Mortal:
    """Draws the step's number; its first process waits at step 2 until it is killed."""

    folder: Path

    def __call__(self, step: int) -> int:
        started = self.folder / "started"
        if step == 2 and not started.exists():
            (self.folder / "pid").write_text(str(os.getpid()))
            started.touch()
            time.sleep(600)
        return step * step


@dataclass(frozen=True)
class Suicide:
    """Every process that draws step 1 ends."""

    def __call__(self, step: int) -> int:
        if step == 1:
            os._exit(7)
        return step


@dataclass(frozen=True)
class Wrong:
    def __call__(self, step: int) -> int:
        if step == 1:
            raise FileNotFoundError("step 1 has no clips")  # an OSError, as a broken pipe is
        return step


def kill_when_started(folder: Path, results: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    found = [next(results)]
    while not (folder / "started").exists():
        time.sleep(0.01)
    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
    return found + list(results)


def assert_equal(a: Batch, b: Batch) -> None:
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.masks, b.masks)
    assert torch.equal(a.clip_of_object, b.clip_of_object)
    assert (a.names, a.seeds, a.skipped) == (b.names, b.seeds, b.skipped)


def test_without_workers_steps_are_drawn_in_order() -> None:
    assert list(StepLoader(lambda step: step * step, start=2, stop=5)) == [(2, 4), (3, 9), (4, 16)]


def test_workers_draw_the_same_batches() -> None:
    draw = mixture(broken=(1, 5)).draw
    with StepLoader(draw, start=4, stop=1000, workers=2) as loader:  # left early
        found = list(itertools.islice(loader, 5))
    assert [step for step, _ in found] == [4, 5, 6, 7, 8]
    for step, batch in found:
        assert_equal(batch, draw(step))
    assert loader.skipped.skipped == sum(len(draw(step).skipped) for step in range(4, 9)) > 0
    found[0][1].images[0] = 0  # what comes through the pipe can be written to


def test_a_killed_worker_is_replaced_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with StepLoader(Mortal(tmp_path), start=0, stop=5, workers=1) as loader:
        found = kill_when_started(tmp_path, iter(loader))
    assert found == [(step, step * step) for step in range(5)]
    assert loader.replaced == 1
    assert "Data worker 0 was killed by SIGKILL at step 2" in caplog.text


def test_a_step_that_ends_every_worker_stops_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.training.loader.DEATHS", 1)
    loader = StepLoader(Suicide(), start=0, stop=5, workers=1)
    with loader, pytest.raises(TrainingError, match=r"step 1 ended 1 worker processes .*exit code 7"):
        list(loader)


def test_what_drawing_raises_is_raised_at_its_step() -> None:
    loader = StepLoader(Wrong(), start=0, stop=5, workers=1)
    steps = iter(loader)
    assert next(steps) == (0, 0)
    with loader, pytest.raises(FileNotFoundError, match="step 1 has no clips"):
        next(steps)


def test_what_cannot_be_pickled_is_refused_with_advice() -> None:
    with pytest.raises(TrainingError, match="use workers=0"):
        StepLoader(lambda step: step, start=0, stop=1, workers=1)


def test_skipped_clips_are_counted_and_named() -> None:
    skipped = SkippedClips(most=2, share=0.5)
    skipped.note(1, [SkippedClip("a", 3, "cut"), SkippedClip("a", 3, "cut")])
    assert skipped.summary() == "clip 3 of a: cut"
    with pytest.raises(TrainingError, match=r"3 of 4 training clips could not be read.*clip 9 of b: gone"):
        skipped.note(0, [SkippedClip("b", 9, "gone")])


def test_few_or_rare_skipped_clips_do_not_stop_the_training() -> None:
    skipped = SkippedClips(most=2, share=0.1)
    skipped.note(0, [SkippedClip("a", 0, "cut")] * 2)
    skipped.note(1000)
    skipped.note(0, [SkippedClip("a", 0, "cut")] * 50)
    assert skipped.skipped == 52
