"""Fetching a published file from a server that breaks off, changes its mind or lies."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.files.download import cache_folder, pull, pulled_path
from model.files.official import OfficialFile, layout_hash, official_file
from model.files.transfer import RETRIES, DownloadError
from tests.model.file_server import FileServer, serve


def stand_in(*, seed: int = 0) -> tuple[OfficialFile, bytes]:
    """A small file in the place of a published one, with its description."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        "a.weight": torch.randn(300, 100, generator=generator),
        "a.bias": torch.randn(100, generator=generator),
    }
    stream = io.BytesIO()
    torch.save({"model": state}, stream)
    content = stream.getvalue()
    file = OfficialFile(
        name="stand_in",
        family="SAM 2.1",
        size="tiny",
        url="https://dl.fbaipublicfiles.com/nowhere/stand_in.pt",
        sha256=hashlib.sha256(content).hexdigest(),
        byte_count=len(content),
        layout=layout_hash({key: tuple(value.shape) for key, value in state.items()}),
    )
    return file, content


FILE, CONTENT = stand_in()
HALF = len(CONTENT) // 2


def no_pause(_seconds: float) -> None:
    return


def fetch(server: FileServer, folder: Path, file: OfficialFile = FILE) -> Path:
    return pull(file, folder, mirror=server.address, sleep=no_pause).path


def test_a_file_comes_whole_and_only_once(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with serve(FileServer(CONTENT)) as server:
        first = pull(FILE, tmp_path / "deep", mirror=server.address, progress=lambda *now: told.append(now))
        again = pull(FILE, tmp_path / "deep", mirror=server.address)
    assert first.fetched and not again.fetched and len(server.seen) == 1
    assert first.path.read_bytes() == CONTENT and again.sha256 == FILE.sha256
    assert told[0] == (0, len(CONTENT)) and told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in first.path.parent.iterdir()] == ["stand_in.pt"]


def test_a_broken_connection_is_taken_up_again(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT, cuts=[1000, 0, 20_000])) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.seen == ["", "bytes=1000-", "bytes=1000-", "bytes=21000-"]


def test_a_later_run_goes_on(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT, cuts=[HALF], statuses=[200, 404])) as server:
        with pytest.raises(DownloadError, match="404"):
            fetch(server, tmp_path)
        assert (tmp_path / "stand_in.pt.part").stat().st_size == HALF
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.seen[-1] == f"bytes={HALF}-"


def test_a_complete_part_needs_no_byte_more(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT)) as server:
        leave_part(tmp_path, server, CONTENT)
        assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"v2"', 'W/"v1"', ""])
def test_a_changed_or_unmarked_file_starts_over(tmp_path: Path, etag: str) -> None:
    with serve(FileServer(CONTENT, etag=etag)) as server:
        leave_part(tmp_path, server, b"x" * HALF, validator="" if etag != '"v2"' else '"v1"')
        assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_too_long_starts_over(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT)) as server:
        leave_part(tmp_path, server, CONTENT + b"more")
        assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_part_of_another_address_starts_over(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT)) as server:
        leave_part(tmp_path, replace(server, address="http://elsewhere/file.pt"), b"x" * HALF)
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.seen == [""]


def test_a_server_without_ranges_starts_over(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT, ranges=False, cuts=[1000, HALF])) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT


def leave_part(folder: Path, server: FileServer, content: bytes, validator: str = '"v1"') -> None:
    (folder / "stand_in.pt.part").write_bytes(content)
    note = {"address": server.address, "validator": validator}
    (folder / "stand_in.pt.part.json").write_text(json.dumps(note))


def test_busy_servers_are_asked_again_and_then_given_up(tmp_path: Path) -> None:
    pauses: list[float] = []
    with serve(FileServer(CONTENT, statuses=[503, 429])) as server:
        pull(FILE, tmp_path / "a", mirror=server.address, sleep=pauses.append)
        assert pauses == [1.0, 2.0]
        server.statuses = [500] * RETRIES
        with pytest.raises(DownloadError, match=r"keeps failing .*500.*put it to .*stand_in\.pt"):
            fetch(server, tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []


def test_no_connection_says_what_to_do(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT)) as server:
        pass  # nobody listens there any more
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path)
    for part in ("no connection to 127.0.0.1", FILE.url, str(tmp_path / "stand_in.pt"), "--from"):
        assert part in str(caught.value)


def test_web_pages_and_other_lengths_are_refused(tmp_path: Path) -> None:
    page = b"<html>Please sign in</html>"
    html = FileServer(page, content_type="text/html; charset=utf-8")
    with serve(html) as server, pytest.raises(DownloadError, match="web page"):
        fetch(server, tmp_path)
    with serve(FileServer(page)) as server, pytest.raises(DownloadError, match="offers 27 bytes"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_content_is_thrown_away(tmp_path: Path) -> None:
    other, content = stand_in(seed=1)
    assert other.layout == FILE.layout and other.byte_count == FILE.byte_count
    with serve(FileServer(content)) as server, pytest.raises(DownloadError, match="SHA-256 is"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_known_checksum_is_known_by_its_layout(tmp_path: Path) -> None:
    loose = replace(FILE, sha256="", byte_count=None)
    with serve(FileServer(stand_in(seed=1)[1])) as server:
        assert pull(loose, tmp_path / "a", mirror=server.address).fetched
        with pytest.raises(DownloadError, match="names and shapes hash to"):
            fetch(server, tmp_path / "b", replace(loose, layout="0" * 64))
        server.content = server.content[:-30]
        with pytest.raises(DownloadError, match="damaged or cut short"):
            fetch(server, tmp_path / "c", loose)


def test_a_wrong_file_in_the_place_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "stand_in.pt").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="is there, but it is not stand_in: it has 4 bytes"):
        pull(FILE, tmp_path)
    assert (tmp_path / "stand_in.pt").read_bytes() == b"mine"


def test_a_full_disk_is_noticed_before(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT)) as server, pytest.raises(DownloadError, match="bytes free"):
        fetch(server, tmp_path, replace(FILE, byte_count=10**18))
    assert server.seen == []


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    with (tmp_path / "stand_in.pt.part").open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process"):
            pull(FILE, tmp_path, mirror="http://127.0.0.1:9/file.pt")


def test_only_the_authors_server_is_trusted(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT)) as server:
        with pytest.raises(DownloadError, match=r"127\.0\.0\.1 by http, which is not trusted"):
            pull(replace(FILE, url=server.address), tmp_path, sleep=no_pause)
        assert server.seen == []
        with serve(FileServer(b"", location=server.address)) as mirror:
            assert fetch(mirror, tmp_path).read_bytes() == CONTENT
    with serve(FileServer(b"")) as loop:
        loop.location = loop.address
        with pytest.raises(DownloadError, match="redirects"):
            fetch(loop, tmp_path / "loop")


@pytest.mark.parametrize("mirror", ["ftp://host/file", "file:///etc/passwd", "nonsense", "http://[::1"])
def test_odd_addresses_are_refused(tmp_path: Path, mirror: str) -> None:
    with pytest.raises(DownloadError, match="address"):
        pull(FILE, tmp_path, mirror=mirror)


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "sam2-data-engine" / "checkpoints"
    assert pulled_path("sam2.1_hiera_tiny") == cache_folder() / official_file("sam2.1_hiera_tiny").filename
    assert pulled_path("mine.safetensors") is None
