"""Who works on a round, as the round's setting `people.kind` says; the seam is `annotation.people.People`.

Real people sit in front of Label Studio. Simulated annotators and verifiers come from different packages (they must
not know each other); here they become one workforce. Only they, and the evaluation, may read reference masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from annotation.people import People
from annotation.simulated.team import SimulatedPool
from annotation.site import Site, read_secrets, read_site
from annotation.site.records import PREDICTION_VERSION
from annotation.work import EffortEvent, Submission, Verdict, WorkItem, submission_id
from engine.home import EngineHome
from engine.phases import phase
from engine.stages.base import StageContext
from engine.weights import load_sam, load_weights
from qa.verification import Judgement, SimulatedVerifier

if TYPE_CHECKING:
    from annotation.assistance import SessionTools
    from annotation.simulated.workforce import SimulatedAnnotators, VideoFrames
    from annotation.studio import StudioClient


class SimulatedPeople:
    """Annotators and verifiers that work on the spot, each decision a function of (seed, work item)."""

    name = "simulated"

    def __init__(self, context: StageContext) -> None:
        settings = context.settings
        self._context = context
        self._verifiers = SimulatedPool(settings.people.verifiers, seed=context.round.seed)
        self._verifier = SimulatedVerifier(
            settings.verifier, context.home.references.read, seed=context.round.seed
        )

    def exchange(self, open_items: Sequence[WorkItem]) -> Iterator[Submission]:
        """Do every open item, one after another."""
        for item in open_items:
            yield self._verify(item) if item.kind == "verify" else self._annotators.work(item)

    @cached_property
    def _annotators(self) -> SimulatedAnnotators:
        from annotation.simulated.workforce import SimulatedAnnotators

        settings = self._context.settings
        return SimulatedAnnotators(
            settings.people.annotators,
            references=self._context.home.references.read,
            frames_of=self._frames,
            tools_of=lambda item: self._tools,
            rules_of=lambda number: phase(number).rules,
            config=settings.simulation,
            times=settings.time,
            seed=self._context.round.seed,
        )

    @cached_property
    def _tools(self) -> SessionTools:
        from annotation.assistance import SessionTools
        from model.video.session_config import SessionConfig

        home, context = self._context.home, self._context
        return SessionTools(
            load_weights(home, context.round.checkpoint_hash),
            config=SessionConfig(precision=context.settings.model.precision),
            sam=load_sam(home, context.settings.model.sam_checkpoint),
        )

    def _frames(self, video_id: str) -> VideoFrames:
        from annotation.simulated.workforce import VideoFrames

        video = self._context.home.library.get(video_id)
        return VideoFrames(self._context.home.library.frames(video), video.annotated_frames)

    def _verify(self, item: WorkItem) -> Submission:
        """Judge the item's masks; a model's own masklet is judged by what it covers, not by where it was prompted."""
        actor = self._verifiers.choose(item.task_id, item.excluded_people)
        judgement = self._verifier.judge(
            item.masks,
            task_id=item.task_id,
            video_id=item.video_id,
            first_frame=item.first_frame,
            point=None if item.revision == 0 else item.point,
        )
        return handed_in(item, actor, judgement)


@contextmanager
def people_for(context: StageContext) -> Iterator[People]:
    """The people of this round, while the context lasts. SiteError if they work in a site that does not run."""
    if context.settings.people.kind == "simulated":
        yield SimulatedPeople(context)
        return
    from annotation.studio import LabelStudioPeople, Networks, TicketPictures

    home, settings = context.home, context.settings
    with reach_studio(home) as (site, client):
        yield LabelStudioPeople(
            client,
            home.store,
            home.inbox,
            round_id=context.round.round_id,
            projects=site.projects,
            video_of=home.library.get,
            pictures=TicketPictures(site.media, home.library),
            limits=settings.tasks,
            networks=Networks(
                context.round.checkpoint_hash, settings.model.sam_checkpoint, settings.model.precision
            ),
            model_version=PREDICTION_VERSION,
        )


@contextmanager
def reach_studio(home: EngineHome) -> Iterator[tuple[Site, StudioClient]]:
    """The home's site and its Label Studio; SiteError unless it runs and answers."""
    from annotation.studio import StudioClient

    site = read_site(home.path)
    with closing(StudioClient(site.url, read_secrets(home.path).token)) as client:
        client.check()
        yield site, client


def handed_in(item: WorkItem, actor: str, judgement: Judgement) -> Submission:
    """A simulated verifier's judgement of an item as what people hand in."""
    looked = EffortEvent(
        kind="verdict",
        frame=None,
        x=None,
        y=None,
        positive=None,
        at_s=0.0,
        duration_s=round(judgement.duration_s, 3),
    )
    return Submission(
        submission_id=submission_id(item.task_id, actor),
        task_id=item.task_id,
        actor=actor,
        verdict=Verdict(judgement.verdict, judgement.reason, judgement.bad_range),
        effort=(looked,),
    )
