"""Stores, servers and a tiny library for the tests of storage."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from storage.objects import ObjectStore, open_store
from storage.videos import Video, VideoLibrary


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """An empty store in a folder."""
    return open_store(tmp_path / "store")


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    return open_store(request.getfixturevalue("s3_url") if request.param == "s3" else tmp_path / "store")


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
