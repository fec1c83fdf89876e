"""Two processes under torchrun, or a step worked on in parts, learn what one process learns from the same clips."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.errors import TrainingError
from model.training.curves import read_curve, without_timing
from model.training.distributed import join, training_device
from model.training.trainer import BAD_BATCH_FILE, TrainConfig, TrainResult, train

from .conftest import SquareClips, build_micro
from .lines import RUN, Line, learn

ROOT = Path(__file__).parents[3]
TOLERANCE = 2e-5
"""Of losses and weights, relative: sums of float32 in another order. Weights of SAM are left out: where a gradient is
nothing but rounding (attention's key biases), AdamW makes whole steps of it."""

SAM = TrainConfig(
    steps=4,
    frames=2,
    clips_per_step=2,
    objects=1,
    correction_clicks=1,
    still_share=0.5,
    warmup=1,
    lr=1e-3,
    encoder_lr=1e-3,
)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left."""
    folder = tmp_path_factory.mktemp("ranks")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "tests.model.training.ranks", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def assert_equal_curves(folder: Path, alone: TrainResult) -> None:
    rows = without_timing(read_curve(folder))
    assert len(rows) == len(alone.rows)
    for row, expected in zip(rows, alone.rows, strict=True):
        assert row.pop("split") == expected["split"]
        numbers = {name: value for name, value in expected.items() if name != "split"}
        assert row == pytest.approx(numbers, rel=TOLERANCE, abs=1e-7)


def assert_equal_weights(folder: Path, alone: TrainResult) -> None:
    found, weights = load_file(folder / "checkpoint.safetensors"), load_file(alone.checkpoint)
    for name, value in weights.items():
        torch.testing.assert_close(found[name], value, rtol=TOLERANCE, atol=1e-6, msg=name)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are read from /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_no_thread_of_the_group_is_left_when_the_interpreter_ends(two_ranks: Path, rank: int) -> None:
    threads = (two_ranks / f"threads-{rank}.txt").read_text()
    assert "python" in threads
    assert "gloo" not in threads, "one that frees a tensor after the interpreter's end aborts the process"


@pytest.mark.slow
@pytest.mark.parametrize("run", ["line", "parts"])
def test_two_processes_learn_what_one_learns(two_ranks: Path, tmp_path: Path, run: str) -> None:
    alone = learn(tmp_path, RUN, Line())
    assert_equal_curves(two_ranks / run, alone)
    assert_equal_weights(two_ranks / run, alone)


@pytest.mark.slow
def test_two_processes_train_sam_as_one_does(two_ranks: Path, tmp_path: Path) -> None:
    assert_equal_curves(two_ranks / "sam", train(build_micro(), SquareClips(), SAM, out_dir=tmp_path))


@pytest.mark.slow
def test_a_bad_loss_in_one_process_stops_both_and_is_named_once(two_ranks: Path) -> None:
    errors = [(two_ranks / f"error-{rank}.txt").read_text() for rank in range(2)]
    assert errors[0] == errors[1]
    assert "The loss of step 2 is nan; its clips were step-2-clip-1, step-2-clip-3" in errors[0]
    facts = json.loads((two_ranks / "bad" / BAD_BATCH_FILE).read_text())
    assert facts["clips"] == ["step-2-clip-1", "step-2-clip-3"]


@pytest.mark.parametrize("parts", [2, 4])
def test_a_step_in_parts_is_the_whole_step(tmp_path: Path, parts: int) -> None:
    whole = learn(tmp_path / "whole", RUN, Line())
    learn(tmp_path / "parts", replace(RUN, accumulate=parts), Line())
    assert_equal_curves(tmp_path / "parts", whole)
    assert_equal_weights(tmp_path / "parts", whole)


def test_sam_in_parts_is_the_whole_step(tmp_path: Path) -> None:
    whole = train(build_micro(), SquareClips(), SAM, out_dir=tmp_path / "whole")
    train(build_micro(), SquareClips(), replace(SAM, accumulate=2), out_dir=tmp_path / "parts")
    assert_equal_curves(tmp_path / "parts", whole)


def test_more_parts_than_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="2 clips a step cannot be shared by 3"):
        train(build_micro(), SquareClips(), replace(SAM, accumulate=3, still_share=0.0), out_dir=tmp_path)


def test_several_processes_need_a_device_they_can_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="not on mps"):
        join(torch.device("mps"))


def test_training_goes_to_a_gpu_or_the_processor_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.runtime._is_there", lambda kind: kind in ("cpu", "mps"))
    assert training_device("auto").type == "cpu"
    assert training_device("mps").type == "mps"


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda", "nccl")])
def test_processes_on_gpus_choose_nccl(device: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice alone: no process is started, and no GPU is needed."""
    asked: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.distributed.init_process_group", asked.append)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("atexit.register", lambda function: function)
    ranks = join(torch.device(device))
    assert asked == [backend]
    assert (ranks.rank, ranks.world) == (1, 2)


@pytest.mark.parametrize(("rank", "index"), [("0", 0), ("1", 1)])
def test_each_process_of_a_machine_takes_its_own_gpu(
    rank: str, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[torch.device] = []
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", taken.append)
    assert training_device() == torch.device("cuda", index) == taken[0]


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(TrainingError, match="More processes train on this machine than it has GPUs"):
        training_device()
