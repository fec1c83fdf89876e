"""One file over HTTP into a `.part` file, over as many connections as it takes.

What the server said of the file (a strong ETag or the date of its last change) is kept beside the part. The next
connection, in this run or in a later one, asks for the rest of that very file (`Range` with `If-Range`, RFC 9110 §13);
when the file has changed, or the server cannot say, it starts over.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from model.errors import CheckpointError

__all__ = ["DownloadError", "Progress", "Request", "note_path", "transfer"]

RETRIES = 5
"""Connections in a row that bring nothing new before a transfer gives up."""

_SPARE_BYTES = 64 << 20  # left free on the disk
_TIMEOUT = httpx.Timeout(30.0, connect=15.0)
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_PAUSES_S = (1.0, 2.0, 4.0, 8.0)

Progress = Callable[[int, int | None], None]  # bytes on disk, bytes in all (None while unknown)


class DownloadError(CheckpointError):
    """A published file cannot be fetched, or what was fetched is not that file."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to fetch, from where, and what to tell a person for whom it does not work."""

    address: str
    byte_count: int | None = None  # of the file; another length is refused
    hosts: Collection[str] = ()  # the only ones to be asked, by https; empty: any, by http too
    advice: str = ""  # the end of messages about a server that does not answer well


@dataclass(frozen=True, slots=True)
class _Note:
    """What the server said of the file that a part belongs to."""

    address: str
    validator: str  # a strong ETag, or the date of last change; empty when it gave neither


def transfer(request: Request, part: Path, *, progress: Progress, sleep: Callable[[float], None]) -> None:
    """Fetch into `part` until it is complete; a part that is there already is continued.

    `sleep` waits between connections. Raises DownloadError when there is no connection, no such file, no room, or
    another length than expected; what has arrived stays.
    """
    _Transfer(request, part, progress).run(sleep)


def note_path(part: Path) -> Path:
    """Where the note about a part lies."""
    return part.with_name(f"{part.name}.json")


class _Transfer:
    """The connections of one file; its state is what lies on disk."""

    def __init__(self, request: Request, part: Path, progress: Progress) -> None:
        self._request, self._part, self._progress = request, part, progress
        self._note = note_path(part)

    def run(self, sleep: Callable[[float], None]) -> None:
        """Connect until the part is complete, or nothing new has come RETRIES times."""
        self._check_room(self._request.byte_count)
        hooks = {"request": [self._check_host]}
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=True, event_hooks=hooks) as client:
            most, fruitless = self._size(), 0
            while True:
                try:
                    return self._connect(client)
                except httpx.TransportError as error:
                    fruitless = 0 if self._size() > most else fruitless + 1
                    most = max(most, self._size())
                    if fruitless >= RETRIES:
                        raise self._failed(error) from error
                    sleep(_PAUSES_S[min(max(fruitless - 1, 0), len(_PAUSES_S) - 1)])
                except httpx.RequestError as error:  # redirects without end, an undecodable answer
                    raise self._failed(error) from error

    def _connect(self, client: httpx.Client) -> None:
        """One connection: ask for what is missing and append it."""
        with client.stream("GET", self._request.address, headers=self._headers()) as response:
            if self._is_complete(response):
                return
            self._check_answer(response)
            start = self._start(response)
            total = _length(response, start)
            self._check_length(response, total)
            self._remember(response)
            self._append(response, start, total)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "sam2-data-engine"}
        note, size = self._recall(), self._size()
        if size and note is not None and note.validator:
            headers |= {"Range": f"bytes={size}-", "If-Range": note.validator}
        return headers

    def _is_complete(self, response: httpx.Response) -> bool:
        """Whether the server says that nothing is missing."""
        if response.status_code != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return False
        if response.headers.get("Content-Range") == f"bytes */{self._size()}":
            return True
        raise self._start_over("the part on disk is longer than the file")

    def _check_answer(self, response: httpx.Response) -> None:
        answer = f"{response.status_code} {response.reason_phrase}"
        if response.status_code in _RETRIED_STATUS:
            raise httpx.ReadError(f"the server answered {answer}")
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise DownloadError(f"{response.url} answered {answer}; {self._request.advice}")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise DownloadError(
                f"{response.url} answered with a web page, not a file; {self._request.advice}"
            )

    def _start(self, response: httpx.Response) -> int:
        """Where the first byte of the answer belongs."""
        if response.status_code == httpx.codes.OK:
            return 0
        size = self._size()
        if not response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
            raise self._start_over("the server sent another range than was asked for")
        return size

    def _start_over(self, reason: str) -> httpx.RemoteProtocolError:
        self._part.write_bytes(b"")
        return httpx.RemoteProtocolError(reason)

    def _check_length(self, response: httpx.Response, total: int | None) -> None:
        expected = self._request.byte_count
        if total is not None and expected is not None and total != expected:
            raise DownloadError(f"{response.url} offers {total:,} bytes; the published file has {expected:,}")
        self._check_room(total)

    def _append(self, response: httpx.Response, start: int, total: int | None) -> None:
        with self._part.open("r+b" if self._part.exists() else "wb") as stream:
            stream.truncate(start)
            stream.seek(start)
            done = start
            self._progress(done, total)
            for (
                chunk
            ) in response.iter_raw():  # as it comes: a larger chunk would be lost when the connection breaks
                stream.write(chunk)
                done += len(chunk)
                self._progress(done, total)
        if total is not None and done != total:
            raise httpx.ReadError(f"the connection ended after {done:,} of {total:,} bytes")

    def _remember(self, response: httpx.Response) -> None:
        tag = response.headers.get("ETag", "")  # a weak one ("W/…") does not promise equal bytes
        validator = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
        note = _Note(self._request.address, validator)
        self._note.write_text(json.dumps(asdict(note)), encoding="utf-8")

    def _recall(self) -> _Note | None:
        try:
            note = _Note(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return note if note.address == self._request.address else None

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _check_room(self, total: int | None) -> None:
        missing = 0 if total is None else total - self._size() + _SPARE_BYTES
        free = shutil.disk_usage(self._part.parent).free
        if free < missing:
            raise DownloadError(f"{self._part.parent} has {free:,} bytes free; {missing:,} are needed")

    def _check_host(self, request: httpx.Request) -> None:
        """Refuse to be sent on to a server that was not named."""
        url, hosts = request.url, self._request.hosts
        if hosts and (url.scheme != "https" or url.host not in hosts):
            raise DownloadError(
                f"{self._request.address} leads to {url.host} by {url.scheme}, which is not trusted"
            )

    def _failed(self, error: httpx.RequestError) -> DownloadError:
        host, reason = httpx.URL(self._request.address).host, str(error) or type(error).__name__
        never = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
        what = f"no connection to {host}" if never else f"fetching from {host} keeps failing"
        return DownloadError(f"{what} ({reason}); {self._request.advice}")


def _length(response: httpx.Response, start: int) -> int | None:
    """Length of the whole file, if the server says it."""
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else None
