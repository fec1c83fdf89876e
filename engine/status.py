"""Where every round stands, read from commits, shard records and hand-ins (the catalog only adds who is at work)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engine.errors import RoundError
from engine.home import EngineHome
from engine.stages.base import STAGE_NAMES, StageContext
from storage.commits import RoundOpening, finished_shards, list_rounds, read_commit

StageState = Literal["done", "running", "open", "pending"]
"""`running`: somebody holds a lease on it. `open`: it is the next one, and nobody runs it (it may wait for people)."""


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage of a round."""

    name: str
    state: StageState
    shards_done: int
    summary: dict[str, int | float | str]
    detail: str


@dataclass(frozen=True, slots=True)
class RoundStatus:
    """One round. state: `open` or `closed`."""

    id: str
    number: int
    phase: int
    state: Literal["open", "closed"]
    stage: str
    checkpoint_before: str
    checkpoint_after: str
    promoted: bool
    stages: tuple[StageStatus, ...]

    @property
    def is_running(self) -> bool:
        """Whether a process holds a lease on one of its stages."""
        return any(stage.state == "running" for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def all_rounds(home: EngineHome) -> list[RoundStatus]:
    """Every round, oldest first."""
    return [round_status(home, opening) for opening in list_rounds(home.store)]


def round_status(home: EngineHome, opening: RoundOpening) -> RoundStatus:
    """Where one round stands."""
    stages = _stages(home, opening)
    current = next((stage.name for stage in stages if stage.state != "done"), "close")
    close = stages[-1]
    return RoundStatus(
        id=opening.round_id,
        number=opening.number,
        phase=opening.phase,
        state="closed" if close.state == "done" else "open",
        stage=current,
        checkpoint_before=opening.checkpoint_hash,
        checkpoint_after=str(close.summary.get("checkpoint_hash_end", "")),
        promoted=bool(close.summary.get("promoted", 0)),
        stages=stages,
    )


def _stages(home: EngineHome, opening: RoundOpening) -> tuple[StageStatus, ...]:
    running = _leased_stages(home, opening.round_id)
    found: list[StageStatus] = []
    for name in STAGE_NAMES:
        commit = read_commit(home.store, opening.round_id, name)
        shards = len(finished_shards(home.store, opening.round_id, name))
        if commit is not None:
            found.append(StageStatus(name, "done", shards, dict(commit.summary), ""))
            continue
        is_next = not found or found[-1].state == "done"
        state: StageState = "running" if name in running else "open" if is_next else "pending"
        detail = _people_detail(StageContext(home, opening, name)) if is_next else ""
        found.append(StageStatus(name, state, shards, {}, detail))
    return tuple(found)


def _leased_stages(home: EngineHome, round_id: str) -> set[str]:
    return {
        row["stage"]
        for row in home.catalog.leases()
        if row["round_id"] == round_id and row["remaining_s"] > 0
    }


def _people_detail(context: StageContext) -> str:
    """What people still have to do in the stage that is next, in words; empty where it needs nobody."""
    from engine.stages.annotate import annotation_bench
    from engine.stages.auto import auto_bench
    from engine.stages.plan import selection_progress

    shards = finished_shards(context.home.store, context.round.round_id, context.stage)
    describe: dict[str, Callable[[], str]] = {
        "plan": lambda: selection_progress(context, shards),
        "annotate": lambda: annotation_bench(context).describe(),
        "auto": lambda: auto_bench(context).describe(),
    }
    return describe[context.stage]() if context.stage in describe else ""


def find_round(home: EngineHome, round_id: str) -> RoundOpening:
    """The opening of a round by its id; RoundError naming the known ones otherwise."""
    openings = list_rounds(home.store)
    for opening in openings:
        if opening.round_id == round_id:
            return opening
    known = ", ".join(opening.round_id for opening in openings) or "none yet"
    raise RoundError(f"There is no round {round_id}. Rounds: {known}.")
