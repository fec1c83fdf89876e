"""What tests of several packages share. Each says why it is skipped where something cannot be had."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from engine.samples import SamplesError, bikes_path, load_samples

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def sample_cache(pytestconfig: pytest.Config) -> Path:
    """The folder with the sample data, kept from run to run beside pytest's own cache."""
    folder = Path(pytestconfig.cache.mkdir("samples"))
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
