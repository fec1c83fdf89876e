"""Sampling of clips from videos with masklets."""

from __future__ import annotations

import numpy as np
import pytest

from model.errors import TrainingError
from model.training.clips import Augmentation, Clip, MaskletClips, MixedClips, TrainingVideo
from storage.masks import encode

STILL = Augmentation(
    reverse_probability=0,
    flip_probability=0,
    crop_probability=0,
    rotation_deg=0,
    shear_deg=0,
    brightness=0,
    contrast=0,
    saturation=0,
    grey_probability=0,
)


def moving_square(frames: int = 6, size: int = 32) -> TrainingVideo:
    """Frame t has grey level 10 t and a white 8x8 square at column 2 t; from frame 4 on there are two."""
    images = [np.full((size, size, 3), 10 * time, dtype=np.uint8) for time in range(frames)]
    square, late = {}, {}
    for time in range(frames):
        mask = np.zeros((size, size), dtype=bool)
        mask[4:12, 2 * time : 2 * time + 8] = True
        images[time][mask] = 255
        square[time] = encode(mask) if time % 2 else mask
        if time >= 4:
            late[time] = np.roll(mask, 16, axis=0)
    return TrainingVideo("moving", images, [square, late])


def draw(source: MaskletClips, seed: int = 0, *, frames: int = 3, size: int = 32) -> Clip:
    return source.clip(0, np.random.default_rng(seed), frames=frames, objects=3, size=size)


def test_without_augmentation_frames_and_masks_are_those_of_the_video() -> None:
    clip = draw(MaskletClips([moving_square()], STILL))
    start = int(clip.images[0, 31, 31, 0]) // 10
    assert clip.images[:, 31, 31, 0].tolist() == [10 * (start + time) for time in range(3)]
    for time in range(3):
        assert np.array_equal(clip.masks[time, 0], clip.images[time, :, :, 0] == 255)


def test_reversed_clips_run_backwards() -> None:
    clip = draw(
        MaskletClips([moving_square()], Augmentation(**{**as_dict(STILL), "reverse_probability": 1.0}))
    )
    greys = clip.images[:, 31, 31, 0].astype(int).tolist()
    assert greys == sorted(greys, reverse=True)


def as_dict(augmentation: Augmentation) -> dict[str, float]:
    return {name: getattr(augmentation, name) for name in augmentation.__slots__}


def test_objects_show_on_the_first_frame() -> None:
    source = MaskletClips([moving_square()])
    for seed in range(40):
        clip = draw(source, seed)
        assert clip.masks.shape[1] >= 1
        assert clip.masks[0].any(axis=(1, 2)).all()


def test_masks_stay_on_their_object_through_every_augmentation() -> None:
    video = moving_square(size=48)
    source = MaskletClips([video], Augmentation(brightness=0, contrast=0, saturation=0, grey_probability=0))
    for seed in range(30):
        clip = draw(source, seed, size=64)
        if clip.masks.shape[1] > 1:
            continue
        square = clip.masks[:, 0]
        if square.sum() > 200:
            assert clip.images[square].mean() > 225
            assert clip.images[~square].mean() < 130


def test_equal_generators_give_equal_clips() -> None:
    source = MaskletClips([moving_square()])
    first, second = draw(source, 3), draw(source, 3)
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.masks, second.masks)


def test_a_short_video_runs_back_and_forth() -> None:
    clip = draw(MaskletClips([moving_square(frames=3)], STILL), frames=6)
    greys = clip.images[:, 31, 31, 0].astype(int) // 10
    assert len(greys) == 6
    assert set(np.abs(np.diff(greys)).tolist()) == {1}


def test_an_object_smaller_than_a_pixel_of_the_clip_keeps_one() -> None:
    mask = np.zeros((640, 640), dtype=bool)
    mask[301, 303] = True
    frames = [np.zeros((640, 640, 3), dtype=np.uint8)] * 2
    source = MaskletClips([TrainingVideo("dust", frames, [{0: mask, 1: mask}])], STILL)
    clip = draw(source, frames=2, size=32)
    assert clip.masks[0, 0].sum() == 1


def test_a_mix_draws_from_every_source_by_weight() -> None:
    def named(name: str) -> MaskletClips:
        video = moving_square()
        return MaskletClips([TrainingVideo(name, video.frames, video.masklets)])

    mixed = MixedClips([(named("often"), 3.0), (named("seldom"), 1.0)])
    rng = np.random.default_rng(0)
    names = [mixed.clip(0, rng, frames=2, objects=1, size=32).name for _ in range(80)]
    assert 0.6 < names.count("often") / 80 < 0.9


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_a_mix_needs_positive_weights(weight: float) -> None:
    with pytest.raises(TrainingError, match="weight"):
        MixedClips([(MaskletClips([moving_square()]), weight)])


def test_videos_without_objects_are_refused() -> None:
    with pytest.raises(TrainingError, match="nothing has no object"):
        TrainingVideo("nothing", [], [{0: np.zeros((4, 4), dtype=bool)}])
    with pytest.raises(TrainingError, match="no video"):
        MaskletClips([])


def test_a_clip_checks_its_shapes() -> None:
    with pytest.raises(TrainingError, match="do not fit"):
        Clip(np.zeros((2, 4, 4, 3), dtype=np.uint8), np.zeros((2, 1, 4, 5), dtype=bool), "x")
