"""Which code made a manifest: the package version and a hash of the sources that ran."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("annotation", "engine", "flows", "model", "qa", "storage")
"""The top-level packages whose sources decide what a stage computes."""


@lru_cache(maxsize=1)
def code_version() -> str:
    """`<package version>+<12 hex digits over every source file>`, equal on machines with equal code."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return f"{version('sam2-data-engine')}+{digest.hexdigest()[:12]}"
