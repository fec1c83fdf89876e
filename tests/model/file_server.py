"""A small HTTP server for one file, which can be told to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FileServer:
    """What is served and how; `seen` are the Range headers of the requests so far."""

    content: bytes
    etag: str = '"v1"'
    content_type: str = "application/octet-stream"
    cuts: list[int] = field(
        default_factory=list
    )  # bytes sent before the connection breaks, request by request
    statuses: list[int] = field(default_factory=list)  # answers of the first requests
    length: int | None = None  # announced length; None: the true one
    ranges: bool = True
    location: str = ""  # redirect to there
    seen: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def serve(server: FileServer) -> Iterator[FileServer]:
    """Serve at `server.address` while the block runs."""

    class Handler(_Handler):
        files = server

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{web.server_address[1]}/file.pt"
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        web.shutdown()
        web.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    files: FileServer

    def do_GET(self) -> None:
        files = self.files
        files.seen.append(self.headers.get("Range", ""))
        if files.statuses and (status := files.statuses.pop(0)) != 200:
            return self._answer(status, b"", {})
        if files.location:
            return self._answer(302, b"", {"Location": files.location})
        start = self._start()
        headers = {"Content-Type": files.content_type, "ETag": files.etag}
        if start >= len(files.content) > 0 and start:
            return self._answer(416, b"", {"Content-Range": f"bytes */{len(files.content)}"})
        body = files.content[start:]
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(files.content) - 1}/{len(files.content)}"
        self._answer(206 if start else 200, body, headers)

    def _start(self) -> int:
        wanted = self.headers.get("Range", "")
        fresh = self.headers.get("If-Range") in (None, self.files.etag)
        if not wanted or not fresh or not self.files.ranges:
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        files = self.files
        self.send_response(status)
        length = len(body) if files.length is None or not body else files.length
        for name, value in {**headers, "Content-Length": str(length), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and files.cuts:
            body = body[: files.cuts.pop(0)]
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        return
