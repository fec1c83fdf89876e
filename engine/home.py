"""An engine's home: a folder with `engine.toml`, and the store and catalog it points at."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import HomeError
from engine.settings import Settings, load_settings
from storage.catalog import Catalog
from storage.inbox import Inbox
from storage.objects import ObjectStore, open_store
from storage.references import References
from storage.videos import IngestLimits, VideoLibrary

SETTINGS_FILE = "engine.toml"

TEMPLATE = """\
# Settings of this engine home. Every key and its default: docs/operators.md
# The environment overrides this file: ENGINE_ROUND__VIDEOS=4 sets round.videos.

[storage]
store_url = {store_url}
database_url = {database_url}
"""


@dataclass(frozen=True, slots=True)
class EngineHome:
    """Everything a stage needs to reach: settings, bytes, tables. Cheap to open; opens no model and no server."""

    path: Path
    settings: Settings
    store: ObjectStore
    catalog: Catalog
    library: VideoLibrary
    references: References
    inbox: Inbox

    @property
    def work(self) -> Path:
        """Scratch space for resumable work (training states); safe to delete when no round is open."""
        return self.path / "work"

    @property
    def reports(self) -> Path:
        """Where HTML reports are written."""
        return self.path / "reports"


def create_home(path: Path, *, store_url: str = "", database_url: str = "", more: str = "") -> EngineHome:
    """Make a home folder with settings, store and catalog; an existing home is opened and left as it is.

    more: settings (TOML) that a new home's file ends with.

    Raises HomeError where the folder cannot be written.
    """
    settings_file = path / SETTINGS_FILE
    if not settings_file.exists():
        _write_settings(settings_file, store_url=store_url, database_url=database_url, more=more)
    return open_home(path)


def open_home(path: Path, *, flags: Mapping[str, Any] | None = None) -> EngineHome:
    """Open the home at `path`; HomeError if there is none, SettingsError if its settings are wrong."""
    if not (path / SETTINGS_FILE).is_file():
        raise HomeError(
            f"{path} is not an engine home (no {SETTINGS_FILE}). Run `engine --home {path} init`."
        )
    path = path.resolve()
    settings = load_settings(path / SETTINGS_FILE, flags=flags)
    store = open_store(settings.storage.store_url or str(path / "store"))
    catalog = Catalog(settings.storage.database_url or f"sqlite:///{path / 'catalog.db'}")
    catalog.migrate()
    limits = IngestLimits(
        max_frames=settings.ingest.max_frames, max_pixels=int(settings.ingest.max_megapixels * 1e6)
    )
    return EngineHome(
        path=path,
        settings=settings,
        store=store,
        catalog=catalog,
        library=VideoLibrary(store, limits=limits),
        references=References(store),
        inbox=Inbox(store),
    )


def _write_settings(target: Path, *, store_url: str, database_url: str, more: str) -> None:
    """Write `engine.toml` for its owner only, since a database address may hold a password."""
    text = TEMPLATE.format(store_url=json.dumps(store_url), database_url=json.dumps(database_url))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + more)
    except OSError as error:
        raise HomeError(
            f"Cannot make an engine home in {target.parent}: {error.strerror}. "
            "Choose another folder with --home or mend its permissions."
        ) from error
