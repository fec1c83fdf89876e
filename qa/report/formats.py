"""Numbers as people read them: few digits, thousands apart, an en dash for what is not known."""

from __future__ import annotations

import math

NOT_AVAILABLE = "–"


def number(value: float | None, digits: int = 1) -> str:
    """`12.3`; `–` for None and NaN.

    >>> number(1234.56), number(None), number(float("nan"))
    ('1,234.6', '–', '–')
    """
    if value is None or math.isnan(value):
        return NOT_AVAILABLE
    text = f"{value:,.{digits}f}"
    return text.replace("-", "−") if float(value) < 0 and text.strip("-0.,") else text.lstrip("-")


def count(value: float | None) -> str:
    """A whole number with thousands apart: `12,345`."""
    return number(value, 0)


def percent(value: float | None, digits: int = 1) -> str:
    """A value of 0–100 with its sign: `93.8 %`."""
    text = number(value, digits)
    return text if text == NOT_AVAILABLE else f"{text} %"


def times(value: float | None) -> str:
    """A factor: `8.4×`."""
    text = number(value, 1)
    return text if text == NOT_AVAILABLE else f"{text}×"


def signed(value: float | None, digits: int = 1) -> str:
    """A difference with its sign: `+1.2`, `−0.4`."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text != NOT_AVAILABLE else text


def duration(seconds: float | None) -> str:
    """Seconds in the unit that suits: `8.3 s`, `4.1 min`, `2.5 h`."""
    if seconds is None or math.isnan(seconds):
        return NOT_AVAILABLE
    if seconds < 120:
        return f"{number(seconds)} s"
    return f"{number(seconds / 60)} min" if seconds < 7200 else f"{number(seconds / 3600)} h"


def short_hash(value: str) -> str:
    """The first eight characters, enough to tell hashes of one home apart."""
    return value[:8] or NOT_AVAILABLE


def plural(value: int, one: str, many: str | None = None) -> str:
    """`1 masklet`, `3 masklets`."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"
