"""Simulated selectors and annotators as one workforce: a work item in, a submission out.

Everything follows from (seed, work item, model): who takes it, where the hand slips, how long it takes.
Neither the order of the work nor other items nor the time of day has any influence, so the same item always
gives the same submission, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from annotation.assistance import SessionTools
from annotation.errors import PeopleError
from annotation.session import AnnotationSession
from annotation.simulated.annotator import annotate, give_up
from annotation.simulated.config import SimulationConfig
from annotation.simulated.hand import Hand
from annotation.simulated.references import ReferenceBook, find_object, open_book
from annotation.simulated.selector import select_objects
from annotation.simulated.team import SimulatedPool, generator, meet
from annotation.simulated.time_model import SimulatedClock, TimeModel
from annotation.work import PhaseRules, Submission, WorkItem
from model.video.video_session import FrameSource

__all__ = ["SimulatedAnnotators", "VideoFrames"]


@dataclass(frozen=True, slots=True)
class VideoFrames:
    """The annotated frames of a video (uint8 [H, W, 3] each) and their source frame numbers."""

    frames: FrameSource
    numbers: Sequence[int]


class SimulatedAnnotators:
    """People who select and annotate; verifiers belong to `qa`.

    references: their knowledge of what is right, by video id. frames_of: the frames of a video id.
    tools_of: the loaded model for an item (asked only for items to annotate). rules_of: the rules of a
    phase number.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        references: ReferenceBook,
        frames_of: Callable[[str], VideoFrames],
        tools_of: Callable[[WorkItem], SessionTools],
        rules_of: Callable[[int], PhaseRules],
        config: SimulationConfig | None = None,
        times: TimeModel | None = None,
        seed: int = 0,
    ) -> None:
        self._pool = SimulatedPool(names, seed=seed)
        self._references = references
        self._frames_of = frames_of
        self._tools_of = tools_of
        self._rules_of = rules_of
        self._config = config or SimulationConfig()
        self._times = times or TimeModel()
        self._seed = seed

    def work(self, item: WorkItem) -> Submission:
        """Do one item. PeopleError for items to verify, without references, or if nobody may take it."""
        if item.kind == "select":
            return self._select(item)
        if item.kind == "annotate":
            return self._annotate(item)
        raise PeopleError(f"{item.task_id} is an item to {item.kind}; annotators only select and annotate.")

    def _select(self, item: WorkItem) -> Submission:
        name = self._pool.choose(item.task_id, item.excluded_people)
        return select_objects(
            item,
            open_book(self._references, item.video_id),
            self._frames_of(item.video_id).numbers,
            meet(name, self._config, self._seed),
            config=self._config,
            times=self._times,
            chance=generator(self._seed, "select", item.task_id),
        )

    def _annotate(self, item: WorkItem) -> Submission:
        name = self._pool.choose(item.task_id, item.excluded_people)
        reference = find_object(item, open_book(self._references, item.video_id))
        clock = SimulatedClock()
        hand = Hand(
            self._open(item, clock),
            clock,
            reference or {},
            meet(name, self._config, self._seed),
            times=self._times,
            config=self._config,
            chance=generator(self._seed, "annotate", item.task_id),
        )
        if reference is None:
            give_up(hand)
        else:
            annotate(hand)
        return hand.submit()

    def _open(self, item: WorkItem, clock: SimulatedClock) -> AnnotationSession:
        video = self._frames_of(item.video_id)
        return AnnotationSession(
            item,
            video.frames,
            video.numbers,
            tools=self._tools_of(item),
            rules=self._rules_of(item.phase),
            clock=clock,
        )
