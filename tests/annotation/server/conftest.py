"""Worlds for the tests of the model server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from annotation.assistance import SessionTools
from tests.annotation.server.world import World


@pytest.fixture
def make_world(tmp_path: Path, tools: SessionTools) -> Callable[..., World]:
    """Makes worlds, to be entered with `async with`."""
    return lambda **changes: World(tmp_path, tools, **changes)
