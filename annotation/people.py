"""The seam between the engine and those who do the work, whether simulated or in front of Label Studio.

The engine publishes open work items and stores what comes back; it does not know who is behind `People`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from annotation.work import Submission, WorkItem

__all__ = ["People"]


class People(Protocol):
    """Somebody who takes work items and hands in submissions."""

    @property
    def name(self) -> str:
        """What to call them in messages: `simulated`, `label-studio`."""
        ...

    def exchange(self, open_items: Sequence[WorkItem]) -> Iterator[Submission]:
        """Make sure that all `open_items` are published; yield what was handed in for them so far.

        Calling again publishes nothing twice. A submission may be yielded more than once (it keeps its id);
        the caller stores each as it comes, so that being killed loses at most the item in hand. Items without
        a submission are simply not yielded: people are still at it.
        """
        ...
