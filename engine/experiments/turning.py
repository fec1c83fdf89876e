"""Turning rounds of the engine as units of an experiment: homes of their own, and what a closed round found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.experiments.base import ExperimentError, make_home
from engine.experiments.footage import Reel, take_drawn, take_windows
from engine.experiments.units import UnitResult
from engine.home import EngineHome
from engine.machine import advance_round, open_round
from engine.rounds import latest_closed
from engine.samples import Sample
from engine.stages.base import Row, read_parts
from storage.commits import Commit, RoundOpening, list_rounds, make_round_id, read_commit
from storage.manifests import FileRef

ARM_SETTINGS = """
[model]
checkpoint = "{checkpoint}"
threads = 1

[round]
videos = {videos}
objects_per_video = {objects}
control_objects = 0
seed = {seed}

[auto]
videos = {mined}
max_masklets_per_video = {mined_masklets}
failure_share = 0.0

[grid]
max_masklets = {mined_masklets}

[retrain]
enabled = {retrains}
steps = {steps}
clips_per_step = {clips}
image_size = {lesson_size}
save_every = {save_every}
processes = 0

[evaluate]
protocols = ["mask", "3-click"]
retention_clips = {retention}
online_objects = {timed}
"""


@dataclass(frozen=True, slots=True)
class ArmHome:
    """A home in which rounds are turned: its settings and its videos.

    videos, objects: planned by each round. drawn: videos to annotate, as the reel says; colonies: more of them, with
    colonies. evaluated: drawn videos that are kept for the gate; with them the CHO movie, if there are samples. mined:
    videos mined by a round of phase 3. steps, clips, lesson_size: of a retraining. retention: drawn clips of the
    retention set. timed: objects of each set whose correction the gate times.
    """

    path: Path
    checkpoint: str
    videos: int
    objects: int
    drawn: int
    reel: Reel
    frames: int
    seed: int = 0
    colonies: int = 0
    evaluated: int = 0
    mined: int = 1
    mined_masklets: int = 8
    retrains: bool = True
    steps: int = 1
    clips: int = 1
    lesson_size: int = 128
    retention: int = 4
    timed: int = 4

    def open(self, samples: Sequence[Sample]) -> EngineHome:
        """The home with its videos, made where it is not there yet."""
        home = make_home(self.path, self._settings())
        take_drawn(home, "annotate", self.drawn, self.reel)
        take_drawn(home, "annotate", self.colonies, self.reel.of_colonies)
        take_windows(home, [sample for sample in samples if sample.split == "train"], frames=self.frames)
        if self.evaluated:
            take_drawn(home, "evaluate", self.evaluated, self.reel)
            take_windows(home, [sample for sample in samples if sample.split == "eval"], frames=self.frames)
        return home

    def _settings(self) -> str:
        return ARM_SETTINGS.format(
            checkpoint=self.checkpoint,
            videos=self.videos,
            objects=self.objects,
            seed=self.seed,
            mined=self.mined,
            mined_masklets=self.mined_masklets,
            retrains=str(self.retrains).lower(),
            steps=self.steps,
            clips=self.clips,
            lesson_size=self.lesson_size,
            save_every=max(1, min(25, self.steps)),
            retention=self.retention,
            timed=self.timed,
        )


def turn_round(home: EngineHome, number: int, phase: int) -> str:
    """Take round `number` of the home to its end, wherever it was left; its id.

    Raises ExperimentError if the round before it is not closed.
    """
    round_id = make_round_id(number, phase)
    if read_commit(home.store, round_id, "close") is not None:
        return round_id
    before = latest_closed(home)
    if (before.opening.number if before else 0) != number - 1:
        raise ExperimentError(
            f"Round {number} of {home.path} comes after round {number - 1}, which is not closed."
        )
    outcome = advance_round(home, open_round(home, phase=phase).round_id)
    if outcome.state not in ("done", "skipped"):
        raise ExperimentError(f"Round {round_id} of {home.path} did not end: {outcome.message}.")
    return round_id


def round_result(home: EngineHome, round_id: str, *, evaluated: bool = True) -> UnitResult:
    """What a closed round cost and gave, by video, and how good its models are."""
    opening = next(one for one in list_rounds(home.store) if one.round_id == round_id)
    commits = {
        stage: _commit(home, round_id, stage) for stage in ("plan", "annotate", "verify", "auto", "dataset")
    }
    dataset = _rows(home, commits["dataset"], "dataset")
    values: dict[str, Any] = {
        "round_id": round_id,
        "phase": opening.phase,
        "videos": _by_video(home, commits, [row for row in dataset if row["round_id"] == round_id]),
        "data": _composition(dataset),
        "weights_before": opening.checkpoint_hash,
        "weights_after": str(_commit(home, round_id, "close").summary["checkpoint_hash_end"]),
        "promoted": int(_commit(home, round_id, "close").summary["promoted"]),
    }
    if evaluated:
        values["scores"] = _scores(home, opening)
    return UnitResult(
        values=values,
        files=tuple(ref for ref in commits["dataset"].files if ref.schema == "dataset"),
        measured=_measured(home, round_id),
    )


def dataset_rows(home: EngineHome, files: Sequence[FileRef]) -> list[Row]:
    """Rows of a data set version."""
    return list(read_parts(home, files, "dataset").to_pylist())


def _by_video(
    home: EngineHome, commits: Mapping[str, Commit], accepted: Sequence[Row]
) -> dict[str, dict[str, Any]]:
    """By name of the video: seconds of people by what they did, and masklets planned and accepted."""
    videos: dict[str, dict[str, Any]] = {}
    of_masklet = {row["masklet_id"]: row["video_id"] for row in _rows(home, commits["plan"], "plan")}
    of_masklet |= {
        row["masklet_id"]: row["video_id"] for row in _rows(home, commits["auto"], "auto_masklets")
    }
    by_id = {video.video_id: video.name for video in home.library.videos()}

    def of(video_id: str) -> dict[str, Any]:
        seconds = dict.fromkeys(("select_s", "annotate_s", "verify_s", "mined_verify_s"), 0.0)
        return videos.setdefault(
            by_id[video_id], {**seconds, "planned": 0, "manual": 0, "auto": 0, "frames": 0}
        )

    for row in _rows(home, commits["plan"], "plan"):
        of(row["video_id"])["planned"] += 1
    for row in _rows(home, commits["annotate"], "effort"):
        of(of_masklet.get(row["masklet_id"]) or _selected_video(row))[_WORK[row["role"]]] += row["duration_s"]
    for row in _rows(home, commits["auto"], "effort"):
        found = of(of_masklet[row["masklet_id"]])
        found[_WORK[row["role"]]] += row["duration_s"]
        found["mined_verify_s"] += row["duration_s"]
    frames: dict[str, set[int]] = {}
    for row in _rows(home, commits["annotate"], "annotations"):
        frames.setdefault(row["masklet_id"], set()).add(row["frame"])
    for name, seen in frames.items():
        of(of_masklet[name])["frames"] += len(seen)
    for row in accepted:
        of(row["video_id"])["manual" if row["origin"] == "manual" else "auto"] += 1
    return {name: _rounded(values) for name, values in sorted(videos.items())}


_WORK = {"selector": "select_s", "annotator": "annotate_s", "verifier": "verify_s"}


def _selected_video(row: Row) -> str:
    """A selector's act belongs to no masklet; its id is `<round>-<video id>-select-<number>`."""
    parts = str(row["event_id"]).split("-")
    return parts[2] if len(parts) > 3 and "select" in parts else ""


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()}


