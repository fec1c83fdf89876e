"""Where things came from, as chains of cards: a round's commits, and a run's rounds and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qa.report import formats
from qa.report.data import RoundReportData
from storage.commits import Commit


@dataclass(frozen=True, slots=True)
class Card:
    """One link of a chain: a checkpoint, a stage or a round, with its hash and a few lines about it."""

    kind: Literal["checkpoint", "stage", "round"]
    title: str
    hash: str
    lines: tuple[str, ...] = ()
    href: str = ""
    faded: bool = False


def round_chain(data: RoundReportData) -> list[Card]:
    """Checkpoint before → the round's stages in the order of their parents → checkpoint after."""
    stages = [_stage_card(commit) for commit in in_order(data.commits)]
    chain = [_checkpoint("Model at the start", data.checkpoint_before), *stages]
    if data.checkpoint_after:
        chain.append(_checkpoint(_after_title(data), data.checkpoint_after))
    return chain


def run_chain(rounds: Sequence[RoundReportData]) -> list[Card]:
    """First checkpoint → round → checkpoint after it (only when it changed) → round …"""
    chain: list[Card] = []
    current = ""
    for one in rounds:
        if one.checkpoint_before and one.checkpoint_before != current:
            chain.append(_checkpoint("Model before" if not chain else "Model", one.checkpoint_before))
        chain.append(_round_card(one))
        current = one.checkpoint_after or one.checkpoint_before
        if current and current != one.checkpoint_before:
            chain.append(_checkpoint(f"Model after round {one.number}", current))
    return chain


def in_order(commits: Sequence[Commit]) -> list[Commit]:
    """Commits with every parent before its children; otherwise in the order given."""
    waiting, done = list(commits), []
    known = {commit.hash for commit in commits}
    placed: set[str] = set()
    while waiting:
        ready = next((one for one in waiting if not (set(one.parents) & known) - placed), waiting[0])
        waiting.remove(ready)
        placed.add(ready.hash)
        done.append(ready)
    return done


def _stage_card(commit: Commit) -> Card:
    files = tuple(_file_line(file.name, file.rows, file.sha256) for file in commit.files)
    return Card("stage", commit.stage, formats.short_hash(commit.hash), files, faded=not files)


def _file_line(name: str, rows: int, sha256: str) -> str:
    amount = f"{formats.plural(rows, 'row')} · " if rows else ""
    return f"{name}: {amount}{formats.short_hash(sha256)}"


def _checkpoint(title: str, value: str) -> Card:
    return Card("checkpoint", title, formats.short_hash(value))


def _after_title(data: RoundReportData) -> str:
    return "Promoted model" if data.promoted else "Model kept"


def _round_card(data: RoundReportData) -> Card:
    lines = [f"data set: {formats.plural(len(data.dataset), 'masklet')}"] if len(data.dataset) else []
    if data.gate is not None:
        lines.append("challenger promoted" if data.gate.promote else "challenger not promoted")
    last = in_order(data.commits)[-1].hash if data.commits else ""
    title = f"Round {data.number} · phase {data.phase}"
    return Card("round", title, formats.short_hash(last), tuple(lines), href=f"#round-{data.number}")
