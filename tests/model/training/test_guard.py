"""Clips of evaluation groups stop training."""

from __future__ import annotations

import numpy as np
import pytest

from model.errors import TrainingError
from model.training.clips import Clip, MaskletClips, MixedClips, TrainingVideo
from model.training.guard import GuardedClips, LeakError
from model.training.synthetic import SyntheticClips


def video(name: str, group: str) -> TrainingVideo:
    """Four grey frames with one square that stays where it is."""
    mask = np.zeros((16, 16), dtype=bool)
    mask[4:12, 4:12] = True
    frames = [np.full((16, 16, 3), 90, dtype=np.uint8)] * 4
    return TrainingVideo(name, frames, [dict.fromkeys(range(4), mask)], group)


def draw(source: GuardedClips, index: int) -> Clip:
    return source.clip(index, np.random.default_rng(0), frames=2, objects=1, size=16)


def test_a_clip_of_a_forbidden_group_is_refused_by_name() -> None:
    source = GuardedClips(MaskletClips([video("walk", "anna"), video("dance", "ben")]), {"ben"})
    assert len(source) == 2
    assert draw(source, 0).group == "anna"
    with pytest.raises(LeakError, match=r"dance.*ben"):
        draw(source, 1)


def test_a_leak_is_a_training_error() -> None:
    assert issubclass(LeakError, TrainingError)


def test_the_guard_sees_through_a_mix() -> None:
    mixed = MixedClips([(MaskletClips([video("dance", "ben")]), 1.0)])
    with pytest.raises(LeakError):
        draw(GuardedClips(mixed, ["ben"]), 0)


def test_drawn_clips_have_no_group_and_pass() -> None:
    assert draw(GuardedClips(SyntheticClips(), {"", "ben"}), 0).group == ""


def test_a_guarded_source_draws_the_same_clips() -> None:
    plain = MaskletClips([video("walk", "anna")])
    first = draw(GuardedClips(plain, {"ben"}), 0)
    second = plain.clip(0, np.random.default_rng(0), frames=2, objects=1, size=16)
    assert np.array_equal(first.images, second.images)
