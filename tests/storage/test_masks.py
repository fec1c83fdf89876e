"""Masks on grids small enough to check by eye, then as properties, then against released files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from storage import masks
from storage.errors import MaskError
from storage.masks import Rle

# name, picture, area, box (x0, y0, x1, y1), runs column by column
PICTURES = [
    ("empty", "....\n....\n....\n....", 0, None, [16]),
    ("full", "####\n####\n####\n####", 16, (0, 0, 4, 4), [0, 16]),
    ("middle", "....\n.##.\n.##.\n....", 4, (1, 1, 3, 3), [5, 2, 2, 2, 5]),
    ("corner", "...#\n....\n....\n....", 1, (3, 0, 4, 1), [12, 1, 3]),
    ("column", ".#..\n.#..\n.#..\n.#..", 4, (1, 0, 2, 4), [4, 4, 8]),
    ("row", "....\n####\n....\n....", 4, (0, 1, 4, 2), [1, 1, 3, 1, 3, 1, 3, 1, 2]),
    ("wraps", "..#.\n..#.\n.#..\n.#..", 4, (1, 0, 3, 4), [6, 4, 6]),
]


def picture(text: str) -> np.ndarray:
    return np.array([[char == "#" for char in line] for line in text.split("\n")])


@pytest.mark.parametrize(("name", "text", "area", "box", "runs"), PICTURES, ids=[row[0] for row in PICTURES])
def test_a_small_mask(name: str, text: str, area: int, box: Any, runs: list[int]):
    mask = picture(text)
    rle = masks.encode(mask)
    assert masks.runs(rle).tolist() == runs
    assert masks.area(rle) == area
    assert masks.box(rle) == box
    assert masks.is_empty(rle) == (area == 0)
    assert masks.decode(rle).tolist() == mask.tolist()
    assert Rle.from_coco(rle.to_coco()) == rle
    assert rle.to_uncompressed() == {"size": [4, 4], "counts": runs}
    assert Rle.from_coco(rle.to_uncompressed()) == rle
    assert Rle.from_coco({"size": [4, 4], "counts": rle.counts.encode()}) == rle


@pytest.mark.parametrize(
    ("first", "second", "iou"),
    [
        ("##..\n##..", "##..\n##..", 1.0),
        ("##..\n##..", "..##\n..##", 0.0),
        ("##..\n##..", ".##.\n.##.", 2 / 6),
        ("####\n####", "##..\n##..", 0.5),
        ("....\n....", "##..\n##..", 0.0),
        ("....\n....", "....\n....", 1.0),
    ],
)
def test_iou_of_small_masks(first: str, second: str, iou: float):
    a, b = masks.encode(picture(first)), masks.encode(picture(second))
    assert masks.iou(a, b) == pytest.approx(iou)
    assert masks.iou(b, a) == pytest.approx(iou)


def test_iou_matrix_is_rows_by_columns():
    left, right = masks.encode(picture("##..")), masks.encode(picture("..##"))
    assert masks.iou_matrix([left, right], [left]).tolist() == [[1.0], [0.0]]
    assert masks.iou_matrix([], [left]).shape == (0, 1)


def test_merge_unites_and_intersects():
    a, b = masks.encode(picture("##..")), masks.encode(picture(".##."))
    assert masks.decode(masks.merge([a, b])).tolist() == picture("###.").tolist()
    assert masks.decode(masks.merge([a, b], intersect=True)).tolist() == picture(".#..").tolist()


def test_integers_are_masks_and_empty_is_background():
    assert masks.encode(np.array([[0, 7]])) == masks.encode(np.array([[False, True]]))
    assert masks.decode(masks.empty(3, 5)).tolist() == np.zeros((3, 5), bool).tolist()
    assert masks.empty(4, 4).to_coco() == {"size": [4, 4], "counts": "`0"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: masks.encode(np.zeros((2, 2, 2), bool)), r"array \[H, W\]"),
        (lambda: masks.encode(np.zeros((0, 3), bool)), "at least one pixel"),
        (lambda: masks.encode(np.zeros((2, 2), np.float32)), "threshold the logits"),
        (lambda: Rle(0, 4, "0"), "at least one pixel"),
        (lambda: Rle(4, 4, ""), "non-empty string"),
        (lambda: masks.decode(Rle(4, 4, "`1")), "fill 48 of 16 pixels"),
        (lambda: masks.decode(Rle(4, 4, "\x01\x02")), "characters"),
        (lambda: masks.decode(Rle(4, 4, "`")), "ending"),
        (lambda: masks.decode(Rle(4, 4, "oooooooooooo0")), "longer than any image"),
        (lambda: masks.area(Rle(5, 5, masks.empty(4, 4).counts)), "fill 16 of 25"),
        (lambda: Rle.from_coco({"size": [4, 4]}), "not a COCO RLE"),
        (lambda: Rle.from_coco({"size": [4], "counts": "`0"}), "not a COCO RLE"),
        (lambda: Rle.from_coco({"size": [4, 4], "counts": [3, -2, 15]}), "run lengths"),
        (lambda: Rle.from_coco({"size": [4, 4], "counts": [3]}), "fill 3 of 4x4"),
        (lambda: Rle.from_coco({"size": [4, 4], "counts": 7}), "run lengths"),
        (lambda: masks.merge([]), "empty list"),
        (lambda: masks.iou(masks.empty(2, 3), masks.empty(3, 2)), r"one size, not \[\(2, 3\), \(3, 2\)\]"),
        (lambda: masks.merge([masks.empty(2, 3), masks.empty(3, 2)]), "one size"),
    ],
)
def test_bad_masks_say_what_is_wrong(make: Any, message: str):
    with pytest.raises(MaskError, match=message):
        make()


RELAXED = settings(deadline=None, max_examples=60)  # a busy machine is no failure
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))


@RELAXED
@given(MASKS)
def test_decoding_undoes_encoding(mask: np.ndarray):
    rle = masks.encode(mask)
    assert (masks.decode(rle) == mask).all()
    assert masks.area(rle) == mask.sum()
    assert masks.runs(rle).sum() == mask.size


@RELAXED
@given(MASKS)
def test_box_is_tight(mask: np.ndarray):
    rows, columns = np.nonzero(mask)
    tight = None
    if len(rows):
        tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert masks.box(masks.encode(mask)) == tight


@RELAXED
@given(MASKS, st.randoms(use_true_random=False))
def test_iou_is_symmetric_and_true(mask: np.ndarray, random: Any):
    other = np.array([random.random() < 0.5 for _ in range(mask.size)]).reshape(mask.shape)
    a, b = masks.encode(mask), masks.encode(other)
    union = (mask | other).sum()
    expected = (mask & other).sum() / union if union else 1.0
    assert masks.iou(a, b) == masks.iou(b, a) == pytest.approx(expected)
    assert masks.iou(a, a) == 1.0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
@RELAXED
@example(np.zeros((1, 1), bool))
@example(np.ones((1, 1), bool))
@example(np.ones((5, 3), bool))
@example(np.zeros((3, 5), bool))
@example(np.eye(6, dtype=bool)[::-2, 1:])  # not contiguous
@given(MASKS)
def test_strings_are_those_of_pycocotools(mask: np.ndarray):
    theirs = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    assert masks.encode(mask).counts == theirs["counts"].decode()
    assert (coco.decode(theirs).astype(bool) == masks.decode(masks.encode(mask))).all()


@RELAXED
@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), min_size=1, max_size=40))
def test_no_string_crashes_the_reader(counts: str):
    try:
        mask = masks.decode(Rle(8, 8, counts))
    except MaskError:
        return
    assert mask.shape == (8, 8)


def test_long_runs_of_a_large_frame():
    mask = np.zeros((2160, 3840), bool)
    mask[1000:1100, 7::500] = True
    assert (masks.decode(masks.encode(mask)) == mask).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("kind", ["manual", "auto"])
def test_released_sav_masks_are_read_pixel_by_pixel(shared_data: Path, kind: str):
    content = json.loads((shared_data / "sav" / f"sav_000001_{kind}.json").read_text())
    for frame in content["masklet"][::20]:
        for value in frame:
            rle = Rle.from_coco(value)
            assert rle.to_coco() == value
            theirs = coco.decode({"size": value["size"], "counts": value["counts"].encode()})
            assert (masks.decode(rle) == theirs.astype(bool)).all()
            assert masks.encode(masks.decode(rle)) == rle
