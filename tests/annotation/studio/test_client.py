"""The client by itself; what it says to a real Label Studio is tested with the rounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from annotation.site import SiteError
from annotation.studio.client import StudioClient, _said
from tests.servers import free_ports


@pytest.mark.parametrize(
    "ask",
    [lambda client: client.check(), lambda client: client.drafts(1), lambda client: client.add_task(1, {})],
)
def test_a_site_that_does_not_answer_is_named_with_what_to_do(ask: Callable[[StudioClient], object]) -> None:
    (port,) = free_ports(1)
    client = StudioClient(f"http://127.0.0.1:{port}", "token")
    with pytest.raises(SiteError, match=rf"127\.0\.0\.1:{port} does not answer .*engine studio up"):
        ask(client)
    client.close()


@pytest.fixture
def asked() -> Iterator[tuple[StudioClient, list[str]]]:
    """A client of a server that knows no task, and what it was asked."""
    paths: list[str] = []

    class Empty(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            paths.append(self.path)
            listing = self.path.startswith("/api/tasks/?")
            self.send_response(200 if listing else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            body: dict[str, Any] = {"tasks": [], "total": 0} if listing else {"detail": "none"}
            self.wfile.write(json.dumps(body).encode())

        do_GET = do_DELETE = do_PATCH = _answer

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    Thread(target=server.serve_forever, daemon=True).start()
    client = StudioClient(f"http://127.0.0.1:{server.server_port}/", "token")
    yield client, paths
    client.close()
    server.shutdown()
    server.server_close()


def test_a_task_that_is_gone_is_none_and_removing_it_again_is_fine(asked: tuple[StudioClient, list[str]]):
    client, _ = asked
    assert client.task(7) is None
    client.delete_task(7)
    with pytest.raises(SiteError, match=r"refused a request \(404\): none\. .*engine studio up"):
        client.set_data(7, {})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "No Project matches.", "exc_info": None}, "No Project matches"),
        ({"name": ["too short"]}, "{'name': ['too short']}"),
        ("\n\n<!doctype html>\n<html>", "no reason given"),
        ("Bad Gateway", "Bad Gateway"),
        (None, "None"),
    ],
)
def test_what_label_studio_says_is_said_in_one_line(body: object, said: str):
    assert _said(body) == said


def test_changes_are_asked_for_from_a_millisecond_before(asked: tuple[StudioClient, list[str]]):
    client, paths = asked
    since = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert list(client.tasks(3, round_id="r0001-p3", since=since)) == []
    (path,) = paths
    for part in ("project=3", "r0001-p3", "tasks%3Aupdated_at", "12%3A00%3A00.122Z"):
        assert part in path
