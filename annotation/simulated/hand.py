"""A simulated person's hands on the annotation tool: acts that take time and never hit quite perfectly.

Everything a person does goes through here: the clock moves by what the act costs, times the person's
slowness, then the session is told. Masks are bool [H, W].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from annotation.session import AnnotationSession
from annotation.simulated.brush import mask_iou, outline_px, painted
from annotation.simulated.config import SimulationConfig
from annotation.simulated.references import ReferenceObject, truth_at
from annotation.simulated.team import Person
from annotation.simulated.time_model import SimulatedClock, TimeModel
from annotation.work import Submission
from model.clicks import centre_click
from model.prompts import Click

__all__ = ["Hand"]

BoolMask = npt.NDArray[np.bool_]


class Hand:
    """One person at work on one session, who knows what the object looks like.

    reference: the object's masks by source frame. chance: all of the person's randomness for this item.
    """

    def __init__(
        self,
        session: AnnotationSession,
        clock: SimulatedClock,
        reference: ReferenceObject,
        person: Person,
        *,
        times: TimeModel,
        config: SimulationConfig,
        chance: np.random.Generator,
    ) -> None:
        self.session = session
        self.config = config
        self._clock = clock
        self._reference = reference
        self._person = person
        self._times = times
        self._chance = chance
        self._seen: tuple[int, BoolMask] | None = None  # the position looked at last, and what is right there

    @property
    def refines(self) -> bool:
        """Whether clicks refine the tracker's prediction (SAM 2) instead of starting a new mask (SAM)."""
        return self.session.rules.tracker_prompts == "all"

    def truth(self, position: int) -> BoolMask:
        """What the person sees to be right on a frame."""
        if self._seen is None or self._seen[0] != position:
            frame = self.session.frame_number(position)
            self._seen = position, truth_at(self._reference, frame, self.session.shape)
        return self._seen[1]

    def shown(self, position: int) -> BoolMask:
        """What the tool shows on a frame; nothing where there is no mask yet."""
        mask = self.session.masks[position]
        return np.zeros(self.session.shape, dtype=bool) if mask is None else mask

    def agreement(self, position: int) -> float:
        """IoU of what is shown with what is right."""
        return mask_iou(self.shown(position), self.truth(position))

    def is_wrong(self, position: int) -> bool:
        """Whether the person would call a frame wrong: no mask, too little overlap, or wrong about absence.

        Where a verifier complained, people look harder: there the mask must not need the brush.
        """
        if self.session.masks[position] is None:
            return True
        truth, shown = self.truth(position), self.shown(position)
        blamed = position in self.session.bad_positions
        least = self.config.brush_below_iou if blamed else self.config.wrong_below_iou
        return bool(truth.any() != shown.any()) or mask_iou(shown, truth) < least

    def examine(self, position: int) -> None:
        """Look at a frame."""
        self._spend(self._times.examine_s_per_frame)
        self.session.examine(position)

    def accept(self, position: int) -> None:
        """Look at a frame and vouch for its mask."""
        self._spend(self._times.examine_s_per_frame)
        self.session.accept(position)

    def locate(self, position: int) -> None:
        """Find the place that is wrong."""
        self._spend(self._times.locate_s)
        self.session.locate(position)

    def click_error(self, position: int, *, afresh: bool = False) -> None:
        """Click in the middle of the largest error; `afresh`: of the object, whatever is shown."""
        truth = self.truth(position)
        shown = np.zeros_like(truth) if afresh else self.shown(position)
        click = self._aim(centre_click(truth, shown), truth)
        self._spend(self._times.click_s)
        self.session.click(position, click.x, click.y, click.positive)

    def brush(self, position: int) -> None:
        """Paint the mask: mend what is shown or start over, whichever has less outline to follow."""
        mask = painted(
            self.truth(position),
            self._chance,
            jitter_px=self._person.brush_jitter_px,
            error_share=self.config.brush_error_share,
        )
        outline = min(outline_px(mask), outline_px(mask ^ self.shown(position)))
        self._spend(self._times.brush_s(outline))
        self.session.brush(position, mask)

    def mark_absent(self, position: int) -> None:
        """Say that the object is not there."""
        self._spend(self._times.absent_s)
        self.session.mark_absent(position)

    def propagate(self, start: int | None = None) -> frozenset[int]:
        """Let the tracker carry the masks on, and wait for it; returns the positions that got a new mask."""
        self._spend(self._times.propagate_s)
        return self.session.propagate(start)

    def submit(self) -> Submission:
        """Hand the masklet in."""
        self._spend(self._times.submit_s)
        return self.session.submit(self._person.name)

    def _spend(self, seconds: float) -> None:
        self._clock.advance(seconds * self._person.slowness)

    def _aim(self, click: Click, truth: BoolMask) -> Click:
        """Where the hand lands: near the aim, on the frame, and on the same side of the object's outline."""
        height, width = truth.shape
        off_x, off_y = self._chance.normal(0.0, self._person.click_jitter_px, size=2)
        x = round(float(np.clip(click.x + off_x, 0, width - 1)), 1)
        y = round(float(np.clip(click.y + off_y, 0, height - 1)), 1)
        if bool(truth[round(y), round(x)]) != click.positive:
            return click
        return Click(x, y, click.positive)
