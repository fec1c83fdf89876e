"""Queues of people as a terminal shows them, and waiting for them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from annotation.site import SiteError
from annotation.studio.queues import Holding, Mending, Queue, Queues, Throughput
from engine.cli import round as round_command
from engine.cli.queues import age, queue_tables
from engine.home import EngineHome
from engine.machine import open_round
from engine.status import round_status

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def queues(*, news: bool = False) -> Queues:
    return Queues(
        queues=(
            Queue("select", 0, 0, 0, 0.0),
            Queue("annotate", 2, 1, 1, 7500.0),
            Queue("verify", 1, 0, 0, 40.0),
        ),
        holdings=(Holding("m-annotate-1", "annotate", "ann@x.org", NOW - timedelta(minutes=12), NOW),),
        mending=(Mending("n-annotate-1", "bob@x.org", NOW.isoformat(), "Frame 5 has [no] mask."),),
        throughput=(Throughput("vera@x.org", "verify", 3, 8, 20, 12.5),),
        warnings=("m-verify-1 was changed",),
        has_news=news,
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min"), (40, "40 s"), (720, "12 min"), (7500, "2 h 05 min"), (90000, "1 day 1 h"),
     (200000, "2 days 7 h"), (-5, "0 s")],
)  # fmt: skip
def test_ages_in_words(seconds, words):
    assert age(seconds) == words


def test_everything_is_shown():
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(queue_tables(queues(), now=NOW))
    text = console.export_text()
    for shown in (
        "2 h 05 min",
        "ann@x.org",
        "12 min",
        "0 s ago",
        "Frame 5 has [no] mask.",
        "12.5",
        "was changed",
    ):
        assert shown in text


def test_waiting_ends_when_somebody_has_handed_in(home: EngineHome, monkeypatch: pytest.MonkeyPatch):
    seen = iter([queues(), queues(), queues(news=True)])

    class Reader:
        def read(self) -> Queues:
            return next(seen)

    @contextmanager
    def reader(home: object, opening: object) -> Iterator[Reader]:
        yield Reader()

    monkeypatch.setattr(round_command, "queue_reader", reader)
    monkeypatch.setattr(round_command, "LOOK_S", 0.0)
    round_command._watch_people(home, open_round(home, phase=1))
    assert next(seen, None) is None


def test_waiting_outlasts_a_site_that_is_down(
    home: EngineHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    opening, calls = open_round(home, phase=1, annotators="simulated"), []

    def run(opening: object) -> None:
        calls.append(opening)
        if len(calls) == 1:
            raise SiteError("Label Studio does not answer.")

    monkeypatch.setattr(round_command, "POLL_PEOPLE_S", 0.0)
    monkeypatch.setattr(round_command, "_conclude", lambda *_: round_command.WAITING)
    with pytest.raises(SiteError):
        round_command._until_closed(home, opening, run, wait=False)
    calls.clear()
    closed = round_status(home, opening)
    monkeypatch.setattr(round_command, "round_status", lambda *_: replace(closed, state="closed"))
    assert round_command._until_closed(home, opening, run, wait=True) == round_command.WAITING
    assert len(calls) == 2
    assert "does not answer. Trying again" in capsys.readouterr().err
