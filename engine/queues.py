"""The queues of a round whose people sit in front of Label Studio: for `status`, `--wait` and `doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from annotation.site import read_people
from engine.home import EngineHome
from engine.people import reach_studio
from storage.commits import RoundOpening

if TYPE_CHECKING:
    from annotation.studio.queues import QueueReader

__all__ = ["people_kind", "queue_reader"]


def people_kind(opening: RoundOpening) -> str:
    """Who works on a round, as it was opened: `simulated` or `label-studio`."""
    return str(opening.settings.get("people", {}).get("kind", "simulated"))


@contextmanager
def queue_reader(home: EngineHome, opening: RoundOpening) -> Iterator[QueueReader]:
    """Reads the queues of a round while the context lasts; SiteError unless its Label Studio answers."""
    from annotation.studio.collecting import Polled
    from annotation.studio.ledger import Ledger
    from annotation.studio.queues import DESKS, QueueReader

    with reach_studio(home) as (site, client):
        yield QueueReader(
            client,
            {desk: Ledger(home.inbox, opening.round_id, desk) for desk in DESKS},
            Polled(home.store, opening.round_id),
            round_id=opening.round_id,
            projects=site.projects,
            roles=read_people(home.path),
        )
