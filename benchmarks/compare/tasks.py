"""What is measured, written once for every side; the docstrings say exactly what lies between the clocks."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from benchmarks.compare.measure import Sample, memory_mib, peak_mib, stopwatch
from benchmarks.compare.rows import Job, Row
from benchmarks.compare.side import AutoOptions, MaskSide, Side
from benchmarks.compare.trees import mapped
from benchmarks.compare.video import picture, shape_mask
from storage.masks import Rle, encode

__all__ = ["TASKS", "Outcome", "set_threads"]

# With random weights the official thresholds (0.8 and 0.95) would pass everything or nothing; these pass about a
# third of the candidates, as the official ones do on photographs.
_AUTO_THRESHOLDS = MappingProxyType({"tiny": (0.43, 0.85), "nano": (0.4, 0.85)})
_LARGE_PX = 512  # networks on smaller input gain nothing by a second thread
_TRUE_FRAMES = 1  # of the memory task, at the end


@dataclass(slots=True)
class Outcome:
    """What a job found out."""

    samples: list[Sample] = field(default_factory=list)
    masks: dict[str, Rle] = field(default_factory=dict)  # name → mask, to compare between sides
    loaded_mib: float = 0.0  # resident when the network was loaded
    peak_mib: float = 0.0
    notes: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        masks = {name: rle.to_coco() for name, rle in self.masks.items()}
        return {**asdict(self), "masks": masks}


Task = Callable[[Side, Job, Path], Outcome]


def set_threads(count: int) -> None:
    """For torch and OpenCV, from now on."""
    import cv2

    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def encode_frame(side: Side, job: Job, _: Path) -> Outcome:
    """One picture of the network's input size: from uint8 to the features that the heads read."""
    outcome = Outcome()
    rgb = picture(0, *job.row.picture)
    side.encode(rgb)
    for _index in range(job.row.repeats):
        with stopwatch(side.stages, device=job.device) as sample:
            side.encode(rgb)
        outcome.samples.append(sample)
    return outcome


def track(side: Side, job: Job, folder: Path) -> Outcome:
    """Whole frames of the package's own tracking loop, once the memory bank is full (7 maps, 16 pointers).

    From asking the loop for the next frame to masks at video size. Each object is prompted with one click on frame 0.
    With stand-ins, the frames before the first measured one take the image encoder's answer to frame 0 and skip
    memory attention; decoder and memory encoder run, and nothing is replaced in the measured frames.
    """
    row, outcome = job.row, Outcome()
    _open_with_objects(side, row, folder)
    if row.warm_up == "stand-ins":
        side.attend_nothing()
        side.stages.stand_in("image encoder", _first_answer)
    set_threads(_warm_up_threads(row))
    walk = side.track(start=0)
    for _ in range(row.first):
        next(walk)
    side.stages.restore()
    set_threads(row.threads)
    for _ in range(row.repeats):
        with stopwatch(side.stages, device=job.device) as sample:
            frame, masks = next(walk)
        outcome.samples.append(sample)
        outcome.masks |= {f"{frame}/{index}": encode(mask) for index, mask in enumerate(masks)}
    return outcome


def open_video(side: Side, job: Job, folder: Path) -> Outcome:
    """From the path of a folder of JPEG files to a session that takes prompts, less the image encoder's pass.

    The official session encodes frame 0 when it is made; that pass is timed inside and taken off.
    """
    outcome = Outcome()
    for _ in range(job.row.repeats):
        gc.collect()
        with stopwatch(side.stages, device=job.device) as sample:
            side.open(folder)
        sample.cpu -= sample.stages["image encoder"]
        outcome.samples.append(sample)
    return outcome


def first_mask(side: Side, job: Job, folder: Path) -> Outcome:
    """From the path of a folder of JPEG files to the mask of the first click on frame 0."""
    outcome, row = Outcome(), job.row
    for _ in range(row.repeats):
        gc.collect()
        with stopwatch(side.stages, device=job.device) as sample:
            side.open(folder)
            mask = side.click(0, 0, *_centre(0, 0, row))
        outcome.samples.append(sample)
    outcome.masks["0/0"] = encode(mask)
    return outcome


