"""The site of an engine home: what the settings say, in the terms of `annotation.site`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from annotation.pages.configs import label_config
from annotation.site.config import SiteConfig
from engine.settings import Settings
from engine.version import code_version

__all__ = ["site_config"]

CODE = Path(__file__).parents[1]
"""The folder this very code is in: the model server runs the same."""

MODEL_SERVER = "engine.model_server:create"

CALM_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""The model's threads sleep while they wait for each other. On a process's main thread, with both cores busy, spinning
took 30 to 225 ms of processor time for a frame instead of 27; in a worker thread, as the server has it, there was no
difference."""


def site_config(home: Path, settings: Settings) -> SiteConfig:
    """The site of the home at `home`. Raises SiteError when a setting cannot be used."""
    studio = settings.studio
    return SiteConfig(
        home=home.resolve(),
        label_config=label_config,
        model_command=(
            *(sys.executable, "-P", "-m", "uvicorn", MODEL_SERVER, "--factory"),
            *("--app-dir", str(CODE), "--no-access-log", "--no-server-header", "--log-level", "info"),
        ),
        model_environment=CALM_THREADS | dict(os.environ) | {"ENGINE_HOME": str(home.resolve())},
        model_revision=f"{code_version()} {settings.model_dump_json(exclude={'studio'})}",
        version=studio.version,
        environment=Path(studio.environment).expanduser() if studio.environment else None,
        host=studio.host,
        port=studio.port,
        model_port=studio.model_port,
        public_url=studio.public_url,
        database_url=studio.database_url,
        workers=studio.workers,
        threads=studio.threads,
    )
