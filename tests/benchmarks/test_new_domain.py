"""The benchmark of a new domain: scores before and after training, and its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.new_domain.__main__ import Adapted, adapt
from model.files.checkpoints import checkpoint_hash, default_checkpoint
from model.training.clips import TrainingVideo
from model.training.synthetic import SyntheticClips
from qa.evaluation import EvaluationVideo


def test_both_weights_are_scored_on_what_was_kept_back(tmp_path: Path):
    source = SyntheticClips(cells=1.0)
    shown, kept = (
        source.clip(seed, np.random.default_rng(seed), frames=3, objects=2, size=64) for seed in (1, 2)
    )
    video = TrainingVideo("shown", list(shown.images), list(shown.masklets().values()))
    held = EvaluationVideo.from_clip("kept", kept)
    found = adapt(default_checkpoint(), [video], [held], out_dir=tmp_path, steps=1)
    assert found.steps == 1
    assert 1 <= found.objects <= kept.masks.shape[1]  # one that is gone at once has nothing to score
    assert set(found.before) == set(found.after) == {"mask", "3-click", "1-click"}
    assert set(found.baselines) == {"copy-first-mask", "nearest-colour"}
    assert checkpoint_hash(tmp_path / "checkpoint.safetensors") != checkpoint_hash(default_checkpoint())


def test_the_table_tells_what_was_gained():
    found = Adapted(
        {"mask": 45.0},
        {"mask": 52.5},
        {"copy-first-mask": 47.7},
        objects=16,
        steps=300,
        seconds=179.6,
        cpu_s=179.0,
    )
    assert found.markdown().splitlines() == [
        "| J&F of 16 objects | before | after 180 s | gain |",
        "|---|---|---|---|",
        "| mask | 45.0 | 52.5 | +7.5 |",
        "| copy-first-mask | 47.7 | | |",
    ]
