"""What a report is made of: the manifests of a round as tables, and how to get at its frames.

Every table is a pandas DataFrame with the columns of the manifest of that name in `storage.schemas`; a
stage that did not run is an empty table, which is also the default. Nothing here is computed: the reports
derive their numbers themselves, with the functions of `qa.effort` and `qa.alignment`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storage.commits import Commit
from storage.schemas import SCHEMAS

Frame = NDArray[np.uint8]
FrameLoader = Callable[[str, int], Frame]
"""(video_id, source frame index) → uint8 H W 3 RGB."""

SIMULATED = "simulated"
SIMULATED_NOTICE = "The annotators and verifiers in this run are simulated; see time model"

SPEED_COLUMNS = ("step", "step_s", "throughput")
"""Of a training step: its number, its seconds, and the objects it learnt from a second."""

VIDEO_COLUMNS = (
    "video_id",
    "name",
    "split",
    "height",
    "width",
    "frame_count",
    "fps",
    "duration_s",
    "annotated_frames",
)


def empty_table(manifest: str) -> pd.DataFrame:
    """The manifest's columns without rows, for a stage that did not run."""
    return SCHEMAS[manifest].empty_table().to_pandas()


def empty_videos() -> pd.DataFrame:
    """A table of videos without rows."""
    return pd.DataFrame({column: [] for column in VIDEO_COLUMNS})


def empty_speed() -> pd.DataFrame:
    """A table of training speed without rows."""
    return pd.DataFrame({column: [] for column in SPEED_COLUMNS})


def _no_frame(video_id: str, frame: int) -> Frame:
    raise LookupError(f"no frame loader was given, so frame {frame} of video {video_id} cannot be shown")


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """Whether the retrained model was promoted, and why.

    delta: challenger minus champion in J&F points; interval: its bootstrap interval (low, high); None:
    unknown. sure: whether chance cannot have decided.
    """

    promote: bool
    reason: str
    delta: float | None = None
    interval: tuple[float, float] | None = None
    sure: bool = True


@dataclass(frozen=True, slots=True)
class RoundReportData:
    """One round. Tables are manifests (see the module); hashes are full and shown shortened.

    people: who annotated, `"simulated"` or the name of the tool. settings: what to show of the settings.
    dataset: the whole data set version after the round. videos: the round's videos, columns
    `VIDEO_COLUMNS` (annotated_frames is their number). gate: None if the round did not retrain. gate_rows: its
    comparisons, rows of the metrics manifest with role gate or floor; metrics holds none of them.
    training_speed: measured, a row a step (`SPEED_COLUMNS`). stage_seconds: measured seconds of machine
    time by stage. time_model: the simulated people's seconds
    by kind of action, in words.
    """

    round_id: str
    number: int
    phase: int
    seed: int
    people: str
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    time_model: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    plan: pd.DataFrame = field(default_factory=partial(empty_table, "plan"))
    prelabels: pd.DataFrame = field(default_factory=partial(empty_table, "prelabels"))
    annotations: pd.DataFrame = field(default_factory=partial(empty_table, "annotations"))
    effort: pd.DataFrame = field(default_factory=partial(empty_table, "effort"))
    verdicts: pd.DataFrame = field(default_factory=partial(empty_table, "verdicts"))
    auto_masklets: pd.DataFrame = field(default_factory=partial(empty_table, "auto_masklets"))
    dataset: pd.DataFrame = field(default_factory=partial(empty_table, "dataset"))
    training: pd.DataFrame = field(default_factory=partial(empty_table, "training"))
    training_speed: pd.DataFrame = field(default_factory=empty_speed)
    metrics: pd.DataFrame = field(default_factory=partial(empty_table, "metrics"))
    videos: pd.DataFrame = field(default_factory=empty_videos)
    gate: GateOutcome | None = None
    gate_rows: pd.DataFrame = field(default_factory=partial(empty_table, "metrics"))
    checkpoint_before: str = ""
    checkpoint_after: str = ""
    commits: tuple[Commit, ...] = ()
    stage_seconds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    frame: FrameLoader = _no_frame

    @property
    def simulated(self) -> bool:
        """Whether the people of this round were simulated."""
        return self.people == SIMULATED

    @property
    def video_names(self) -> dict[str, str]:
        """Name of each video by its id."""
        if not len(self.videos):
            return {}
        return dict(zip(self.videos["video_id"], self.videos["name"], strict=True))

    @property
    def closed(self) -> bool:
        """Whether the round is over."""
        return any(commit.stage == "close" for commit in self.commits)

    @property
    def promoted(self) -> bool:
        """Whether the round put a new model to work."""
        return self.gate is not None and self.gate.promote


@dataclass(frozen=True, slots=True)
class ExtraFilmstrip:
    """Frames and masks that belong to no round, such as automatic masklets of a video without references.

    frames: uint8 H W 3 RGB each; masks: for each frame, object id → bool H W; frame_numbers: source indices.
    """

    title: str
    text: str
    frames: Sequence[Frame]
    masks: Sequence[Mapping[int, NDArray[np.bool_]]]
    frame_numbers: Sequence[int]

    def __post_init__(self) -> None:
        lengths = {len(self.frames), len(self.masks), len(self.frame_numbers)}
        if len(lengths) != 1:
            raise ValueError(f"frames, masks and frame numbers of '{self.title}' differ in length: {lengths}")


@dataclass(frozen=True, slots=True)
class RunReportData:
    """All rounds of a home, in the order they were run.

    baseline: metrics of the model before the first round; copy_first_mask: metrics of copying the first
    frame's mask to every frame. Both have the columns of the metrics manifest, values 0–100. decisions: promotions
    and rollbacks by hand, each with at, by, action, previous, checkpoint_hash, reason and gate.
    """

    title: str
    rounds: tuple[RoundReportData, ...]
    baseline: pd.DataFrame = field(default_factory=partial(empty_table, "metrics"))
    copy_first_mask: pd.DataFrame = field(default_factory=partial(empty_table, "metrics"))
    extra_filmstrips: tuple[ExtraFilmstrip, ...] = ()
    decisions: tuple[Mapping[str, str], ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether the people of any round were simulated."""
        return any(one.simulated for one in self.rounds)
