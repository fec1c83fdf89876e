"""What figures depend on besides the code: the machine and what else it does."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version

from benchmarks.compare.report import processor

__all__ = ["load_average", "machine"]


def load_average() -> float:
    """Processes that wanted a core in the last minute, our own included."""
    return round(os.getloadavg()[0], 2)


def machine(label_studio: str, database: str, browser: str) -> str:
    """The machine, the day and the versions, in a sentence."""
    packages = f"Label Studio {label_studio} on {database}, torch {version('torch')}"
    packages += f", Chromium {browser}" if browser else ""
    packages += f", Python {platform.python_version()}"
    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}; {packages}; {date.today():%-d %B %Y}."
    )
