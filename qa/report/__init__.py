"""Reports: one self-contained HTML file a round, and one for all rounds of a home."""

from __future__ import annotations

from qa.report.data import (
    SIMULATED,
    SIMULATED_NOTICE,
    VIDEO_COLUMNS,
    ExtraFilmstrip,
    Frame,
    FrameLoader,
    GateOutcome,
    RoundReportData,
    RunReportData,
    empty_table,
    empty_videos,
)
from qa.report.html import render_round, render_run

__all__ = [
    "SIMULATED",
    "SIMULATED_NOTICE",
    "VIDEO_COLUMNS",
    "ExtraFilmstrip",
    "Frame",
    "FrameLoader",
    "GateOutcome",
    "RoundReportData",
    "RunReportData",
    "empty_table",
    "empty_videos",
    "render_round",
    "render_run",
]
