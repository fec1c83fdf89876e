"""Real people in front of Label Studio, as the engine sees them (see `annotation.people.People`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from annotation.pages.configs import page_kind
from annotation.pages.events import EventLog
from annotation.pages.tickets import Ticket, TicketStore
from annotation.pages.views import TaskLimits
from annotation.studio.asking import Asking, Networks
from annotation.studio.client import StudioClient
from annotation.studio.collecting import Collector, Polled
from annotation.studio.ledger import Ledger
from annotation.studio.publishing import Published, Publisher, TaskPictures
from annotation.work import Submission, WorkItem
from storage.inbox import Inbox
from storage.objects import ObjectStore
from storage.videos import Video

__all__ = ["LabelStudioPeople"]


class LabelStudioPeople:
    """Annotators and verifiers of one round in Label Studio.

    projects: Label Studio's projects by kind of page. video_of: a video by its id. Raises SiteError when Label Studio
    cannot be reached; what was taken in until then is kept.
    """

    name = "label-studio"

    def __init__(
        self,
        client: StudioClient,
        store: ObjectStore,
        inbox: Inbox,
        *,
        round_id: str,
        projects: Mapping[str, int],
        video_of: Callable[[str], Video],
        pictures: TaskPictures,
        limits: TaskLimits,
        networks: Networks,
        model_version: str,
    ) -> None:
        self._client = client
        self._round_id = round_id
        self._projects = projects
        self._inbox = inbox
        self._video_of = video_of
        self._limits = limits
        self._networks = networks
        tickets = TicketStore(store)
        self._publisher = Publisher(client, tickets, pictures, projects=projects, model_version=model_version)
        self._collector = Collector(
            client,
            tickets,
            EventLog(store),
            Polled(store, round_id),
            self._ledger,
            round_id=round_id,
            idle_s=limits.idle_s,
        )

    def exchange(self, open_items: Sequence[WorkItem]) -> Iterator[Submission]:
        """Take in what is new, hand on what is complete, and publish what people can do next.

        Raises TaskError at the very end if a task could not be read.
        """
        projects = sorted({self._projects[page_kind(item)] for item in open_items})
        unreadable = self._collector.collect(projects)
        published = Published(
            head for project in projects for head in self._client.tasks(project, round_id=self._round_id)
        )
        for item in open_items:
            standing = self._asking(item).stand(item)
            if isinstance(standing, Ticket):
                self._publisher.publish(standing, published)
            else:
                self._publisher.withdraw(item.task_id, published)
                yield standing
        if unreadable:
            raise unreadable[0]

    def _asking(self, item: WorkItem) -> Asking:
        ledger = self._ledger(item.desk)
        return Asking(ledger, self._video_of, limits=self._limits, networks=self._networks)

    def _ledger(self, desk: str) -> Ledger:
        return Ledger(self._inbox, self._round_id, desk)
