"""A home with stages made for the test, and one Prefect server for all tests of flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.home import EngineHome, create_home
from engine.stages.base import STAGE_NAMES
from flows.server import prefect_server
from tests.flows.stubs import CHALLENGER, StubStage


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that commands use, once for the session."""
    with prefect_server(tmp_path_factory.mktemp("prefect-home")) as url:
        yield url


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> dict[str, StubStage]:
    """Stubs in place of the engine's stages, by name."""
    stubs = {name: StubStage(name) for name in STAGE_NAMES}
    stubs["plan"].shards = 1
    stubs["prelabel"].shards = 2
    stubs["retrain"].summary = {"challenger": CHALLENGER}
    stubs["close"].summary = {"promoted": 1, "reason": "better", "checkpoint_hash_end": CHALLENGER}
    monkeypatch.setattr("engine.machine.STAGES", stubs)
    return stubs


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineHome:
    """A home with one video of two frames; its weights are never loaded."""
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    monkeypatch.setenv("ENGINE_MODEL__CHECKPOINT", str(weights))
    home = create_home(tmp_path / "home")
    home.library.ingest_array(np.zeros((2, 8, 8, 3), np.uint8), name="black", fps=6.0)
    return home
