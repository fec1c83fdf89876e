"""The loop on the smallest network: what it records, what it refuses, and when it stops."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.errors import TrainingError
from model.training.curves import METRICS_FILE
from model.training.objective import ClipSteps, SegmentObjective, Share, StepSource
from model.training.state import States
from model.training.trainer import BAD_BATCH_FILE, Row, TrainConfig

from .conftest import SquareClips, build_micro
from .lines import RUN, Line, learn


def test_a_loss_that_is_no_number_stops_with_its_clips_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"The loss of step 3 is nan; its clips were step-3-clip-0, step-3"
    ):
        learn(tmp_path, line=Line(bad="step-3-clip-2"))
    facts = json.loads((tmp_path / BAD_BATCH_FILE).read_text())
    names = [f"step-3-clip-{clip}" for clip in range(4)]
    assert facts == {"step": 3, "what": "loss", "value": "nan", "clips": names}
    assert [saved.step for saved in States(tmp_path, keep=2).saved()] == [2]
    learn(tmp_path, line=Line(bad="none now"))
    assert not (tmp_path / BAD_BATCH_FILE).exists()


def test_only_the_part_whose_loss_is_no_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"its clips were step-3-clip-2 \("):
        learn(tmp_path, replace(RUN, accumulate=4), line=Line(bad="step-3-clip-2"))


def test_a_gradient_that_is_no_number_stops_before_a_state_is_spoilt(tmp_path: Path) -> None:
    line = Line()

    def poison(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * math.inf

    line.network.heads[1].weight.register_hook(poison)  # the head of odd steps
    with pytest.raises(TrainingError, match="The gradient of step 1 is"):
        learn(tmp_path, replace(RUN, save_every=1), line=line)
    assert [saved.step for saved in States(tmp_path, keep=2).saved()] == [1]


def test_averaged_weights_are_what_is_kept(tmp_path: Path) -> None:
    line = Line()
    result = learn(tmp_path, line=line)
    newest = States(tmp_path, keep=1).newest()
    assert newest is not None
    written, raw = load_file(result.checkpoint)["body.0.weight"], newest["network"]["body.0.weight"]
    torch.testing.assert_close(line.network.state_dict()["body.0.weight"], written)
    assert not torch.equal(written, raw)


def test_progress_tells_pace_and_time_left_and_the_curve_keeps_the_pace(tmp_path: Path) -> None:
    told: list[Row] = []
    result = learn(tmp_path, progress=told.append)
    assert [row["eta_s"] > 0 for row in told] == [True] * 4 + [False]
    assert all(row["step_s"] > 0 and row["throughput"] > 0 for row in told)
    columns = pq.read_table(tmp_path / METRICS_FILE).column_names
    assert {"step_s", "throughput", "loss_square"} <= set(columns)
    assert set(result.rows[0]) == {"step", "split", "loss", "loss_square", "lr", "grad_norm"}


def test_tensorboard_shows_every_number_once_though_the_run_was_cut(tmp_path: Path) -> None:
    def cut(row: Row) -> None:
        if row["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path, tensorboard=True, progress=cut)
    result = learn(tmp_path, tensorboard=True)
    learn(tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    seen = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert seen == [(row["step"], pytest.approx(row["loss"])) for row in result.rows]
    assert {"train/lr", "train/throughput", "train/loss_square"} <= set(events.Tags()["scalars"])


def test_tensorboard_that_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match="pip install tensorboard"):
        learn(tmp_path, tensorboard=True)


def test_bfloat16_is_for_gpus(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="bfloat16 needs CUDA"):
        learn(tmp_path, replace(RUN, precision="bfloat16"))


SHARED = TrainConfig(frames=2, clips_per_step=4, objects=1, still_share=0.5, replay_share=0.5, mode="masks")


def steps(**options: Any) -> ClipSteps:
    return ClipSteps(SquareClips(), SHARED, size=64, **options)


@pytest.mark.parametrize("count", [2, 4])
def test_shares_of_a_step_are_the_clips_of_the_whole(count: int) -> None:
    source = steps(replay=SquareClips())
    objective = SegmentObjective(build_micro(), source, SHARED)
    for step in range(4):
        whole = objective.draw(step)
        for index in range(count):
            part = objective.draw(step, Share(index, count))
            assert part.names == whole.names[index::count]
            assert part.seeds == whole.seeds[index::count]
            assert torch.equal(part.images, whole.images[:, index::count])


def test_kinds_of_steps_come_as_often_as_asked() -> None:
    source = steps(replay=SquareClips())
    replayed = [source.mode(step) == "all" for step in range(2000)]
    still = [kind for kind in (source._kind(step)[1] for step in range(2000)) if kind]
    assert np.mean(replayed) == pytest.approx(0.5, abs=0.05)
    assert len(still) / 2000 == pytest.approx(0.25, abs=0.04)  # half of the replayed ones; masks need clips
    assert isinstance(source, StepSource)
    assert {steps().mode(step) for step in range(50)} == {"masks"}


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_lowered_arithmetic_trains_sam_with_losses_in_full_precision(step: int) -> None:
    """What CUDA does by itself is tried on the processor."""
    config = replace(SHARED, mode="all", clips_per_step=1, correction_clicks=1)
    objective = SegmentObjective(build_micro(), ClipSteps(SquareClips(), config, size=64), config)
    batch = objective.draw(step)
    exact = objective.losses(batch, step)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = objective.losses(batch, step)
    lowered.total.backward()  # type: ignore[no-untyped-call]
    assert {part.dtype for part in lowered.parts.values()} == {torch.float32}
    assert float(lowered.total.detach()) == pytest.approx(float(exact.total.detach()), rel=0.1)
