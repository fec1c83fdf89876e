"""The event log: everything in order, nothing twice, nothing dropped in silence."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.errors import AnnotationError, EventError
from annotation.pages.events import EventLog, StudioEvent
from storage.masks import encode
from storage.objects import open_store
from tests.annotation.pages.pages import RELAXED

NOW = 1_795_000_000.123456


def event(number: int = 0, **changes) -> StudioEvent:
    fields = {
        "event_id": f"e{number}",
        "at": NOW + number,
        "ticket_id": "t-1",
        "person": "a@b.c",
        "kind": "click",
    }
    return StudioEvent(**(fields | changes))


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


def test_events_come_back_in_the_order_of_time_then_id(store):
    log = EventLog(store)
    events = [event(1), event(2, at=NOW + 1), event(3), event(0), event(4, at=9.5)]
    random.Random(0).shuffle(events)
    for each in events:
        log.append("r-1", each)
        log.append("r-1", each)  # the same again changes nothing
    assert [each.event_id for each in log.read("r-1", "t-1")] == ["e4", "e0", "e1", "e2", "e3"]
    assert log.read("r-1", "t-2") == log.read("r-2", "t-1") == []


def test_an_event_keeps_everything(store):
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2] = True
    full = event(
        frame=8,
        x=1.25,
        y=2.5,
        positive=False,
        text="p → 3",
        answers={8: encode(mask), 4: encode(~mask)},
        scores={8: 0.25, 4: 1.0},
        region="r",
    )
    EventLog(store).append("r-1", full)
    assert EventLog(store).read("r-1", "t-1") == [full]


def test_nothing_is_overwritten(store):
    log = EventLog(store)
    log.append("r-1", event())
    with pytest.raises(EventError, match="other content"):
        log.append("r-1", event(text="else"))
    assert log.read("r-1", "t-1") == [event()]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"event_id": "e', "Unterminated|Expecting|delimiter"),
        (b"", "Expecting value"),
        (b"\xff", "decode"),
        (b"[1]", "JSON object"),
        (b'{"event_id": "x"}', "lacks"),
    ],
)
def test_damaged_objects_are_named_and_the_rest_can_be_read(store, content, named):
    log = EventLog(store)
    log.append("r-1", event(1))
    key = "studio/events/r-1/t-1/0-broken.json"
    store.put(key, content)
    log.append("r-1", event(2))
    with pytest.raises(EventError, match=named) as caught:
        log.read("r-1", "t-1")
    assert key in str(caught.value) and "1 of 3" in str(caught.value)
    scan = log.scan("r-1", "t-1")
    assert [each.event_id for each in scan.events] == ["e1", "e2"] and list(scan.damaged) == [key]


def test_foreign_objects_are_named(store):
    log = EventLog(store)
    log.append("r-1", event(ticket_id="t-2"))
    (key,) = store.list("studio/events/")
    store.put("studio/events/r-1/t-1/note.txt", b"hello")
    store.put("studio/events/r-1/t-1/moved.json", store.get(key))
    damaged = log.scan("r-1", "t-1").damaged
    assert "another ticket, t-2" in damaged["studio/events/r-1/t-1/moved.json"]
    assert "studio/events/r-1/t-1/note.txt" in damaged


@RELAXED
@given(st.lists(st.floats(0, 4e9), min_size=1, max_size=8))
def test_keys_sort_as_time_does(tmp_path_factory, times):
    store = open_store(tmp_path_factory.mktemp("log"))
    log = EventLog(store)
    for number, at in enumerate(times):
        log.append("r", event(number, at=at))
    assert [each.at for each in log.read("r", "t-1")] == sorted(times)
    by_key = [float(key.rsplit("/", 1)[1].split("-")[0]) for key in store.list("studio/events/r/")]
    assert by_key == sorted(by_key)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "dance"}, "kind"),
        ({"event_id": ""}, "event_id"),
        ({"at": float("nan")}, "time"),
        ({"at": -1.0}, "time"),
        ({"at": 1e18}, "time"),
    ],
)
def test_events_check_themselves(changes, named):
    with pytest.raises(AnnotationError, match=named):
        event(**changes)


@pytest.mark.parametrize("name", ["a/b", "..", ""])
def test_ids_cannot_leave_their_folder(store, name):
    with pytest.raises(AnnotationError):
        EventLog(store).append("r", dataclasses.replace(event(), event_id=name))
    with pytest.raises(AnnotationError):
        EventLog(store).append("r", dataclasses.replace(event(), ticket_id=name))
