"""What a run leaves to be looked at in Prefect's UI, under constant keys, so that each key has a page with
its history.

The engine's own record lies in the store; these are for the eye.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from engine.home import open_home
from engine.machine import StageOutcome
from engine.stages.base import STAGE_NAMES
from storage.commits import read_commit

HUMAN_PROGRESS = "human-progress"
ROUND_PROGRESS = "round-progress"
ROUND_REPORT = "round-report"
SHARD_PROGRESS = "shard-progress"


class Progress:
    """A bar in the UI that goes from nothing to `total` steps."""

    def __init__(self, key: str, description: str, *, total: int) -> None:
        self._total = total
        self._done = 0
        created = create_progress_artifact(0.0, key=key, description=description)
        assert isinstance(created, UUID), "flows are synchronous"
        self._id = created

    def advance(self) -> None:
        """One step more."""
        self._done += 1
        update_progress_artifact(self._id, round(100.0 * self._done / self._total, 1))


def show_people(round_id: str, outcome: StageOutcome) -> None:
    """How far people are with a stage that waits for them."""
    create_markdown_artifact(
        f"## {round_id}, {outcome.stage}\n\n{outcome.message}\n",
        key=HUMAN_PROGRESS,
        description=f"{round_id} waits for people",
    )


def show_numbers(home: str, round_id: str, outcome: StageOutcome) -> None:
    """The numbers of a finished stage as a table, under the key `stage-plan`, `stage-prelabel` and so on."""
    rows = [{"what": name, "value": value} for name, value in outcome.summary.items()]
    create_table_artifact(rows, key=f"stage-{outcome.stage}", description=f"{round_id}: {outcome.stage}")


def show_report(home: str, round_id: str, outcome: StageOutcome) -> None:
    """The whole round at a glance: every stage's numbers; the last row says whether weights were promoted."""
    store = open_home(Path(home)).store
    commits = [read_commit(store, round_id, stage) for stage in STAGE_NAMES]
    rows = [f"| {commit.stage} | {_in_words(commit.summary)} |" for commit in commits if commit is not None]
    lines = [f"# Round {round_id}", "", "| stage | result |", "| --- | --- |", *rows, ""]
    text = "\n".join([*lines, f"Pictures and plots: `engine report {round_id}`", ""])
    create_markdown_artifact(text, key=ROUND_REPORT, description=f"Round {round_id}")


def _in_words(summary: Mapping[str, int | float | str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in summary.items())
