"""The site people work at: Label Studio in an environment of its own, our model server, projects and accounts."""

from __future__ import annotations

from annotation.errors import SiteError
from annotation.site.records import (
    PROJECT_KINDS,
    Role,
    Secrets,
    Site,
    read_people,
    read_secrets,
    read_site,
)

__all__ = [
    "PROJECT_KINDS",
    "Role",
    "Secrets",
    "Site",
    "SiteError",
    "read_people",
    "read_secrets",
    "read_site",
]
