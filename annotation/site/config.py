"""What a site is to be: where it lies, where it listens, and what the model server is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from annotation.errors import SiteError
from annotation.site.records import site_folder

__all__ = ["SiteConfig"]

ANY_ADDRESS = "0.0.0.0"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """A site of the engine home at `home`. Raises SiteError when a value cannot be used."""

    home: Path
    label_config: Callable[[str], str]
    """Label Studio's configuration of a kind of project, as XML."""
    model_command: Sequence[str]
    """Starts the model server, but for its `--host` and `--port`."""
    model_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    model_revision: str = field(default="", repr=False)
    """Of the code and settings it works by; with another one a running model server is started anew."""
    version: str = "1.23.2"
    environment: Path | None = None
    host: str = LOOPBACK
    port: int = 8080
    model_port: int = 9090
    public_url: str = ""
    database_url: str = field(default="", repr=False)
    workers: int = 2
    threads: int = 16

    def __post_init__(self) -> None:
        if self.database_url and urlsplit(self.database_url).scheme.split("+")[0] not in (
            "postgresql",
            "postgres",
        ):
            raise SiteError("`studio.database_url` must begin with postgresql://; leave it empty for SQLite.")
        if self.public_url and urlsplit(self.public_url).scheme not in ("http", "https"):
            raise SiteError(
                f"`studio.public_url` is {self.public_url!r}; it must begin with http:// or https://."
            )
        if self.port == self.model_port:
            raise SiteError(f"`studio.port` and `studio.model_port` are both {self.port}: they must differ.")

    @property
    def folder(self) -> Path:
        """Everything of the site that is not in a database elsewhere."""
        return site_folder(self.home)

    @property
    def data(self) -> Path:
        """Label Studio's own data: its secret key, its SQLite file."""
        return self.folder / "label-studio"

    @property
    def media(self) -> Path:
        """Frames and clips; Label Studio's document root."""
        return self.folder / "media"

    @property
    def database(self) -> Literal["sqlite", "postgresql"]:
        """Where Label Studio keeps its tables."""
        return "postgresql" if self.database_url else "sqlite"

    @property
    def url(self) -> str:
        """Label Studio as reached from this machine."""
        return f"http://{LOOPBACK if self.host == ANY_ADDRESS else self.host}:{self.port}"

    @property
    def address_in_pages(self) -> str:
        """What Label Studio's pages call it; empty where they must be relative to however they were reached."""
        if self.public_url:
            return self.public_url.rstrip("/")
        return "" if self.host == ANY_ADDRESS else self.url

    @property
    def model_host(self) -> str:
        """The model server is for Label Studio on the same machine, and for nobody else."""
        return LOOPBACK

    @property
    def model_url(self) -> str:
        """The model server as Label Studio reaches it."""
        return f"http://{self.model_host}:{self.model_port}"

    def log(self, name: str) -> Path:
        """Where a server writes what it says."""
        return self.folder / "logs" / f"{name}.log"
