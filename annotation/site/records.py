"""What a site leaves in the engine's home, for everybody who talks to it.

`<home>/studio` is open to its owner only and holds `site.json` (addresses, projects, processes), `secrets.json`
(passwords and tokens) and `people.json` (who may annotate, who may verify: Label Studio itself knows no roles).
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from annotation.errors import SiteError

__all__ = [
    "LABEL_STUDIO",
    "MEDIA_FOLDER",
    "MODEL_SERVER",
    "PREDICTION_VERSION",
    "PROJECT_KINDS",
    "ROLES",
    "Process",
    "Role",
    "Secrets",
    "Site",
    "new_secrets",
    "read_people",
    "read_secrets",
    "read_site",
    "site_folder",
    "write_people",
    "write_secrets",
    "write_site",
]

Role = Literal["annotator", "verifier"]
ROLES: tuple[Role, ...] = get_args(Role)

LABEL_STUDIO, MODEL_SERVER = "label-studio", "model-server"
"""Names of the two processes, in files and on the command line."""

PROJECT_KINDS = ("selection", "annotation-1", "annotation-2", "annotation-3", "verification")
"""Keys of `Site.projects`; annotation has a project per phase."""

PREDICTION_VERSION = "engine"
"""Predictions of this model version are what an annotation starts from, in every project.

It is no title of a model server: Label Studio would then ask that server whenever a task is opened, and keep its empty
answer as a prediction.
"""

MEDIA_FOLDER = "files"
"""All of `Site.media` is below this: Label Studio serves no files that lie in its document root itself."""

ADMIN_EMAIL = "engine@example.com"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that was started; the time tells it from a later one with the same number."""

    pid: int
    created: float  # seconds since 1970, as the operating system says
    fingerprint: str = ""  # of how it was started
    booted: float = (
        0.0  # when the machine was started, as told then: a corrected clock moves this and `created` alike
    )


@dataclass(frozen=True, slots=True)
class Site:
    """Where a site is and what its projects are called there."""

    url: str  # Label Studio, as reached from this machine
    public_url: str  # Label Studio, as people's browsers reach it
    model_url: str
    projects: Mapping[str, int]  # PROJECT_KINDS -> id in Label Studio
    media: Path  # what lies in it is served to members under /data/local-files/?d=<path inside>
    version: str  # of Label Studio
    database: Literal["sqlite", "postgresql"]
    processes: Mapping[str, Process]


@dataclass(frozen=True, slots=True)
class Secrets:
    """What nobody but the home's owner may see; its representation shows nothing."""

    admin_email: str
    admin_password: str = field(repr=False)
    token: str = field(repr=False)  # personal access token of the admin: `LabelStudio(api_key=token)`
    model_user: str
    model_password: str = field(repr=False)  # with model_user: Basic auth of the model server
    webhook_secret: str = field(repr=False)  # header X-Engine-Secret of what Label Studio posts to us


def site_folder(home: Path) -> Path:
    """Where a home keeps its site."""
    return home / "studio"


def read_site(home: Path) -> Site:
    """The site of the engine home at `home`, whether it runs now or not; SiteError if none was ever started."""
    values = _read(site_folder(home) / "site.json")
    try:
        processes = {name: Process(**process) for name, process in values.pop("processes").items()}
        return Site(**values | {"media": Path(values["media"]), "processes": processes})
    except (AttributeError, KeyError, TypeError) as error:
        raise _damaged(site_folder(home) / "site.json") from error


def read_secrets(home: Path) -> Secrets:
    """The secrets of the site of `home`; SiteError if none was ever started."""
    path = site_folder(home) / "secrets.json"
    try:
        return Secrets(**_read(path))
    except TypeError:
        raise _damaged(path) from None


def read_people(home: Path) -> Mapping[str, Role]:
    """Every member's e-mail address (lower case) and role; empty while nobody is invited."""
    path = site_folder(home) / "people.json"
    people = _read(path) if path.exists() else {}
    if not all(role in ROLES for role in people.values()):
        raise _damaged(path)
    return people


def write_site(home: Path, site: Site) -> None:
    """Keep `site`, in place of what was kept."""
    _write(site_folder(home) / "site.json", asdict(site) | {"media": str(site.media)})


def write_secrets(home: Path, value: Secrets) -> None:
    """Keep secrets, readable for their owner only."""
    _write(site_folder(home) / "secrets.json", asdict(value))


def write_people(home: Path, people: Mapping[str, Role]) -> None:
    """Keep who may do what."""
    _write(site_folder(home) / "people.json", dict(people))


def new_secrets() -> Secrets:
    """Fresh random secrets; the token comes later, from Label Studio."""
    return Secrets(
        admin_email=ADMIN_EMAIL,
        admin_password=secrets.token_urlsafe(24),
        token="",
        model_user="label-studio",
        model_password=secrets.token_urlsafe(32),
        webhook_secret=secrets.token_urlsafe(32),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SiteError("This home has no Label Studio yet: run `engine studio up`.") from None
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    if not isinstance(values, dict):
        raise _damaged(path)
    return values


def _damaged(path: Path) -> SiteError:
    return SiteError(
        f"{path} cannot be read as what `engine studio up` writes: move it away and run that again."
    )


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON for its owner only, in one step: a reader sees the old file or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(
        os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
    ) as file:
        json.dump(values, file, indent=2, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