def click(side: Side, job: Job, folder: Path) -> Outcome:
    """A click on a frame that was tracked before and left: from the call to its mask at video size.

    Objects are clicked on frame 0 and tracked to frame `first`; then each gets its first correction on a frame of
    its own, none of them the last one visited. Noted beside: another click on the same object and frame.
    """
    row, outcome = job.row, Outcome()
    _open_with_objects(side, row, folder)
    set_threads(_warm_up_threads(row))
    walk = side.track(start=0)
    for _ in range(row.first + 1):
        next(walk)
    set_threads(row.threads)
    again: list[Sample] = []
    for index in range(row.objects):
        frame = row.first - 1 - index
        for samples, shift in ((outcome.samples, 0.0), (again, 0.05)):
            x, y = _centre(index, frame, row)
            with stopwatch(side.stages, device=job.device) as sample:
                mask = side.click(frame, index, x + shift * row.picture[0], y)
            samples.append(sample)
            outcome.masks[f"{frame}/{index}/{shift}"] = encode(mask)
    outcome.notes["another click there, s"] = statistics.median(sample.cpu for sample in again)
    return outcome


def auto_masks(side: Side, job: Job, _: Path) -> Outcome:
    """One picture from uint8 to the run lengths of all its masks, image encoder included."""
    if not isinstance(side, MaskSide):
        raise ValueError(
            f"{job.side} does not find masks by itself; leave it out of the sides of row {job.row.id}"
        )
    row, outcome = job.row, Outcome()
    rgb = picture(0, *row.picture)
    options = AutoOptions(row.points_per_side, *_AUTO_THRESHOLDS[row.size])
    for _index in range(row.repeats):
        with stopwatch(side.stages, device=job.device) as sample:
            masks = side.auto_masks(rgb, options)
        outcome.samples.append(sample)
    outcome.masks = {f"any/{index}": mask for index, mask in enumerate(masks)}
    outcome.notes["masks"] = len(masks)
    return outcome


def memory(side: Side, job: Job, folder: Path) -> Outcome:
    """The most memory the process held, from its start to the last frame of the video.

    With stand-ins, the book-keeping of all frames and objects is run, but the networks run truly on the first frame
    and the last only. On the frames between, every stage answers with a copy of an answer it gave to inputs of the
    same shape (memory attention: with its input), so that all that is kept is kept, at the cost of copying.
    """
    row, outcome = job.row, Outcome()
    _open_with_objects(side, row, folder)
    walk = side.track(start=0)
    next(walk)
    if row.warm_up == "stand-ins":
        for stage in ("image encoder", "prompts and decoder", "memory encoder"):
            side.stages.stand_in(stage, _repeated_answers)
        side.attend_nothing()
    for _ in range(row.frames - 1 - _TRUE_FRAMES):
        next(walk)
    outcome.notes["held before the last frame, MiB"] = memory_mib(job.device)
    side.stages.restore()
    for _ in range(_TRUE_FRAMES):
        frame, masks = next(walk)
    outcome.masks = {f"{frame}/{index}": encode(mask) for index, mask in enumerate(masks)}
    return outcome


TASKS: MappingProxyType[str, Task] = MappingProxyType(
    {
        "encode": encode_frame,
        "track": track,
        "open": open_video,
        "first_mask": first_mask,
        "click": click,
        "auto_masks": auto_masks,
        "memory": memory,
    }
)


def run(side: Side, job: Job, folder: Path) -> Outcome:
    """Do a job whose side is ready."""
    loaded = memory_mib(job.device)
    set_threads(job.row.threads)
    with side.inference():
        outcome = TASKS[job.row.task](side, job, folder)
    outcome.loaded_mib, outcome.peak_mib = loaded, peak_mib(job.device)
    return outcome


def _warm_up_threads(row: Row) -> int:
    """What is not measured may go faster."""
    return 2 if row.image_size >= _LARGE_PX else 1


def _open_with_objects(side: Side, row: Row, folder: Path) -> None:
    side.open(folder)
    for index in range(row.objects):
        side.click(0, index, *_centre(index, 0, row))


def _centre(shape: int, frame: int, row: Row) -> tuple[float, float]:
    """(x, y) in the middle of a shape."""
    rows, columns = np.nonzero(shape_mask(shape, frame, *row.picture))
    return float(np.median(columns)), float(np.median(rows))


def _first_answer(original: Callable[..., Any]) -> Callable[..., Any]:
    """The first call's answer for every call."""
    answers: list[Any] = []

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        if not answers:
            answers.append(original(*args, **kwargs))
        return answers[0]

    return stand_in


def _repeated_answers(original: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of the answer to the first call with inputs of the same shapes."""
    answers: dict[str, Any] = {}

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        shapes = repr(_shapes((args, kwargs)))
        if shapes not in answers:
            answers[shapes] = original(*args, **kwargs)
        return _copied(answers[shapes])

    return stand_in


def _shapes(value: Any) -> Any:
    """Tensors become their shapes; other values stay."""
    return mapped(value, lambda tensor: tuple(tensor.shape))


def _copied(value: Any) -> Any:
    """The same structure around clones of its tensors."""
    return mapped(value, lambda tensor: tensor.clone())
