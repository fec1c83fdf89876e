"""Tables for looking things up: plan, videos, settings, files."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from qa.report import formats
from qa.report.data import RoundReportData
from qa.report.table import Cell, Column, Table, code


def plan_table(data: RoundReportData) -> Table:
    """The objects the round set out to annotate."""
    names = data.video_names
    columns = (
        Column("Masklet", numeric=False),
        Column("Video", numeric=False),
        Column("Object", numeric=False),
        Column("Why", numeric=False),
        Column("First frame"),
        Column("At x, y", "px"),
    )
    rows = tuple(
        (
            code(str(row["masklet_id"])),
            str(names.get(row["video_id"], row["video_id"])),
            str(row["name"] or row["object_id"]),
            _REASONS.get(str(row["reason"]), str(row["reason"])),
            formats.count(row["first_frame"]),
            f"{formats.count(row['x'])}, {formats.count(row['y'])}",
        )
        for row in data.plan.to_dict("records")
    )
    return Table(columns, rows)


_REASONS = {
    "selected": "selected",
    "failed_auto": "failed automatic masklet",
    "control": "control: compared with phase 1",
}


def videos_table(videos: pd.DataFrame) -> Table:
    """The videos, with their size and length."""
    columns = (
        Column("Video", numeric=False),
        Column("Id", numeric=False),
        Column("Split", numeric=False),
        Column("Size", "px"),
        Column("Rate", "fps"),
        Column("Length", "s"),
        Column("Frames"),
        Column("Annotated frames"),
    )
    return Table(columns, tuple(_video_row(row) for row in videos.to_dict("records")))


def _video_row(row: dict[object, object]) -> tuple[Cell, ...]:
    annotated = row["annotated_frames"]
    amount = len(annotated) if isinstance(annotated, list | tuple) else float(str(annotated))
    return (
        str(row["name"]),
        code(str(row["video_id"])),
        str(row["split"]),
        f"{row['width']}×{row['height']}",
        formats.number(float(str(row["fps"])), 2),
        formats.number(float(str(row["duration_s"]))),
        formats.count(float(str(row["frame_count"]))),
        formats.count(amount),
    )


def pairs_table(values: Mapping[str, str]) -> Table:
    """Names and their values."""
    columns = (Column("Setting", numeric=False), Column("Value", numeric=False))
    return Table(columns, tuple(values.items()))


def commits_table(data: RoundReportData) -> Table:
    """Every file of the round with its rows and hash."""
    columns = (
        Column("Stage", numeric=False),
        Column("File", numeric=False),
        Column("Rows"),
        Column("SHA-256", numeric=False),
    )
    rows = tuple(
        (commit.stage, file.name, formats.count(file.rows), code(formats.short_hash(file.sha256)))
        for commit in data.commits
        for file in commit.files
    )
    return Table(columns, rows)
