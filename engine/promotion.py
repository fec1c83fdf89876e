"""Promotion and rollback by hand: which weights people and the next round work with, and the reason for it.

The gate decides at the end of every round; a person may decide otherwise at any time. Such a decision holds for the
rounds that are opened after it. A round that is open then ends as it began, and its result does not undo the decision:
it was compared with weights that are no longer in use.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import RoundError
from engine.home import EngineHome
from engine.rounds import (
    ModelChange,
    base_checkpoint,
    champion_checkpoint,
    checkpoint_key,
    model_history,
    store_checkpoint,
)
from engine.weights import load_file
from storage.commits import list_rounds, read_commit
from storage.promotions import Promotion, list_promotions, record_promotion

SHORTEST_HASH = 6
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of a wish: the weights in use now, and whether a decision was recorded or they already were."""

    checkpoint_hash: str
    previous: str
    recorded: bool
    gate: str


def promote(home: EngineHome, which: str, *, reason: str, at: datetime | None = None) -> Decided:
    """Put weights to work by hand: a file, a stored hash (or its beginning), or a round's challenger.

    Doing it again changes nothing. Raises RoundError if there are no such weights or no reason, CheckpointError if no
    network takes them.
    """
    digest = _named_weights(home, which)
    return _decide(home, "promote", digest, origin=which, reason=reason, at=at)


def rollback(home: EngineHome, to: str = "", *, reason: str, at: datetime | None = None) -> Decided:
    """Put earlier weights back to work: those in use before the present ones, or those named by `to`.

    `to` is the beginning of a hash or a round, which means the weights in use when it had closed; only weights that
    were in use before are taken. Without `to`, doing it again changes nothing. Raises RoundError if there is nothing to
    go back to or no reason.
    """
    history = model_history(home)
    digest = _earlier(home, history, to) if to else _before_present(history)
    return _decide(home, "rollback", digest, origin=to or "the model before", reason=reason, at=at)


def gate_verdict(home: EngineHome, checkpoint_hash: str) -> str:
    """What the gate said of weights that a round trained, the newest if several did; empty if it never saw them."""
    for opening in reversed(list_rounds(home.store)):
        trained = read_commit(home.store, opening.round_id, "retrain")
        judged = read_commit(home.store, opening.round_id, "evaluate")
        if trained and judged and trained.summary.get("challenger") == checkpoint_hash:
            return f"{opening.round_id}: {judged.summary.get('reason', '')}"
    return ""


def _decide(
    home: EngineHome, action: str, digest: str, *, origin: str, reason: str, at: datetime | None
) -> Decided:
    """Record the decision under the next free number, unless the weights are in use already."""
    if not reason.strip():
        raise RoundError("Say why, with --reason: it stays in the record.")
    _check_loads(home, digest)
    verdict = gate_verdict(home, digest)
    while True:
        present = champion_checkpoint(home)
        if present == digest:
            return Decided(digest, present, recorded=False, gate=verdict)
        promotion = Promotion(
            number=len(list_promotions(home.store)) + 1,
            action=action,
            checkpoint_hash=digest,
            previous=present,
            after_round=max((opening.number for opening in list_rounds(home.store)), default=0),
            origin=origin,
            gate=verdict,
            reason=reason.strip(),
            by=getpass.getuser(),
            at=(at or datetime.now(UTC)).isoformat(timespec="seconds"),
        )
        if record_promotion(home.store, promotion):
            return Decided(digest, present, recorded=True, gate=verdict)


def _check_loads(home: EngineHome, digest: str) -> None:
    """CheckpointError unless the stored weights are those of a network that we run."""
    with home.store.local_copy(checkpoint_key(digest)) as path:
        load_file(path, home.settings.model)


def _named_weights(home: EngineHome, which: str) -> str:
    path = Path(which)
    if path.is_file():
        load_file(path, home.settings.model)  # nothing that no network takes gets into the store
        return store_checkpoint(home, path)
    if any(opening.round_id == which for opening in list_rounds(home.store)):
        return _challenger(home, which)
    stored = (key.removeprefix("checkpoints/") for key in home.store.list("checkpoints/"))
    return _only_match(which, [key.removesuffix(".safetensors") for key in stored])


def _challenger(home: EngineHome, round_id: str) -> str:
    commit = read_commit(home.store, round_id, "retrain")
    digest = str(commit.summary.get("challenger", "")) if commit else ""
    if not digest:
        raise RoundError(f"Round {round_id} has trained no model that could be promoted.")
    return digest


def _only_match(
    which: str, hashes: Sequence[str], *, no: str = "no file, ", what: str = "a stored hash"
) -> str:
    found = sorted({digest for digest in hashes if digest.startswith(which)})
    usable = _HEX.fullmatch(which) is not None and len(which) >= SHORTEST_HASH
    if usable and len(found) == 1:
        return found[0]
    if usable and found:
        raise RoundError(f"{which} is the beginning of {len(found)} stored hashes; give more of it.")
    raise RoundError(
        f"{which} is {no}no round, and not the beginning ({SHORTEST_HASH} digits or more) of {what}. "
        "`engine status` shows rounds and the model in use."
    )


def _before_present(history: Sequence[ModelChange]) -> str:
    """The weights in use before the present ones ever were; the present ones if a person has just gone back."""
    hashes = [change.checkpoint_hash for change in history]
    first = hashes.index(hashes[-1])
    if history[-1].how == "rollback":
        return hashes[-1]
    if first == 0:
        raise RoundError("There is nothing to go back to: no model was in use before this one.")
    return hashes[first - 1]


def _earlier(home: EngineHome, history: Sequence[ModelChange], to: str) -> str:
    """Weights that were in use before, by round or hash."""
    of_round = [change.checkpoint_hash for change in history if change.round_id == to]
    if of_round:
        return of_round[-1]
    used = [change.checkpoint_hash for change in history]
    what = "the hash of weights that were in use"
    return _only_match(to, [*used, base_checkpoint(home)], no="", what=what)
