"""Which objects a person chose, and in which frame."""

from __future__ import annotations

from typing import Any

import pytest

from annotation.errors import PageError
from annotation.pages.bitmask import encode_bitmask
from annotation.pages.marks import read_selections, taken_region
from annotation.pages.views import PageView
from annotation.work import Selection
from model.prompts import Box
from tests.annotation.pages.pages import SMALL, VIEW, disc, make_item, region, text

ITEM = make_item("select", wanted=1, name="")  # as the plan asks for selections


def box(x, y, width, height, *, page=0, id="b") -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": ["object"]}
    return region("rectanglelabels", "object", value, page=page, id=id)


def point(x, y, *, page=0, id="p") -> dict[str, Any]:
    return region(
        "keypointlabels",
        "point",
        {"x": x, "y": y, "width": 0.4, "keypointlabels": ["point"]},
        page=page,
        id=id,
    )


def name(words: str, id: str = "b", page: int = 0) -> dict[str, Any]:
    return text("name", [words], id=id, page=page)


def chosen(*regions: dict[str, Any], view=SMALL) -> tuple[Selection, ...]:
    return read_selections(list(regions), view, ITEM)


def test_a_box_with_a_point_and_a_name():
    found = chosen(box(25, 25, 50, 50, page=2), name(" red\n cell ", page=2), point(30, 40, page=2))
    assert found == (Selection(8, pytest.approx(37.9), pytest.approx(37.9), Box(32, 24, 96, 72), "red cell"),)


def test_a_box_alone_is_pointed_at_in_its_middle():
    assert chosen(box(25, 25, 50, 50)) == (Selection(0, 63.5, 47.5, Box(32, 24, 96, 72), "object"),)


def test_a_point_alone_is_an_object_without_a_box():
    assert chosen(point(50, 50, page=1), name("mite", id="p", page=1)) == (
        Selection(4, 63.5, 47.5, None, "mite"),
    )


def test_a_point_on_another_page_or_outside_is_an_object_of_its_own():
    found = chosen(box(25, 25, 50, 50), point(50, 50, page=1, id="p"), point(5, 5, id="q"))
    assert [(each.first_frame, each.box is None) for each in found] == [(0, False), (4, True), (0, True)]


def test_a_point_belongs_to_the_smallest_box_around_it_that_has_none():
    outer, inner = box(0, 0, 100, 100, id="outer"), box(40, 40, 20, 20, id="inner")
    found = chosen(outer, inner, point(50, 50, id="p"), point(51, 50, id="q"), point(52, 50, id="r"))
    assert [each.box and each.box.x1 for each in found] == [128, pytest.approx(76.8), None]
    assert [each.x for each in found] == pytest.approx([0.51 * 128 - 0.5, 63.5, 0.52 * 128 - 0.5])


def test_a_name_given_to_the_point_names_its_box():
    (found,) = chosen(box(25, 25, 50, 50), point(50, 50, id="p"), name("worm", id="p"))
    assert found.name == "worm"


def test_more_than_wanted_are_all_kept_in_the_order_in_which_they_were_drawn():
    found = chosen(box(60, 60, 20, 20, id="z"), point(5, 5, id="y"), box(10, 10, 20, 20, id="a"), view=VIEW)
    assert [each.box is not None and each.box.x0 for each in found] == [
        pytest.approx(38.4),
        False,
        pytest.approx(6.4),
    ]


def test_nothing_chosen_means_nothing_is_worth_it():
    assert chosen() == ()
    assert chosen(taken_region(0, 0, disc(), SMALL)) == ()


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (box(10, 10, 0, 5, page=1), "'b' on page 2 is a box without area"),
        (point(float("nan"), 5), "'p' on page 1 has x"),
        (
            region("bitmasklabels", "taken", {"imageDataURL": encode_bitmask(disc())}, id="mine"),
            "'mine'.*box or a point",
        ),
        (region("polygon", "shape", {}), "no selection"),
    ],
)
def test_what_is_no_selection_is_named(entry, named):
    with pytest.raises(PageError, match=named):
        chosen(entry)


def test_what_the_page_really_sends():
    """Serialised by Label Studio 1.23.2: a taken object, a box with its name, and a point outside of it."""
    size = {
        "original_width": 853,
        "original_height": 480,
        "image_rotation": 0,
        "item_index": 0,
        "to_name": "frames",
    }
    place = {
        "x": 20.026007802340704,
        "y": 20.10484395318596,
        "width": 14.95448634590377,
        "height": 49.91547464239271,
    }
    view = PageView(frames=(0, 5), source_height=540, source_width=960, height=480, width=853)
    taken = {
        "id": "taken000",
        "from_name": "taken",
        "type": "bitmasklabels",
        "origin": "prediction",
        "readonly": True,
    }
    drawn = {"id": "MHZ8sDVelq", "origin": "manual"}
    result = [
        size | taken | {"value": {"imageDataURL": "data:image/png;base64,", "bitmasklabels": ["taken"]}},
        size
        | drawn
        | {"from_name": "object", "type": "rectanglelabels"}
        | {"value": place | {"rotation": 0, "rectanglelabels": ["object"]}},
        size
        | drawn
        | {"from_name": "name", "type": "textarea"}
        | {"value": place | {"rotation": 0, "text": ["boy"]}},
        size
        | {"id": "8jnBNoQtat", "from_name": "point", "type": "keypointlabels", "origin": "manual"}
        | {"value": {"x": 42.0026, "y": 30.0417, "width": 0.26, "keypointlabels": ["point"]}},
    ]
    boy, girl = read_selections(result, view, ITEM)
    assert boy.name == "boy" and boy.box is not None
    assert (boy.box.x0, boy.box.y1) == pytest.approx((192.25, 378.11), abs=0.01)
    assert (girl.name, girl.box, girl.x, girl.y) == (
        "object",
        None,
        pytest.approx(402.72, abs=0.01),
        pytest.approx(161.73, abs=0.01),
    )