def _composition(rows: Sequence[Row]) -> dict[str, int]:
    """Masklets of the data set by phase, mined ones apart."""
    counts: dict[str, int] = {}
    for row in rows:
        name = "auto" if row["origin"] == "auto" else f"phase-{row['phase']}"
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _scores(home: EngineHome, opening: RoundOpening) -> list[dict[str, Any]]:
    """J&F of every object of the frozen set by role and protocol; neither the retention set nor timed corrections."""
    videos = {video.video_id: video.name for video in home.library.videos()}
    rows = _rows(home, _commit(home, opening.round_id, "evaluate"), "metrics")
    return [
        {
            "role": row["role"],
            "protocol": row["protocol"],
            "video": videos[row["video_id"]],
            "object_id": row["object_id"],
            "jf": round(row["jf"], 6),
        }
        for row in rows
        if row["object_id"] >= 0 and row["suite"] is None and row["seconds"] is None
    ]


def _measured(home: EngineHome, round_id: str) -> dict[str, float]:
    """Seconds by the clock of every stage."""
    seconds = home.catalog.stage_seconds(round_id)
    return {f"{stage}_s": round(value, 1) for stage, value in sorted(seconds.items())}


def _commit(home: EngineHome, round_id: str, stage: str) -> Commit:
    commit = read_commit(home.store, round_id, stage)
    if commit is None:
        raise ExperimentError(
            f"Round {round_id} of {home.path} has no commit of {stage}. Run `engine doctor`."
        )
    return commit


def _rows(home: EngineHome, commit: Commit, schema: str) -> list[Row]:
    return list(read_parts(home, commit.files, schema).to_pylist())
