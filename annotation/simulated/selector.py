"""Choosing what to annotate: a simulated person picks visible, un-annotated, preferably challenging objects.

The paper asks selectors for objects on which the model fails: fast, changing, vanishing ones
(SAM 2, appendix D.2.1). Parts and wholes both count; the name is always neutral, since masklets have no
category.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from annotation.diary import Diary
from annotation.simulated.config import SimulationConfig
from annotation.simulated.references import ReferenceObject
from annotation.simulated.team import Person
from annotation.simulated.time_model import SimulatedClock, TimeModel
from annotation.work import EventKind, Selection, Submission, WorkItem, submission_id
from model.clicks import centre_click, noisy_box
from model.prompts import Box
from storage import masks as rle_masks
from storage.masks import Rle

__all__ = ["challenge", "select_objects"]

_NAME = "object"


def select_objects(
    item: WorkItem,
    objects: Mapping[int, ReferenceObject],
    frame_numbers: Sequence[int],
    person: Person,
    *,
    config: SimulationConfig,
    times: TimeModel,
    chance: np.random.Generator,
) -> Submission:
    """Pick at most `item.wanted` objects visible at `item.first_frame` that do not overlap `item.taken`.

    `frame_numbers` are the source frames that the person looks through before choosing.
    """
    pace = _Pace(person)
    for frame in frame_numbers:
        pace.spend(times.examine_s_per_frame, "examine", frame)
    candidates = _candidates(item, objects, config)
    chosen = _draw(candidates, item.wanted, objects, frame_numbers, config=config, chance=chance)
    selections = tuple(
        _point_out(objects[number], item.first_frame, pace, times, chance) for number in chosen
    )
    pace.spend(times.submit_s, "submit")
    return Submission(
        submission_id=submission_id(item.task_id, person.name),
        task_id=item.task_id,
        actor=person.name,
        selections=selections,
        effort=pace.diary.events,
    )


def challenge(reference: ReferenceObject, frame_numbers: Sequence[int]) -> float:
    """How hard an object looks, 0 to 2: how much its mask changes between frames, and how often it is absent.

    A still object that never vanishes is 0.
    """
    masks = [_visible(reference.get(frame)) for frame in frame_numbers]
    pairs = [(a, b) for a, b in pairwise(masks) if a is not None and b is not None]
    change = sum(1.0 - rle_masks.iou(a, b) for a, b in pairs) / len(pairs) if pairs else 0.0
    absent = sum(mask is None for mask in masks) / len(masks) if masks else 0.0
    return change + absent


class _Pace:
    """Lets a person's time pass on a clock of its own, and notes what it was spent on."""

    def __init__(self, person: Person) -> None:
        self._slowness = person.slowness
        self._clock = SimulatedClock()
        self.diary = Diary(self._clock)

    def spend(
        self,
        seconds: float,
        kind: EventKind,
        frame: int | None = None,
        *,
        at: tuple[float, float] | None = None,
    ) -> None:
        self._clock.advance(seconds * self._slowness)
        self.diary.note(kind, frame, at=at, positive=True if kind == "click" else None)


def _candidates(
    item: WorkItem, objects: Mapping[int, ReferenceObject], config: SimulationConfig
) -> list[int]:
    """Numbers of the objects that are visible, large enough and not taken."""
    seen = {number: _visible(masks.get(item.first_frame)) for number, masks in sorted(objects.items())}
    large = {n: rle for n, rle in seen.items() if rle and rle_masks.area(rle) >= config.min_object_px}
    overlaps = rle_masks.iou_matrix(list(large.values()), item.taken)
    return [
        number for number, row in zip(large, overlaps, strict=True) if not (row >= config.taken_iou).any()
    ]


def _draw(
    candidates: Sequence[int],
    wanted: int,
    objects: Mapping[int, ReferenceObject],
    frame_numbers: Sequence[int],
    *,
    config: SimulationConfig,
    chance: np.random.Generator,
) -> list[int]:
    """Draw without replacement, with odds that mix challenge and an even choice."""
    if not candidates:
        return []
    scores = np.array([challenge(objects[number], frame_numbers) for number in candidates])
    even = np.full(len(candidates), 1 / len(candidates))
    hard = scores / scores.sum() if scores.sum() > 0 else even
    # never exactly zero: numpy refuses to draw more candidates than have odds
    odds = 0.99 * config.challenging_share * hard + (1 - 0.99 * config.challenging_share) * even
    count = min(wanted, len(candidates))
    picked = chance.choice(len(candidates), size=count, replace=False, p=odds / odds.sum())
    return [candidates[int(index)] for index in picked]


def _point_out(
    reference: ReferenceObject, frame: int, pace: _Pace, times: TimeModel, chance: np.random.Generator
) -> Selection:
    """A click in the middle of the object and a loosely drawn box around it."""
    truth = rle_masks.decode(reference[frame])
    click = centre_click(truth)
    loose = noisy_box(truth, chance)
    box = Box(*(round(value, 1) for value in (loose.x0, loose.y0, loose.x1, loose.y1)))
    pace.spend(times.locate_s, "locate", frame)
    pace.spend(times.click_s, "click", frame, at=(click.x, click.y))
    pace.spend(times.box_s, "box", frame, at=(click.x, click.y))
    return Selection(frame, click.x, click.y, box, _NAME)


def _visible(rle: Rle | None) -> Rle | None:
    return None if rle is None or rle_masks.is_empty(rle) else rle
