"""Reading what stands on a page, and writing what we put there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from annotation.errors import PageError
from annotation.pages.bitmask import encode_bitmask
from annotation.pages.marks import (
    BoxPrompt,
    ClickPrompt,
    CommandPrompt,
    Typed,
    command_region,
    mask_region,
    read_marks,
    read_prompt,
    says_region,
    taken_region,
    visibility_region,
)
from annotation.pages.views import PageView
from model.prompts import Box
from tests.annotation.pages.pages import SMALL, VIEW, click, disc, region, text

LEFT, RIGHT = disc(x=0.3), disc(x=0.7)


def brushed(mask, *, page=0, id="m", labels=("object",)) -> dict:
    value = {"imageDataURL": encode_bitmask(mask), "bitmasklabels": list(labels)}
    return region("bitmasklabels", "mask", value, page=page, id=id)


def rectangle(x, y, width, height, *, page=0, id="b", **more) -> dict:
    return region(
        "rectangle", "box", {"x": x, "y": y, "width": width, "height": height, **more}, page=page, id=id
    )


def test_everything_on_the_pages_is_read():
    page = [
        brushed(LEFT, page=1, id="f00001"),
        region("choices", "visibility", {"choices": ["absent"]}, page=2, id="v"),
        region("choices", "visibility", {"choices": []}, page=3, id="w"),
        text("cmd", ["p", "pp"], page=1, id="c"),
        text("says", ["6 frames changed"], page=1, id="s00001"),
        click(5, 5, page=3, id="stray"),
    ]
    marks = read_marks(json.loads(json.dumps(page)), VIEW)
    assert (marks.mask(1, VIEW) == LEFT).all() and marks.mask(0, VIEW) is None
    assert marks.visibility == {2: "absent"}
    assert marks.commands == (Typed("c", 1, "p"), Typed("c", 1, "pp"))
    assert marks.typed(1) == ("p", "pp") and marks.typed(0) == ()
    assert marks.says == {1: "6 frames changed"}
    assert marks.ids == {"f00001", "v", "w", "c", "s00001", "stray"}


def test_several_regions_of_a_page_are_one_mask():
    marks = read_marks([brushed(LEFT, id="a"), brushed(RIGHT, id="b")], VIEW)
    assert (marks.mask(0, VIEW) == LEFT | RIGHT).all()
    assert len(marks.masks[0]) == 2


def test_pictures_without_end_are_not_unpacked():
    marks = read_marks([brushed(LEFT, id=f"stroke-{number}") for number in range(201)], VIEW)
    with pytest.raises(PageError, match="Page 1 holds 201 masks"):
        marks.mask(0, VIEW)


def test_a_digest_changes_with_the_picture_and_nothing_else():
    one = read_marks([brushed(LEFT, id="a"), click(5, 5)], VIEW)
    same = read_marks([brushed(LEFT, id="z"), text("cmd", ["p"])], VIEW)
    other = read_marks([brushed(RIGHT, id="a")], VIEW)
    both = read_marks([brushed(LEFT, id="a"), brushed(RIGHT, id="b")], VIEW)
    assert one.digest(0) == same.digest(0) != ""
    assert len({one.digest(0), other.digest(0), both.digest(0), one.digest(1)}) == 4
    assert one.digest(1) == ""


def test_reading_marks_unpacks_no_picture():
    broken = region("bitmasklabels", "mask", {"imageDataURL": "data:x", "bitmasklabels": ["object"]}, page=2)
    marks = read_marks([broken], VIEW)
    assert marks.digest(2)
    with pytest.raises(PageError, match="Page 3"):
        marks.mask(2, VIEW)


def test_what_we_write_we_read():
    regions = [
        mask_region(2, LEFT, VIEW, score=0.93),
        mask_region(3, np.zeros_like(LEFT), VIEW),
        says_region(2, "busy, click again"),
        command_region("c", 1, ["p"]),
        command_region("d", 2),
        visibility_region(3, "occluded"),
    ]
    marks = read_marks(json.loads(json.dumps(regions)), VIEW)
    assert [entry["id"] for entry in regions] == ["f00002", "f00003", "s00002", "c", "d", "v00003"]
    assert (marks.mask(2, VIEW) == LEFT).all() and not marks.mask(3, VIEW).any()
    assert marks.says == {2: "busy, click again"}
    assert marks.commands == (Typed("c", 1, "p"),)
    assert marks.visibility == {3: "occluded"}
    assert regions[0]["score"] == 0.93 and "score" not in regions[1]


def test_masks_for_a_page_have_its_size():
    for wrong in (np.zeros((48, 63), bool), np.zeros((96, 128), bool)):
        with pytest.raises(PageError, match="page 3"):
            mask_region(2, wrong, VIEW)
    with pytest.raises(PageError, match="Page 4"):
        mask_region(4, LEFT, VIEW)
    assert taken_region(0, 0, LEFT, VIEW)["readonly"] is True


def test_shadows_of_clicks_and_texts_are_no_masks():
    """While a label is selected everything gets a second entry under the mask's control."""
    double = region("bitmasklabels", "mask", {"x": 5, "y": 5, "bitmasklabels": ["object"]}, id="k")
    shadow = without(
        region("bitmasklabels", "mask", {"bitmasklabels": ["object"]}, id="s00000"), "original_width"
    )
    said = text("says", ["hello"], id="s00000")
    marks = read_marks(
        [said, without(shadow, "original_height"), double, click(5, 5, id="k"), brushed(LEFT, page=1)], VIEW
    )
    assert marks.masks.keys() == {1}
    assert read_prompt([click(5, 5, id="k"), double], VIEW) == read_prompt([click(5, 5, id="k")], VIEW)


