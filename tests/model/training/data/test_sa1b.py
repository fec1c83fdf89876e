"""SA-1B's images: which masks are taken, how many, and damaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.errors import ClipError, TrainingError
from model.training.augment import AUGMENTATIONS
from model.training.data.sa1b import Sa1bFolder
from model.training.data.videos import IndexedClips
from tests.model.training.data.folders import mask_of, sa1b_mask, write_sa1b
from tests.storage.films import number_of


def test_an_image_is_a_video_of_one_frame(tmp_path: Path) -> None:
    video = Sa1bFolder(write_sa1b(tmp_path / "sa_000")).open(0)
    assert (len(video), video.name, video.visible(0)) == (1, "sa_1", [0, 1])
    assert number_of(video.image(0)) == 7
    assert np.array_equal(video.mask(1, 0), mask_of(20, 1))


def test_masks_too_large_or_unstable_are_dropped(tmp_path: Path) -> None:
    large = np.ones((48, 64), dtype=bool)
    large[:4] = False  # 92 % are left
    annotations = [
        sa1b_mask(large),
        sa1b_mask(mask_of(3)),
        sa1b_mask(mask_of(9), stability=0.5),
        sa1b_mask(np.zeros((48, 64), dtype=bool)),
    ]
    root = write_sa1b(tmp_path, annotations=annotations)
    assert len(Sa1bFolder(root).open(0).visible(0)) == 2
    assert len(Sa1bFolder(root, most_area=1.0).open(0).visible(0)) == 3
    stable = Sa1bFolder(root, least_stability=0.9).open(0)
    assert np.array_equal(stable.mask(0, 0), mask_of(3))
    assert len(stable.visible(0)) == 1


def test_at_most_as_many_masks_as_asked_for_at_random(tmp_path: Path) -> None:
    annotations = [sa1b_mask(mask_of(column, row)) for row in range(3) for column in range(50)]
    source = IndexedClips(Sa1bFolder(write_sa1b(tmp_path, annotations=annotations)), AUGMENTATIONS["image"])
    clips = [source.clip(0, np.random.default_rng(seed), frames=1, objects=64, size=64) for seed in range(2)]
    assert [clip.masks.shape for clip in clips] == [(1, 64, 64, 64)] * 2
    assert not np.array_equal(clips[0].masks, clips[1].masks)


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        ([{"area": 3}], r"sa_1.json: annotation 0: it is no mask with 'size'"),
        ([sa1b_mask(mask_of(1)), 7], r"sa_1.json: annotation 1: it is no object with a 'segmentation'"),
        ([{"segmentation": {"size": [4, 4], "counts": "zz"}}], r"sa_1.json: annotation 0: damaged RLE"),
        ([{"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}}], r"the limit is \d+ pixels"),
        ([], r"sa_1 has no object"),
        ({}, r"sa_1.json: there is no list under 'annotations'"),
        ([sa1b_mask(np.ones((4, 4), bool)[:, :3])] * 2, r"sa_1 has no object"),
        ([sa1b_mask(np.eye(4, dtype=bool))], r"sa_1: frames and masks differ in size: .*4x4"),
    ],
)
def test_damaged_annotations_are_named(tmp_path: Path, annotations: Any, why: str) -> None:
    source = IndexedClips(Sa1bFolder(write_sa1b(tmp_path, annotations=annotations)), AUGMENTATIONS["none"])
    with pytest.raises(ClipError, match=why):
        source.clip(0, np.random.default_rng(0), frames=1, objects=4, size=16)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"holds no <image>\.json"):
        Sa1bFolder(tmp_path)
