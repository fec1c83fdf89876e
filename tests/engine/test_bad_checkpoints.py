"""Planted bad checkpoints, made of the packaged weights, are refused by the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.judging.sets import Judged, online_rows, retention_clips, score
from engine.settings import EvaluateSettings
from model.files.checkpoints import default_checkpoint, load_checkpoint
from model.network.sam2 import Sam2
from model.training.clips import Clip
from model.training.recipe import TrainConfig
from model.training.synthetic import SyntheticClips
from model.training.trainer import train
from model.video.session_config import SessionConfig
from qa.gate import UNCERTAIN, GateConfig, decide
from qa.metric_rows import RETENTION, MetricRow

PLAIN = SessionConfig(fill_hole_area=0)


@dataclass(frozen=True)
class OneClip:
    """Always the same clip of one object."""

    def __len__(self) -> int:
        return 1

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        return SyntheticClips().clip(0, np.random.default_rng(3), frames=frames, objects=1, size=size)


def nano() -> Sam2:
    """The packaged network, at half its size to be quick."""
    torch.set_num_threads(1)
    return load_checkpoint(default_checkpoint(), image_size=128)


@torch.no_grad()
def add_noise(model: Sam2, folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for weights in model.parameters():
        if weights.ndim >= 2:
            weights.add_(0.5 * weights.std() * torch.randn(weights.shape, generator=generator))


@torch.no_grad()
def swap_heads(model: Sam2, folder: Path) -> None:
    """Every mask head gives its numbers to its neighbour's channels."""
    for head in model.sam_mask_decoder.output_hypernetworks_mlps:
        last = [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1]
        last.weight.copy_(last.weight.roll(1, dims=0))
        last.bias.copy_(last.bias.roll(1))


@torch.no_grad()
def empty_memory(model: Sam2, folder: Path) -> None:
    for weights in model.memory_encoder.parameters():
        weights.zero_()


def fit_one_clip(model: Sam2, folder: Path) -> None:
    config = TrainConfig(
        steps=14,
        frames=2,
        objects=1,
        clips_per_step=1,
        lr=1e-3,
        encoder_lr=1e-3,
        warmup=1,
        still_share=0.0,
        correction_clicks=1,
        save_every=100,
    )
    train(model, OneClip(), config, out_dir=folder)


@pytest.fixture(scope="module")
def judged() -> list[Judged]:
    """Four clips in the place of the evaluation set, and one for retention."""
    clips = retention_clips(5)
    return [Judged("", clips[1:]), Judged(RETENTION, clips[:1])]


def scores(model: Sam2, judged: list[Judged]) -> list[MetricRow]:
    settings = EvaluateSettings(protocols=("1-click",), online_objects=0)
    return [row for one in judged for row in score(model, one, settings, session_config=PLAIN)]


@pytest.fixture(scope="module")
def champion(judged: list[Judged]) -> list[MetricRow]:
    return scores(nano(), judged)


@pytest.mark.parametrize("spoil", [add_noise, swap_heads, empty_memory, fit_one_clip])
def test_a_bad_checkpoint_is_refused(
    spoil: Callable[[Sam2, Path], None],
    champion: list[MetricRow],
    judged: list[Judged],
    tmp_path: Path,
) -> None:
    """Under every setting of what chance may decide."""
    model = nano()
    spoil(model, tmp_path)
    spoilt = scores(model.eval(), judged)
    for uncertain in UNCERTAIN:
        decision = decide(champion, spoilt, GateConfig(uncertain=uncertain), primary="1-click")
        assert not decision.promote, decision.reason
        assert decision.delta is not None and decision.delta < -5, decision.reason


def test_the_same_weights_pass(champion: list[MetricRow]) -> None:
    assert decide(champion, champion, primary="1-click").promote
    refuse = GateConfig(uncertain="refuse")
    frozen = [row for row in champion if not row.suite]
    assert decide(frozen, frozen, refuse, primary="1-click").promote
    doubtful = decide(champion, champion, refuse, primary="1-click")  # two objects are too few to be sure
    assert [(one.suite, one.passed) for one in doubtful.criteria] == [("", True), (RETENTION, False)]


def test_seconds_are_told_for_some_objects(judged: list[Judged]) -> None:
    rows = online_rows(nano(), judged[0].videos, 2, session_config=PLAIN)
    assert len(rows) == 2
    assert all(row.protocol == "online" and row.seconds is not None and row.seconds > 6 for row in rows)


def test_retention_clips_are_always_the_same() -> None:
    first, again = retention_clips(2), retention_clips(3)
    assert [clip.video_id for clip in again] == ["drawn-00", "drawn-01", "drawn-02"]
    assert np.array_equal(first[1].frames[2], again[1].frames[2])
    assert first[1].truth == again[1].truth
