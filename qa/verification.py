"""Simulated verifiers, and how far verifiers agree.

A verifier looks at one masklet as a whole and answers *satisfactory* (it follows its object in every frame),
*unsatisfactory* (the object is well defined, the masklet is wrong somewhere) or *rejected* (there is no
well-defined object). A simulated one compares with reference masks, overlooks what a person would overlook,
and sometimes slips, always the same way for the same seed and task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from qa.errors import VerificationError
from qa.tables import Rows, as_table
from qa.verifier_config import VerifierConfig
from storage import masks as rles
from storage.masks import Rle

__all__ = [
    "Agreement",
    "Judgement",
    "ReferenceBook",
    "SimulatedVerifier",
    "VerdictName",
    "agreement",
    "cohen_kappa",
    "seen_iou",
]

VerdictName = Literal["satisfactory", "unsatisfactory", "rejected"]
ReferenceBook = Callable[[str], Mapping[int, Mapping[int, Rle]]]
"""Video id → object id → source frame → mask; a frame an object lacks is one where it is not visible."""

BoolMask = NDArray[np.bool_]
_Answer = tuple[VerdictName, str, tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, its reason in words and, if unsatisfactory, its bad source frames (both inclusive)."""

    verdict: VerdictName
    reason: str
    bad_range: tuple[int, int] | None
    duration_s: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """`masklets` judged by two people, the share (0…1) judged alike, and Cohen's κ of the pairs."""

    masklets: int
    share: float
    kappa: float


class SimulatedVerifier:
    """A person who judges masklets by reference masks.

    `judge` depends on nothing but its arguments, the settings and the seed, in whatever order tasks come.
    """

    def __init__(self, config: VerifierConfig, references: ReferenceBook, *, seed: int) -> None:
        self._config = config
        self._references = references
        self._seed = seed

    def judge(
        self,
        masks: Mapping[int, Rle],
        *,
        task_id: str,
        video_id: str,
        first_frame: int,
        point: tuple[float, float] | None,
    ) -> Judgement:
        """The verdict on a masklet, `masks` by source frame (all frames that are to be looked at).

        With a `point` (x, y) on `first_frame` the object was chosen by people, and is the reference object
        there; without one (automatic masklets) it is the reference object that the mask on `first_frame`
        overlaps most.

        Raises VerificationError when there is no frame to look at.
        """
        if not masks:
            raise VerificationError(f"task {task_id}: the masklet has no frame to look at")
        truth = self._find(masks.get(first_frame), self._references(video_id), first_frame, point)
        honest = self._rejected() if truth is None else self._compare(masks, truth)
        verdict, reason, bad_range = self._slip(honest, sorted(masks), task_id)
        duration_s = len(masks) * self._config.examine_s_per_frame + self._config.decide_s
        return Judgement(verdict, reason, bad_range, duration_s)

    def _find(
        self,
        mask: Rle | None,
        objects: Mapping[int, Mapping[int, Rle]],
        frame: int,
        point: tuple[float, float] | None,
    ) -> Mapping[int, Rle] | None:
        """The reference object the masklet is about, or None."""
        visible = {
            number: masks[frame]
            for number, masks in objects.items()
            if frame in masks and not rles.is_empty(masks[frame])
        }
        if point is not None:
            visible = _nearest(visible, point, self._config.reach_px)
        if not visible:
            return None
        overlaps = {number: _overlap(mask, truth) for number, truth in visible.items()}
        # parts lie on wholes: of objects overlapped equally (not at all, say) the smaller one is meant
        best = max(visible, key=lambda number: (overlaps[number], -rles.area(visible[number]), -number))
        if point is None and overlaps[best] < self._config.match_iou:
            return None
        return objects[best]

    def _rejected(self) -> _Answer:
        return "rejected", "not a well-defined object", None

    def _compare(self, masks: Mapping[int, Rle], truth: Mapping[int, Rle]) -> _Answer:
        """Satisfactory or unsatisfactory, by the overlap of every frame."""
        config = self._config
        scores = {frame: self._frame_score(mask, truth.get(frame)) for frame, mask in sorted(masks.items())}
        bad = [frame for frame, score in scores.items() if score is not None and score < config.min_iou]
        if len(bad) > config.bad_frames * len(masks):
            return "unsatisfactory", f"wrong in {len(bad)} of {len(masks)} frames", (bad[0], bad[-1])
        counted = [score for score in scores.values() if score is not None]
        mean = float(np.mean(counted)) if counted else 1.0
        if mean >= config.mean_iou:
            return "satisfactory", "tracked correctly in all frames", None
        poor = [frame for frame, score in scores.items() if score is not None and score < config.mean_iou]
        return "unsatisfactory", f"inaccurate throughout (overlap {mean:.2f})", (poor[0], poor[-1])

    def _frame_score(self, mask: Rle, truth: Rle | None) -> float | None:
        """Overlap as a person sees it; None where there is nothing to see in either."""
        areas = rles.area(mask), 0 if truth is None else rles.area(truth)
        if truth is not None and min(areas) > 0:
            return seen_iou(rles.decode(mask), rles.decode(truth), slack_px=self._config.slack_px)
        return None if max(areas) <= self._config.unseen_px else 0.0

    def _slip(self, honest: _Answer, frames: Sequence[int], task_id: str) -> _Answer:
        rng = _generator(self._seed, task_id)
        slips, place = rng.random() < self._config.error_rate, int(rng.integers(len(frames)))
        if not slips:
            return honest
        if honest[0] == "satisfactory":
            frame = frames[place]
            return "unsatisfactory", f"looks wrong in frame {frame}", (frame, frame)
        return "satisfactory", "tracked correctly in all frames", None


