"""A Prefect API server that lives exactly as long as the process that started it. Run as a script by
`flows.server`.

It listens on a free port of the loopback interface, writes its API's address as one line on standard output
once it answers, and ends when its standard input closes: that happens whenever the parent ends, even by `kill
-9`.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

import uvicorn


class AnnouncingServer(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start up, then write the announcement."""
        await super().startup(sockets=sockets)
        if self.started:
            print(self._announcement, flush=True)


def main() -> None:
    """Serve until standard input closes."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    os.environ["PREFECT_SERVER_UI_API_URL"] = url  # read when the server's code is imported
    from prefect.server.api.server import create_app

    config = uvicorn.Config(create_app(final=True), log_level="warning", timeout_graceful_shutdown=5)
    server = AnnouncingServer(config, url)
    threading.Thread(target=_watch_parent, args=(server,), daemon=True).start()
    server.run(sockets=[listener])


def _watch_parent(server: AnnouncingServer) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


if __name__ == "__main__":
    main()
