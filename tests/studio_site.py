"""A real site for tests: the product's own `up` and `down` on a home in a folder of the test.

Label Studio's migrations take half a minute, so `site_template` runs them once and `running_site` begins with a copy.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from annotation.site import Site
from annotation.site.config import SiteConfig
from annotation.site.environment import default_folder, ensure_environment
from annotation.site.label_studio import prepare
from annotation.site.lifecycle import down, up
from annotation.site.records import new_secrets, read_secrets, site_folder, write_secrets
from engine.home import create_home, open_home
from engine.settings import load_settings
from engine.studio import site_config
from tests.servers import free_ports

STAND_IN = Path(__file__).parent / "annotation" / "site"
STAND_IN_COMMAND = (sys.executable, "-P", "-m", "uvicorn", "stand_in:app", "--app-dir", str(STAND_IN))
"""A model server that knows no model: it says that it is well, and answers nothing to everything."""


def environment_missing() -> str:
    """Why Label Studio cannot be started without a download of 1 GB; empty when it can."""
    settings = load_settings().studio
    folder = Path(settings.environment) if settings.environment else default_folder(settings.version)
    if folder.exists() or os.environ.get("CI"):
        return ""
    return f"no Label Studio in {folder}: run `engine studio up` once, or set ENGINE_STUDIO__ENVIRONMENT"


def site_template(folder: Path) -> Path:
    """A site's folder with a migrated database and the secrets of its admin; made in `folder`, returned."""
    config = site_config(folder, load_settings())
    environment = ensure_environment(config.version, folder=config.environment, tell=_nothing)
    config.data.mkdir(mode=0o700, parents=True)
    write_secrets(config.home, new_secrets())
    prepare(config, environment, read_secrets(config.home), _nothing)
    return config.folder


@contextmanager
def running_site(
    folder: Path,
    *,
    port: int | None = None,
    model_port: int | None = None,
    template: Path | None = None,
    model_command: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
) -> Iterator[Site]:
    """Run a site on the engine home `folder/home`, made if absent; `down` at the end, whatever happens.

    port, model_port: free ones if left out. template: what `site_template` returned. model_command: instead of the
    engine's model server, such as STAND_IN_COMMAND. settings: more of `[studio]`, by name. They are written to
    `engine.toml` like the ports, so that commands on this home agree with them.
    """
    ports = free_ports(2)
    chosen = {"port": port or ports[0], "model_port": model_port or ports[1], **(settings or {})}
    config = prepared_home(folder / "home", chosen, template=template, model_command=model_command)
    try:
        yield up(config, _nothing)
    finally:
        down(config.home, _nothing)


def prepared_home(
    home: Path,
    settings: Mapping[str, object],
    *,
    template: Path | None = None,
    model_command: Sequence[str] = (),
) -> SiteConfig:
    """An engine home with `[studio]` settings and a copy of the template, ready for `up`."""
    if not (home / "engine.toml").exists():
        create_home(home)
        lines = [f"{key} = {_toml(value)}" for key, value in settings.items()]
        with (home / "engine.toml").open("a") as file:
            file.write("\n".join(["", "[studio]", *lines, ""]))
    if template and not site_folder(home).exists():
        shutil.copytree(template, site_folder(home))
    config = site_config(home, open_home(home).settings)
    return replace(config, model_command=tuple(model_command)) if model_command else config


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _nothing(text: str) -> None:
    """Nobody watches."""