def test_a_mask_drawn_without_a_label_counts():
    value = {"imageDataURL": encode_bitmask(LEFT)}
    assert (read_marks([region("bitmask", "mask", value)], VIEW).mask(0, VIEW) == LEFT).all()
    assert (read_marks([brushed(LEFT, labels=())], VIEW).mask(0, VIEW) == LEFT).all()


def test_a_task_with_one_frame_needs_no_page_numbers():
    view = PageView(frames=(7,), source_height=48, source_width=64, height=48, width=64)
    entry = {key: value for key, value in brushed(LEFT).items() if key != "item_index"}
    assert (read_marks([entry], view).mask(0, view) == LEFT).all()
    with pytest.raises(PageError, match="item_index"):
        read_marks([entry], VIEW)


def without(entry: dict, key: str) -> dict:
    return {name: value for name, value in entry.items() if name != key}


@pytest.mark.parametrize(
    ("result", "named"),
    [
        (None, "list of regions"),
        ([{}] * 20_001, "20001 regions"),
        ({"result": []}, "list of regions"),
        ([5], "Entry 0"),
        ([without(brushed(LEFT), "id")], "Entry 0"),
        ([brushed(LEFT) | {"from_name": None}], "from_name"),
        ([brushed(LEFT) | {"type": ""}], "type"),
        ([brushed(LEFT) | {"value": None}], "'m' has the value None"),
        ([brushed(LEFT) | {"item_index": 4}], "'m' names page 4"),
        ([brushed(LEFT) | {"item_index": -1}], "'m' names page -1"),
        ([brushed(LEFT) | {"item_index": True}], "'m' names page True"),
        ([brushed(LEFT) | {"item_index": "1"}], "'m' names page '1'"),
        ([brushed(LEFT, page=2) | {"original_width": 640}], "'m' on page 3 was made on a frame of 48x640"),
        ([brushed(LEFT) | {"original_height": None}], "'m' on page 1 was made on a frame of None"),
        ([brushed(LEFT) | {"type": "brushlabels"}], "'m' on page 1 is of type 'brushlabels'"),
        ([brushed(LEFT, labels=("dog",))], "'m' on page 1 has the labels"),
        ([brushed(LEFT, labels=(None,))], "'m' on page 1 has bitmasklabels"),
        ([region("bitmasklabels", "mask", {"imageDataURL": "x", "bitmasklabels": None})], "bitmasklabels = None"),
        ([region("bitmasklabels", "mask", {"imageDataURL": None})], "no picture"),
        ([region("bitmask", "mask", {"rle": [1]})], "no picture"),
        ([region("choices", "visibility", {"choices": ["lost"]})], "'a' on page 1 has the choices"),
        ([region("choices", "visibility", {"choices": ["absent", "occluded"]})], "choices"),
        ([region("choices", "visibility", {"choices": "absent"})], "list of texts"),
        ([region("rating", "visibility", {"rating": 4})], "type 'rating'"),
        ([text("cmd", [5])], "'t' on page 1 has text"),  # type: ignore[list-item]
        ([text("cmd", ["x" * 5000])], "characters"),
        ([region("polygon", "shape", {"points": []}, page=3)], "'a' on page 4 was made with the unknown control"),
    ],
)  # fmt: skip
def test_malformed_regions_are_named(result, named):
    with pytest.raises(PageError, match=named):
        read_marks(result, VIEW)


