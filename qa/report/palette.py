"""Colours that people with the common kinds of colour blindness can tell apart (Okabe and Ito, 2008).

Pictures need RGB numbers, plots CSS variables (`--c0` …), which change in dark mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Rgb = tuple[int, int, int]

OBJECT_COLOURS: tuple[Rgb, ...] = (
    (0, 158, 255),  # Okabe-Ito's sky blue, more saturated so that it stands out on natural pictures
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (120, 94, 240),
    (0, 114, 178),
)

SERIES_COLOURS: tuple[str, ...] = tuple(f"var(--c{index})" for index in range(7))

OUTCOME_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "accepted at first look": "var(--good)",
        "accepted after correction": "var(--c4)",
        "unsatisfactory": "var(--fair)",
        "rejected": "var(--poor)",
    }
)


def object_colour(order: int) -> Rgb:
    """RGB (0–255) of the object in that place of the list; the eight hues repeat."""
    return OBJECT_COLOURS[order % len(OBJECT_COLOURS)]


def series_colour(order: int) -> str:
    """CSS colour of the plot series in that place of the list; the seven hues repeat."""
    return SERIES_COLOURS[order % len(SERIES_COLOURS)]
