"""How the queues of people look in a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from annotation.studio.queues import Holding, Queues

__all__ = ["age", "queue_tables"]

WORDS = {"select": "select objects", "annotate": "annotate", "verify": "verify"}


def queue_tables(queues: Queues, *, now: datetime | None = None) -> RenderableType:
    """What waits, who has what since when, what goes back and forth, how fast it goes, and what is odd."""
    now = now or datetime.now(UTC)
    parts: list[RenderableType] = [_waiting(queues)]
    if queues.holdings:
        parts.append(_held(queues.holdings, now))
    if queues.mending:
        parts.append(_mending(queues))
    if queues.throughput:
        parts.append(_throughput(queues))
    parts += [Text.from_markup(f"[yellow]![/] {escape(text)}") for text in queues.warnings]
    return Group(*parts)


def age(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 05 min`, `2 days 4 h`."""
    whole = timedelta(seconds=round(max(seconds, 0.0)))
    minutes, hours = whole.seconds // 60, whole.seconds // 3600
    if whole.days:
        return f"{whole.days} day{'s' if whole.days > 1 else ''} {hours} h"
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min" if minutes else f"{whole.seconds} s"


def _waiting(queues: Queues) -> Table:
    table = _table("queue", "waiting", "oldest", "begun", "being mended", numbers=(1, 3, 4))
    for queue in queues.queues:
        oldest = age(queue.oldest_s) if queue.waiting else ""
        table.add_row(WORDS[queue.work], str(queue.waiting), oldest, str(queue.held), str(queue.mending))
    return table


def _held(holdings: tuple[Holding, ...], now: datetime) -> Table:
    table = _table("who", "has begun", "for", "last saved")
    for held in holdings:
        since, saved = ((now - moment).total_seconds() for moment in (held.since, held.saved))
        table.add_row(
            escape(held.person), f"{WORDS[held.work]} {held.ticket_id}", age(since), f"{age(saved)} ago"
        )
    return table


def _mending(queues: Queues) -> Table:
    table = _table("to be mended by", "task", "because")
    for one in queues.mending:
        table.add_row(escape(one.person), one.ticket_id, escape(one.reason))
    return table


def _throughput(queues: Queues) -> Table:
    table = _table("who", "work", "last hour", "last day", "all", "seconds each", numbers=(2, 3, 4, 5))
    for one in queues.throughput:
        numbers = (one.last_hour, one.last_day, one.total, f"{one.seconds_each:.1f}")
        table.add_row(escape(one.person), WORDS[one.work], *map(str, numbers))
    return table


def _table(*columns: str, numbers: tuple[int, ...] = ()) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in numbers else "left", overflow="fold")
    return table