def test_a_click_is_read_in_source_pixels():
    prompt = read_prompt([click(50, 25, page=2, positive=False)], SMALL)
    assert prompt == ClickPrompt("k", 2, 63.5, 23.5, False)


def test_a_click_without_a_sign_is_positive():
    prompt = read_prompt([click(50, 25, positive=None)], VIEW)
    assert isinstance(prompt, ClickPrompt) and prompt.positive


def test_only_the_newest_prompt_counts_wherever_the_others_are():
    request = [click(5, 5, page=1, id="old"), click(10, 10, page=3, id="new"), brushed(LEFT, page=3, id="f")]
    prompt = read_prompt(request, VIEW)
    assert isinstance(prompt, ClickPrompt) and (prompt.region_id, prompt.page) == ("new", 3)


def test_a_request_without_prompts_says_so():
    assert read_prompt([], VIEW) is None
    assert read_prompt([brushed(LEFT)], VIEW) is None
    assert read_prompt([text("cmd", [])], VIEW) is None


@pytest.mark.parametrize(
    ("drawn", "box"),
    [
        (rectangle(25, 25, 50, 50), (32, 24, 96, 72)),
        (rectangle(75, 75, -50, -50), (32, 24, 96, 72)),
        (rectangle(-10, 25, 35, 100), (0, 24, 32, 96)),  # drawn beyond the border
        (rectangle(50, 25, 25, 50, rotation=90), (16, 24, 64, 56)),
        (rectangle(25, 25, 50, 50, rotation=0), (32, 24, 96, 72)),
    ],
)
def test_a_box_is_read_in_source_pixels(drawn, box):
    prompt = read_prompt([drawn], SMALL)
    assert isinstance(prompt, BoxPrompt)
    found = prompt.box
    assert (found.x0, found.y0, found.x1, found.y1) == pytest.approx(box)
    assert isinstance(found, Box)


def test_a_command_comes_with_all_that_stood_on_its_page():
    request = [
        text("says", ["done ·1"], page=2, id="s"),
        text("says", ["else"], page=1),
        text("cmd", ["p", " pp "], page=2),
    ]
    assert read_prompt(request, VIEW) == CommandPrompt("t", 2, "pp", ("p", " pp "), "done ·1")
    assert read_prompt([text("cmd", ["r"])], VIEW) == CommandPrompt("t", 0, "r", ("r",), "")


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (click(float("nan"), 5, page=1), "'k' on page 2 has x = nan"),
        (click(5, float("inf")), "y = inf"),
        (click(5, 500), "'k' on page 1: The place"),
        (click(5, 5) | {"is_positive": "no"}, "is_positive = 'no'"),
        (click(5, 5) | {"value": {"x": "5", "y": 5}}, "x = '5'"),
        (click(5, 5) | {"type": "polygon"}, "type 'polygon'"),
        (rectangle(5, 5, 0, 10), "'b' on page 1 is a box without area"),
        (rectangle(120, 5, 10, 10), "box without area"),
        (rectangle(5, 5, None, 10), "width = None"),
        (rectangle(5, 5, 10, 10, rotation="x"), "rotation"),
        (rectangle(5, 5, 1e308, 1e308, rotation=30), "width = 1e[+]308"),
    ],
)
def test_malformed_prompts_are_named(entry, named):
    with pytest.raises(PageError, match=named):
        read_prompt([entry], VIEW)
