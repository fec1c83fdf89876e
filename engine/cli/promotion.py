"""`engine model promote` and `engine model rollback`, and what `engine status` says of them."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from engine.cli.show import next_step, out, print_json, say
from engine.home import EngineHome
from engine.promotion import Decided, promote, rollback
from engine.rounds import champion_checkpoint, model_history, open_rounds
from storage.commits import list_rounds
from storage.promotions import Promotion, list_promotions

SHOWN = 12  # digits of a hash
WORDS = {"promote": "promoted", "rollback": "rolled back"}


def promote_by_hand(home: EngineHome, which: str, *, reason: str, as_json: bool) -> None:
    """Put weights to work and say what the gate thought of them."""
    _tell(home, promote(home, which, reason=reason), as_json=as_json)


def rollback_by_hand(home: EngineHome, to: str, *, reason: str, as_json: bool) -> None:
    """Put earlier weights back to work."""
    _tell(home, rollback(home, to, reason=reason), as_json=as_json)


def model_facts(home: EngineHome) -> dict[str, Any] | None:
    """The model in use, how it came into use, and every decision by hand, for `engine status --json`.

    None before the first round and decision: nothing has been put to work yet.
    """
    if not list_rounds(home.store) and not list_promotions(home.store):
        return None
    last = model_history(home)[-1]
    return {
        "checkpoint_hash": last.checkpoint_hash,
        "how": last.how,
        "decisions": [_fields(row) for row in list_promotions(home.store)],
    }


def show_decisions(home: EngineHome) -> None:
    """A line on the model in use and one a decision by hand; nothing where nobody decided."""
    decisions = list_promotions(home.store)
    if not decisions:
        return
    out.print(
        f"Model in use: [bold]{champion_checkpoint(home)[:SHOWN]}[/]. Decided by hand:", highlight=False
    )
    for row in decisions:
        words = f"{row.at[:16].replace('T', ' ')} UTC, {row.by} {WORDS[row.action]}"
        change = f"{row.previous[:SHOWN]} → {row.checkpoint_hash[:SHOWN]}"
        out.print(f"  {escape(words)} {change}: {escape(row.reason)}", highlight=False)


def _tell(home: EngineHome, decided: Decided, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "checkpoint_hash": decided.checkpoint_hash,
                "previous": decided.previous,
                "recorded": decided.recorded,
                "gate": decided.gate,
            }
        )
        return
    name = decided.checkpoint_hash[:SHOWN]
    if not decided.recorded:
        say(f"[bold]{name}[/] is in use already; nothing was changed.")
        return
    say(f"[bold]{name}[/] is in use now, instead of {decided.previous[:SHOWN]}.")
    if decided.gate:
        say(f"The gate had said, in {escape(decided.gate)}")
    for opening in open_rounds(home):
        say(
            f"Round {opening.round_id} is open and ends with the model it began with; the next one uses this."
        )
    next_step("engine status")


def _fields(row: Promotion) -> dict[str, Any]:
    names = ("action", "checkpoint_hash", "previous", "after_round", "origin", "gate", "reason", "by", "at")
    return {name: getattr(row, name) for name in names}
