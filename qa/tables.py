"""Rows of a manifest as a pandas table with its columns checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from qa.errors import MetricError

__all__ = ["Rows", "as_table"]

Rows = pd.DataFrame | Iterable[Mapping[str, Any]]


def as_table(rows: Rows, columns: Sequence[str], *, name: str) -> pd.DataFrame:
    """`rows` as a table that has at least `columns`; without any row it has exactly these.

    Raises MetricError naming the table and the columns it lacks.
    """
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame([dict(row) for row in rows])
    if table.empty:
        return pd.DataFrame({column: [] for column in columns})
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise MetricError(f"the table of {name} lacks the column(s) {', '.join(missing)}")
    return table
