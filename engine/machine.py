"""Turns a round: opens it, runs shards under leases, finishes stages, commits. No Prefect here (flows/ wraps this).

Safe to call from several processes and to kill anywhere: a shard is done when its record is put, a stage when its
commit is put, and both are put-if-absent.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.errors import RoundError
from engine.home import EngineHome
from engine.leases import held_lease, this_process
from engine.people import reach_studio
from engine.phases import phase as phase_row
from engine.rounds import (
    ClosedRound,
    champion_checkpoint,
    checkpoint_key,
    latest_closed,
    open_rounds,
    sam_checkpoint,
)
from engine.stages.base import STAGE_NAMES, Finished, Stage, StageContext, Waiting
from engine.stages.table import STAGES
from engine.version import code_version
from storage.commits import (
    Commit,
    RoundOpening,
    commit_stage,
    finish_shard,
    finished_shards,
    make_round_id,
    read_commit,
    read_round,
)
from storage.commits import open_round as put_opening

State = Literal["done", "waiting", "skipped", "busy"]
FINISHING_SHARD = -1
"""The lease under which a stage is brought together."""


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """How a stage (or a whole round) stands after a call.

    state: `done` now, `skipped` because it was done before, `waiting` for people, `busy` in another process.
    """

    state: State
    message: str
    stage: str = ""
    summary: Mapping[str, int | float | str] = field(default_factory=dict)


def open_round(
    home: EngineHome,
    *,
    phase: int,
    seed: int | None = None,
    videos: int | None = None,
    annotators: str | None = None,
) -> RoundOpening:
    """The open round of `phase`, or a new one with the home's settings as they are now.

    Raises RoundError if a round of another phase is still open, or no training video has been ingested.
    """
    phase_row(phase)
    for opening in open_rounds(home):
        if opening.phase == phase:
            return opening
        raise RoundError(
            f"Round {opening.round_id} of phase {opening.phase} is still open. "
            f"Finish it first: `engine round --phase {opening.phase}`."
        )
    if not any(video.split == "train" for video in home.library.videos()):
        raise RoundError("No training video has been ingested. Run `engine ingest PATH` first.")
    return _open_next(home, phase=phase, overrides={"seed": seed, "videos": videos}, annotators=annotators)


def coming_round_id(home: EngineHome, *, phase: int) -> str:
    """Id of the round that `open_round` would find or open for a phase."""
    for opening in open_rounds(home):
        if opening.phase == phase:
            return opening.round_id
    return make_round_id(_next_number(latest_closed(home)), phase)


def pending_shards(home: EngineHome, round_id: str, stage: str) -> list[int]:
    """Shards of a stage that have no record yet."""
    context = _context(home, round_id, stage)
    done = finished_shards(home.store, round_id, stage)
    return [shard for shard in range(_stage(stage).shard_count(context)) if shard not in done]


def stage_is_done(home: EngineHome, round_id: str, stage: str) -> bool:
    """Whether the stage has its commit."""
    return read_commit(home.store, round_id, stage) is not None


def run_shard(
    home: EngineHome, round_id: str, stage: str, shard: int, *, owner: str | None = None
) -> Literal["done", "skipped", "busy"]:
    """Do one shard unless it is done (`skipped`) or leased by somebody else (`busy`)."""
    if shard in finished_shards(home.store, round_id, stage):
        return "skipped"
    context = _context(home, round_id, stage)
    with held_lease(context, shard, owner=owner or this_process()) as held:
        if not held:
            return "busy"
        with _timed(home, round_id, stage):
            files = _stage(stage).run_shard(context, shard)
        finish_shard(home.store, round_id, stage, shard, files)
    return "done"


def finish_stage(home: EngineHome, round_id: str, stage: str, *, owner: str | None = None) -> StageOutcome:
    """Bring a stage whose shards are done to its commit, or find that it waits for people."""
    commit = read_commit(home.store, round_id, stage)
    if commit is not None:
        home.catalog.apply_commit(home.store, commit)
        return StageOutcome("skipped", "done before", stage, commit.summary)
    context = _context(home, round_id, stage)
    with held_lease(context, FINISHING_SHARD, owner=owner or this_process()) as held:
        if not held:
            return StageOutcome("busy", f"{stage} is being finished by another process", stage)
        with _timed(home, round_id, stage):
            result = _stage(stage).finish(context, finished_shards(home.store, round_id, stage))
        if isinstance(result, Waiting):
            return StageOutcome("waiting", result.message, stage)
        commit = commit_stage(home.store, _commit(context, result))
        home.catalog.apply_commit(home.store, commit)
    return StageOutcome("done", "", stage, commit.summary)


def advance_round(
    home: EngineHome, round_id: str, *, on_stage: Callable[[str, StageOutcome], None] | None = None
) -> StageOutcome:
    """Run every stage that can run now, one shard after another; the last outcome says where the round stands."""
    outcome = StageOutcome("done", "")
    for stage in STAGE_NAMES:
        outcome = _advance_stage(home, round_id, stage)
        if on_stage is not None:
            on_stage(stage, outcome)
        if outcome.state in ("waiting", "busy"):
            break
    return outcome


@contextmanager
def _timed(home: EngineHome, round_id: str, stage: str) -> Iterator[None]:
    """Notes in the catalog when the work began and ended; the record itself knows no clock."""
    run_id = home.catalog.start_stage_run(round_id, stage, this_process())
    state = "failed"
    try:
        yield
        state = "done"
    finally:
        home.catalog.finish_stage_run(run_id, state)


def _advance_stage(home: EngineHome, round_id: str, stage: str) -> StageOutcome:
    if not stage_is_done(home, round_id, stage):
        states = [run_shard(home, round_id, stage, shard) for shard in pending_shards(home, round_id, stage)]
        if "busy" in states:
            return StageOutcome("busy", f"{stage} has shards in another process", stage)
    return finish_stage(home, round_id, stage)


def _open_next(
    home: EngineHome, *, phase: int, overrides: Mapping[str, Any], annotators: str | None
) -> RoundOpening:
    flags: dict[str, Any] = {f"round.{key}": value for key, value in overrides.items()}
    flags |= {"people.kind": annotators, "model.sam_checkpoint": sam_checkpoint(home)}
    settings = home.settings.overridden(flags)
    if settings.people.kind == "label-studio":
        with reach_studio(home):
            pass  # a round that nobody can work on is not opened
    previous = latest_closed(home)
    number = _next_number(previous)
    parents = (previous.close.hash,) if previous else ()
    checkpoint_hash = champion_checkpoint(home)
    opening = RoundOpening(
        round_id=make_round_id(number, phase),
        number=number,
        phase=phase,
        seed=settings.round.seed,
        settings=settings.snapshot(),
        settings_hash=settings.hash(),
        code_version=code_version(),
        checkpoint_key=checkpoint_key(checkpoint_hash),
        checkpoint_hash=checkpoint_hash,
        parents=parents,
        created_by=getpass.getuser(),
    )
    opening = put_opening(home.store, opening)
    home.catalog.record_round(opening)
    return opening


def _next_number(previous: ClosedRound | None) -> int:
    return previous.opening.number + 1 if previous else 1


def _context(home: EngineHome, round_id: str, stage: str) -> StageContext:
    opening = read_round(home.store, round_id)
    if opening is None:
        raise RoundError(f"There is no round {round_id}. `engine status` lists them.")
    return StageContext(home=home, round=opening, stage=stage)


def _stage(name: str) -> Stage:
    if name not in STAGES:
        raise RoundError(f"There is no stage `{name}`. Stages: {', '.join(STAGE_NAMES)}.")
    return STAGES[name]


def _commit(context: StageContext, result: Finished) -> Commit:
    opening = context.round
    position = STAGE_NAMES.index(context.stage)
    parents = opening.parents if position == 0 else (context.commit(STAGE_NAMES[position - 1]).hash,)
    return Commit(
        round_id=opening.round_id,
        stage=context.stage,
        parents=parents,
        settings_hash=opening.settings_hash,
        code_version=code_version(),
        checkpoint_hash=opening.checkpoint_hash,
        seed=opening.seed,
        files=result.files,
        summary=result.summary,
    )
