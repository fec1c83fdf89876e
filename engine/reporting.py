"""Gathers what a report shows from commits, manifests and frames, and writes the HTML files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from engine.errors import RoundError
from engine.home import EngineHome
from engine.settings import Settings
from engine.stages.base import STAGE_NAMES, read_parts
from engine.stages.retrain import work_folder
from engine.status import find_round
from qa.report import (
    ExtraFilmstrip,
    Frame,
    GateOutcome,
    RoundReportData,
    RunReportData,
    render_round,
    render_run,
)
from storage.commits import Commit, RoundOpening, list_rounds, read_commit
from storage.promotions import list_promotions
from storage.videos import Video

RUN_REPORT = "report.html"
MANIFESTS = (
    "plan",
    "prelabels",
    "annotations",
    "effort",
    "verdicts",
    "auto_masklets",
    "dataset",
    "training",
    "metrics",
)
SHOWN_SETTINGS = ("round", "auto", "retrain", "verifier")
FRAME_CACHE = 256
DECISION_FIELDS = ("at", "by", "action", "previous", "checkpoint_hash", "reason", "gate")


def write_reports(
    home: EngineHome, *, round_id: str | None = None, extra: Sequence[ExtraFilmstrip] = ()
) -> list[Path]:
    """Write the report of one round, or of every round and of the run; returns the files.

    Raises RoundError if there is no (such) round.
    """
    openings = [find_round(home, round_id)] if round_id else list_rounds(home.store)
    if not openings:
        raise RoundError("There is no round to report on. Start one: `engine round --phase 1`.")
    rounds = tuple(round_data(home, opening) for opening in openings)
    pages = {f"{data.round_id}.html": render_round(data) for data in rounds}
    if round_id is None:
        pages[RUN_REPORT] = render_run(run_data(home, rounds, extra=extra))
    home.reports.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (home.reports / name).write_text(page, encoding="utf-8")
    return [home.reports / name for name in pages]


def round_data(home: EngineHome, opening: RoundOpening) -> RoundReportData:
    """Everything the report of one round shows; stages that have not run give empty tables."""
    commits = _commits(home, opening)
    tables = {name: _table(home, commits, name) for name in MANIFESTS}
    gate_rows, tables["metrics"] = _apart(tables["metrics"])
    settings = Settings(**opening.settings)
    return RoundReportData(
        round_id=opening.round_id,
        number=opening.number,
        phase=opening.phase,
        seed=opening.seed,
        people="simulated",
        settings=_shown(settings),
        time_model={key: f"{value}" for key, value in settings.model_dump()["time"].items()},
        **tables,
        videos=_videos(home, set(tables["plan"]["video_id"]) | set(tables["auto_masklets"]["video_id"])),
        gate=_gate(commits),
        gate_rows=gate_rows,
        checkpoint_before=opening.checkpoint_hash,
        checkpoint_after=_summary(commits, "close", "checkpoint_hash_end"),
        commits=tuple(commits.values()),
        stage_seconds=home.catalog.stage_seconds(opening.round_id),
        training_speed=_training_speed(home, opening.round_id),
        frame=frame_loader(home),
    )


def run_data(
    home: EngineHome, rounds: tuple[RoundReportData, ...], *, extra: Sequence[ExtraFilmstrip] = ()
) -> RunReportData:
    """Everything the report of the whole run shows."""
    first = rounds[0].metrics
    return RunReportData(
        title=f"Data engine: {home.path.name}",
        rounds=rounds,
        baseline=first[first["role"] == "champion"],
        copy_first_mask=_table(
            home, _commits(home, find_round(home, rounds[0].round_id)), "metrics", role="base"
        ),
        extra_filmstrips=tuple(extra),
        decisions=tuple(
            {name: str(getattr(one, name)) for name in DECISION_FIELDS} for one in list_promotions(home.store)
        ),
    )


def _training_speed(home: EngineHome, round_id: str) -> pd.DataFrame:
    """How fast each training step was, as measured here; empty where the work folder is gone."""
    from model.training.curves import TIMING, read_curve

    folders = sorted(work_folder(home, round_id).glob("*/"), key=lambda folder: folder.stat().st_mtime)
    rows = read_curve(folders[-1]) if folders else []
    return pd.DataFrame(rows, columns=["step", *TIMING])


class _FrameLoader:
    """Frames by (video, source index), with a small cache: filmstrips of one video ask for the same ones."""

    def __init__(self, home: EngineHome) -> None:
        self._home = home
        self._read = lru_cache(maxsize=FRAME_CACHE)(self._load)

    def __call__(self, video_id: str, index: int) -> Frame:
        return self._read(video_id, index)

    def _load(self, video_id: str, index: int) -> Frame:
        library = self._home.library
        return library.frame(library.get(video_id), index)


def frame_loader(home: EngineHome) -> _FrameLoader:
    """(video id, source frame) → uint8 H W 3 RGB."""
    return _FrameLoader(home)


def _commits(home: EngineHome, opening: RoundOpening) -> dict[str, Commit]:
    found = {stage: read_commit(home.store, opening.round_id, stage) for stage in STAGE_NAMES}
    return {stage: commit for stage, commit in found.items() if commit is not None}


def _table(home: EngineHome, commits: dict[str, Commit], name: str, *, role: str = "") -> pd.DataFrame:
    files = [ref for commit in commits.values() for ref in commit.files]
    table = read_parts(home, files, name).to_pandas()
    return table[table["role"] == role] if role else table


def _apart(metrics: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The gate's comparisons, and J&F of models on the frozen evaluation set; the rest is for the gate alone."""
    gate = metrics["role"].isin(["gate", "floor"])
    frozen = metrics["suite"].isna() & metrics["seconds"].isna()
    return metrics[gate], metrics[frozen & ~gate]


def _shown(settings: Settings) -> dict[str, str]:
    values = settings.model_dump(mode="json")
    return {
        f"{section}.{key}": str(value) for section in SHOWN_SETTINGS for key, value in values[section].items()
    }


def _videos(home: EngineHome, video_ids: set[str]) -> pd.DataFrame:
    videos = [home.library.get(video_id) for video_id in sorted(video_ids)]
    return pd.DataFrame([_video_row(video) for video in videos])


def _video_row(video: Video) -> dict[str, object]:
    return {
        "video_id": video.video_id,
        "name": video.name,
        "split": video.split,
        "height": video.height,
        "width": video.width,
        "frame_count": video.frame_count,
        "fps": video.fps,
        "duration_s": video.duration_s,
        "annotated_frames": len(video.annotated_frames),
    }


def _summary(commits: dict[str, Commit], stage: str, key: str) -> str:
    return str(commits[stage].summary.get(key, "")) if stage in commits else ""


def _gate(commits: dict[str, Commit]) -> GateOutcome | None:
    if "evaluate" not in commits:
        return None
    summary = commits["evaluate"].summary
    if not _summary(commits, "retrain", "challenger"):
        return None
    interval = (float(summary["delta_low"]), float(summary["delta_high"])) if "delta_low" in summary else None
    return GateOutcome(
        promote=bool(summary["promote"]),
        reason=str(summary["reason"]),
        delta=float(summary["delta"]) if "delta" in summary else None,
        interval=interval,
        sure=bool(summary.get("sure", 1)),
    )
