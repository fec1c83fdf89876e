"""What augmentation does to frames and masks, one transform at a time."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from model.errors import TrainingError
from model.training.augment import AUGMENTATIONS, Augmentation, ClipColours, frame_clip

NONE, VIDEO, IMAGE = AUGMENTATIONS["none"], AUGMENTATIONS["video"], AUGMENTATIONS["image"]
SIZE = 32


def square(left: int, top: int, side: int = 8, *, size: int = SIZE) -> np.ndarray:
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def picture(mask: np.ndarray) -> np.ndarray:
    return np.repeat(np.where(mask, 255, 20).astype(np.uint8)[:, :, None], 3, axis=2)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def test_the_values_are_sam_2s() -> None:
    """Paper, appendix C.2, tables 13a and 13b."""
    changed = {field.name: getattr(VIDEO, field.name) for field in fields(VIDEO)}
    assert changed == {
        "reverse_probability": 0.5,
        "flip_probability": 0.5,
        "crop_probability": 0,
        "smallest_crop": 3.0,
        "rotation_deg": 25,
        "shear_deg": 20,
        "brightness": 0.1,
        "contrast": 0.03,
        "saturation": 0.03,
        "grey_probability": 0.05,
        "frame_brightness": 0.1,
        "frame_contrast": 0.05,
        "frame_saturation": 0.05,
        "mosaic_probability": 0.0,
        "mosaic_flip_probability": 0.0,
    }
    assert replace(NONE, flip_probability=0.5) == IMAGE


def test_nothing_is_changed_without_augmentation() -> None:
    mask, image = square(3, 5), noise()
    framing, shown = frame_clip([mask], np.random.default_rng(0), SIZE, NONE)
    assert np.array_equal(shown[0], mask)
    assert np.array_equal(framing.image(image), image)
    colours = ClipColours.drawn(np.random.default_rng(0), 2, NONE)
    assert np.array_equal(colours.image(image, 1), image)


def test_a_flip_mirrors_frames_and_masks() -> None:
    mask, image = square(3, 5), noise()
    flip = replace(NONE, flip_probability=1.0)
    framing, shown = frame_clip([mask], np.random.default_rng(0), SIZE, flip)
    assert np.array_equal(shown[0], mask[:, ::-1])
    assert np.array_equal(framing.image(image), image[:, ::-1])


def test_a_turn_keeps_masks_on_their_objects_and_fills_with_the_mean_colour() -> None:
    mask = square(12, 4, side=10)
    turned = 0
    for seed in range(20):
        framing, shown = frame_clip(
            [mask], np.random.default_rng(seed), SIZE, replace(VIDEO, flip_probability=0)
        )
        image = framing.image(picture(mask))
        assert image[shown[0]].mean() > 215
        turned += tuple(image[0, 0]) == (123, 116, 103) or tuple(image[-1, 0]) == (123, 116, 103)
        linear = framing.matrix[:, :2]
        assert abs(np.linalg.det(linear) - 1) < 1e-9  # a turn and a shear keep areas
        angle = np.degrees(np.arctan2(linear[1, 0], linear[0, 0]))
        assert abs(angle) <= 25
        rest = np.linalg.inv([[np.cos(a := np.radians(angle)), -np.sin(a)], [np.sin(a), np.cos(a)]]) @ linear
        assert abs(np.degrees(np.arctan(rest[0, 1]))) <= 20 + 1e-9
        assert np.allclose(linear @ [15.5, 15.5] + framing.matrix[:, 2], [15.5, 15.5])  # about the centre
    assert turned > 10


def test_the_affine_is_dropped_where_an_object_would_vanish_from_the_first_frame() -> None:
    corner, middle = square(0, 0, side=1), square(14, 14)
    kept = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        framing, shown = frame_clip([middle, corner], rng, SIZE, replace(VIDEO, flip_probability=0))
        assert shown.any(axis=(1, 2)).all()
        kept += np.array_equal(framing.matrix, np.eye(2, 3))
    assert 10 < kept < 40  # dropped often, but not where the corner stays inside


def test_frames_are_made_square() -> None:
    mask = np.zeros((20, 40), dtype=bool)
    mask[5:10, 10:30] = True
    _, shown = frame_clip([mask], np.random.default_rng(0), SIZE, NONE)
    rows, columns = np.nonzero(shown[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 15, 8, 23)


def test_a_mosaic_labels_the_objects_of_one_tile() -> None:
    mask, image = square(4, 8), noise()
    mosaic = replace(NONE, mosaic_probability=1.0)
    targets = set()
    for seed in range(20):
        framing, shown = frame_clip([mask], np.random.default_rng(seed), SIZE, mosaic)
        tiled = framing.image(image)
        tiles = [tiled[row : row + 16, column : column + 16] for row in (0, 16) for column in (0, 16)]
        assert all(np.array_equal(tile, tiles[0]) for tile in tiles)
        rows, columns = np.nonzero(shown[0])
        assert shown[0].sum() == 16
        targets.add((int(rows.min() // 16), int(columns.min() // 16)))
        assert (rows.min() % 16, columns.min() % 16) == (4, 2)
        assert np.array_equal(framing.mask(mask), shown[0])
    assert len(targets) == 4


def test_tiles_of_a_mosaic_may_be_flipped() -> None:
    mask = square(0, 0)
    mosaic = replace(NONE, mosaic_probability=1.0, mosaic_flip_probability=1.0)
    framing, shown = frame_clip([mask], np.random.default_rng(0), SIZE, mosaic)
    assert np.nonzero(shown[0])[1].min() % 16 == 12
    assert framing.image(picture(mask))[shown[0]].mean() > 250


def test_a_mosaic_that_would_lose_every_object_is_dropped() -> None:
    mask = square(15, 15, side=1)
    mosaic = replace(NONE, mosaic_probability=1.0)
    for seed in range(8):
        framing, shown = frame_clip([mask], np.random.default_rng(seed), SIZE, mosaic)
        assert shown.any()
        assert np.array_equal(framing.mask(mask), shown[0])


def test_colours_of_a_clip_are_drawn_once_and_those_of_a_frame_each_time() -> None:
    image = noise()
    steady = ClipColours.drawn(np.random.default_rng(1), 3, replace(VIDEO, frame_brightness=0, frame_contrast=0,
                                                                      frame_saturation=0))  # fmt: skip
    frames = [steady.image(image, time) for time in range(3)]
    assert np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], image)
    lively = ClipColours.drawn(np.random.default_rng(1), 3, VIDEO)
    frames = [lively.image(image, time) for time in range(3)]
    assert not np.array_equal(frames[0], frames[1])


def test_colour_factors_stay_within_their_bounds() -> None:
    grey = np.full((4, 4, 3), 100, dtype=np.uint8)
    for seed in range(50):
        only = replace(NONE, brightness=0.1)
        changed = ClipColours.drawn(np.random.default_rng(seed), 1, only).image(grey, 0)
        assert 90 <= changed.min() == changed.max() <= 110
    striped = grey.copy()
    striped[::2] = 200
    strong = ClipColours.drawn(np.random.default_rng(0), 1, replace(NONE, contrast=1.0))
    assert abs(float(strong.image(striped, 0).mean()) - 150) < 1  # contrast keeps the mean


def test_greyness_takes_colour_and_keeps_lightness() -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[:] = (200, 100, 50)
    grey = ClipColours.drawn(np.random.default_rng(0), 1, replace(NONE, grey_probability=1.0)).image(image, 0)
    assert np.unique(grey).tolist() == [124]  # 0.299 R + 0.587 G + 0.114 B


@pytest.mark.parametrize(
    ("name", "value"), [("flip_probability", 1.5), ("rotation_deg", -1), ("brightness", 2), ("shear_deg", 90)]
)
def test_impossible_values_are_refused(name: str, value: float) -> None:
    with pytest.raises(TrainingError, match=f"{name} must be between 0 and"):
        Augmentation(**{name: value})
