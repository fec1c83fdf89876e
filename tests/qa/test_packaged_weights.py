"""The packaged weights follow drawn things, and understand a click."""

from __future__ import annotations

import numpy as np
import pytest

from model.files.checkpoints import default_checkpoint, load_checkpoint
from model.training.synthetic import SyntheticClips
from qa.baselines import image_miou
from qa.evaluation import EvaluationVideo, evaluate, evaluate_copy


@pytest.mark.slow
def test_packaged_weights_track_better_than_a_copy_of_the_first_mask() -> None:
    model = load_checkpoint(default_checkpoint(), image_size=128)
    drawn = SyntheticClips()
    clips = [
        drawn.clip(index, np.random.default_rng([1_000_003, index]), frames=6, objects=3, size=128)
        for index in range(8)
    ]
    videos = [EvaluationVideo.from_clip(f"{index}-{clip.name}", clip) for index, clip in enumerate(clips)]
    copied, tracked = evaluate_copy(videos)[-1], evaluate(model, videos, protocol="mask")[-1]
    assert tracked.jf > copied.jf + 10
    assert image_miou(model, videos).chosen > 0.35