def seen_iou(mask: BoolMask, truth: BoolMask, *, slack_px: int) -> float:
    """Overlap in 0…1 of bool masks [H,W], without errors that lie within `slack_px` of the true contour.

    1 − wrong pixels off the contour / union. With a slack of 0 it is the plain IoU.
    """
    wrong = mask ^ truth
    if slack_px:
        kernel = np.ones((2 * slack_px + 1, 2 * slack_px + 1), np.uint8)
        truth_px = truth.view(np.uint8)
        wrong &= ~(cv2.dilate(truth_px, kernel) != cv2.erode(truth_px, kernel))
    union = np.count_nonzero(mask | truth)
    return 1 - np.count_nonzero(wrong) / union if union else 1.0


def agreement(verdicts: Rows) -> Agreement:
    """How far people agree on masklets that two of them judged; rows of the `verdicts` manifest.

    Of more than two verdicts on a revision the first two verifiers in order of name count.
    """
    table = as_table(verdicts, ["masklet_id", "revision", "verifier", "verdict"], name="verdicts")
    ordered = table.sort_values("verifier").drop_duplicates(["masklet_id", "revision", "verifier"])
    answers = ordered.groupby(["masklet_id", "revision"])["verdict"].agg(list)
    pairs = [(one[0], one[1]) for one in answers if len(one) > 1]
    share = float(np.mean([a == b for a, b in pairs])) if pairs else math.nan
    return Agreement(len(pairs), share, cohen_kappa(pairs))


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Agreement of two judges beyond chance: (observed − expected) / (1 − expected).

    1 is perfect, 0 what chance gives, negative worse than chance. NaN without pairs, and where both judges
    gave one and the same answer throughout: then nothing can be told from chance.
    """
    if not pairs:
        return math.nan
    first, second = zip(*pairs, strict=True)
    observed = sum(a == b for a, b in pairs) / len(pairs)
    expected = sum(first.count(name) * second.count(name) for name in set(first)) / len(pairs) ** 2
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def _nearest(objects: Mapping[int, Rle], point: tuple[float, float], reach_px: float) -> dict[int, Rle]:
    """The objects that hold the point, or else those nearest to it within reach."""
    distances = {number: _distance(rles.decode(mask), point) for number, mask in objects.items()}
    nearest = min(distances.values(), default=math.inf)
    if nearest > reach_px:
        return {}
    return {number: objects[number] for number, distance in distances.items() if distance == nearest}


def _distance(mask: BoolMask, point: tuple[float, float]) -> float:
    """Pixels from the point (x, y), rounded to a pixel, to the mask; 0 on it."""
    rows, columns = np.nonzero(mask)
    return float(np.hypot(rows - round(point[1]), columns - round(point[0])).min())


def _overlap(mask: Rle | None, truth: Rle) -> float:
    return 0.0 if mask is None else rles.iou(mask, truth)


def _generator(seed: int, task_id: str) -> np.random.Generator:
    digest = sha256(f"verifier|{seed}|{task_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
