"""Tickets: published once, the same for ever."""

from __future__ import annotations

import json

import pytest

from annotation.errors import AnnotationError, PageError, TicketError
from annotation.pages.tickets import Ticket, TicketStore
from storage.masks import empty
from storage.objects import open_store
from tests.annotation.pages.pages import SMALL, make_item, make_ticket


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


def test_a_ticket_comes_back_as_it_was_published(store):
    tickets, ticket = TicketStore(store), make_ticket(SMALL, item=make_item(point=(3.5, 4.0)), attempt=2)
    tickets.put(ticket)
    tickets.put(ticket)
    assert tickets.get("r-1", ticket.ticket_id) == ticket
    assert list(tickets.ids("r-1")) == [ticket.ticket_id]
    assert list(tickets.ids("r-2")) == []
    assert list(store.list("")) == ["studio/tickets/r-1/m-1-annotate-1.json"]


def test_other_content_under_the_same_id_is_refused(store):
    tickets = TicketStore(store)
    tickets.put(make_ticket())
    with pytest.raises(TicketError, match="published before"):
        tickets.put(make_ticket(checkpoint_hash="d" * 64))
    assert tickets.get("r-1", "m-1-annotate-1").checkpoint_hash == "c" * 64


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"ticket_id": "m', "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"[]", "JSON object"),
        (b'{"ticket_id": 5}', "ticket_id"),
        (json.dumps(make_ticket().to_json() | {"extra": 1}).encode(), "extra"),
        (json.dumps(make_ticket(ticket_id="other").to_json()).encode(), "another ticket"),
    ],
)
def test_a_damaged_ticket_is_named(store, content, named):
    store.put("studio/tickets/r-1/t.json", content)
    with pytest.raises(TicketError, match=named) as caught:
        TicketStore(store).get("r-1", "t")
    assert "r-1/t.json" in str(caught.value)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a\\b", "a\nb", ".tmp-1"])
def test_ids_cannot_leave_their_folder(store, name):
    for round_id, ticket_id in ((name, "t"), ("r-1", name)):
        with pytest.raises(PageError, match="id"):
            TicketStore(store).get(round_id, ticket_id)


def test_a_missing_ticket_is_named(store):
    with pytest.raises(TicketError, match=r"no ticket 't' in round 'r-9'"):
        TicketStore(store).get("r-9", "t")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"carried": {4: empty(48, 63)}}, "frame 4"),
        ({"item": make_item(masks={0: empty(1, 1)})}, "frame 0"),
        ({"carried": {5: empty(48, 64)}}, "frame 5"),
        ({"ticket_id": ""}, "ticket_id"),
        ({"attempt": 0}, "attempt"),
    ],
)
def test_tickets_check_themselves(changes, named):
    with pytest.raises(AnnotationError, match=named):
        make_ticket(**changes)


def test_equal_tickets_give_equal_text():
    back = Ticket.from_json(json.loads(json.dumps(make_ticket().to_json())))
    assert json.dumps(back.to_json()) == json.dumps(make_ticket().to_json())
