"""How videos are cut and scaled into tasks, and that what was painted comes back as it was painted."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from annotation.errors import AnnotationError, PageError
from annotation.pages.views import PageView, TaskLimits, plan_views
from tests.annotation.pages.pages import RELAXED, SMALL, VIEW

SIDES = st.integers(1, 24)


@st.composite
def views(draw):
    height, width = draw(SIDES), draw(SIDES)
    return PageView(
        frames=(0,),
        source_height=height,
        source_width=width,
        height=draw(st.integers(1, height)),
        width=draw(st.integers(1, width)),
    )


def masks(height: int, width: int):
    return arrays.arrays(np.bool_, (height, width))


@RELAXED
@given(st.data(), views())
def test_what_was_painted_is_shown_again_exactly(data, view):
    painted = data.draw(masks(view.height, view.width))
    assert (view.shown(view.source(painted)) == painted).all()


@RELAXED
@given(st.data(), views())
def test_it_is_so_when_a_mask_was_there_before(data, view):
    before = data.draw(masks(view.source_height, view.source_width))
    painted = data.draw(masks(view.height, view.width))
    assert (view.shown(view.source(painted, base=before)) == painted).all()


@RELAXED
@given(st.data(), views())
def test_a_mask_that_nobody_touched_stays_as_it_was(data, view):
    before = data.draw(masks(view.source_height, view.source_width))
    again = view.source(view.shown(before), base=before)
    if before.any() and view.shown(before).any() and _sampled(before, view).any():
        assert (again == before).all()
    assert (view.shown(again) == view.shown(before)).all()


def _sampled(mask, view):
    rows = ((2 * np.arange(view.height) + 1) * view.source_height) // (2 * view.height)
    columns = ((2 * np.arange(view.width) + 1) * view.source_width) // (2 * view.width)
    return mask[np.ix_(rows, columns)]


@RELAXED
@given(st.data(), views())
def test_what_is_there_is_seen_and_what_is_not_is_not(data, view):
    mask = data.draw(masks(view.source_height, view.source_width))
    assert view.shown(mask).any() == mask.any()


@RELAXED
@given(st.data(), SIDES, SIDES)
def test_frames_in_their_own_size_lose_nothing(data, height, width):
    view = PageView(frames=(0,), source_height=height, source_width=width, height=height, width=width)
    mask = data.draw(masks(height, width))
    assert (view.shown(mask) == mask).all()
    assert (view.source(mask) == mask).all()
    assert view.shown(mask) is not mask


def test_a_small_edit_changes_only_its_place():
    before = np.zeros((96, 128), bool)
    before[11:71, 13:77] = True  # odd edges: not on the grid of the shown pixels
    painted = SMALL.shown(before)
    painted[30:33, 60:63] = True
    after = SMALL.source(painted, base=before)
    changed = np.argwhere(after != before)
    assert changed.min(axis=0).tolist() == [60, 120] and changed.max(axis=0).tolist() == [65, 125]


@RELAXED
@given(views(), st.floats(0, 1), st.floats(0, 1))
def test_places_there_and_back(view, x_share, y_share):
    x, y = x_share * (view.source_width - 1), y_share * (view.source_height - 1)
    assert view.to_source(*view.to_percent(x, y)) == pytest.approx((x, y), abs=1e-9)


def test_places_are_middles_of_pixels_and_stay_inside():
    assert VIEW.to_source(100 * 0.5 / 64, 100 * 0.5 / 48) == pytest.approx((0, 0))
    assert VIEW.to_source(0, 0) == (0, 0)
    assert VIEW.to_source(100, 100.1) == (63, 47)


@pytest.mark.parametrize("place", [(float("nan"), 5), (5, float("inf")), (101, 5), (5, -1)])
def test_places_outside_are_refused(place):
    with pytest.raises(PageError, match="outside"):
        VIEW.to_source(*place)


def test_pages_and_frames():
    assert [VIEW.page_of(frame) for frame in VIEW.frames] == [0, 1, 2, 3] == list(range(len(VIEW)))
    assert VIEW.frame_of(2) == 8
    for wrong in (-1, 4):
        with pytest.raises(PageError, match="Page"):
            VIEW.frame_of(wrong)
    for wrong in (1, 16):
        with pytest.raises(PageError, match="frame"):
            VIEW.page_of(wrong)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"frames": ()}, "ascend"),
        ({"frames": (4, 0)}, "ascend"),
        ({"frames": (-1,)}, "ascend"),
        ({"height": 49}, "shrunk"),
        ({"width": 0}, "shrunk"),
        ({"window": 1}, "contradict"),
        ({"carried": 4}, "contradict"),
    ],
)
def test_views_check_themselves(changes, named):
    with pytest.raises(PageError, match=named):
        PageView.from_json(VIEW.to_json() | {k: list(v) if k == "frames" else v for k, v in changes.items()})


def test_views_go_through_json():
    assert PageView.from_json(json.loads(json.dumps(SMALL.to_json()))) == SMALL
    with pytest.raises(AnnotationError, match="carried"):
        PageView.from_json({key: value for key, value in SMALL.to_json().items() if key != "carried"})


@pytest.mark.parametrize("mask", [np.zeros((48, 63), bool), np.zeros((48, 64))])
def test_masks_of_another_size_or_kind_are_refused(mask):
    for act in (VIEW.shown, VIEW.source):
        with pytest.raises(PageError, match="bool"):
            act(mask)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((480, 854), (480, 854)),
        ((100, 120), (100, 120)),  # never enlarged
        ((1080, 1920), (480, 853)),
        ((1920, 1080), (853, 480)),  # upright: as large as a lying one
        ((2000, 2000), (480, 480)),
        ((1, 5000), (1, 854)),
    ],
)
def test_frames_are_shrunk_to_a_size_that_is_good_to_look_at(size, shown):
    (view,) = plan_views([0], height=size[0], width=size[1], limits=TaskLimits())
    assert (view.height, view.width) == shown


@RELAXED
@given(st.integers(1, 900), st.integers(1, 9), st.integers(50, 1200), st.integers(50, 1200))
def test_windows_cover_everything_within_the_budget(count, overlap, height, width):
    limits = TaskLimits(overlap=overlap)
    frames = list(range(0, 4 * count, 4))
    planned = plan_views(frames, height=height, width=width, limits=limits)
    assert sorted({frame for view in planned for frame in view.frames}) == frames
    assert planned[0].carried == 0
    for before, view in itertools.pairwise(planned):
        assert before.frames[-view.carried :] == view.frames[: view.carried]
        assert view.carried == overlap
    for number, view in enumerate(planned):
        assert (view.window, view.windows) == (number, len(planned))
        assert len(view) * view.height * view.width <= 45e6
    lengths = [len(view) for view in planned]
    assert max(lengths) - min(lengths) <= 1 + (len(lengths) > 1)


def test_a_long_video_can_be_shrunk_instead():
    limits = TaskLimits(long_videos="scale")
    (view,) = plan_views(range(400), height=480, width=854, limits=limits)
    assert 0.97 * 45e6 < len(view) * view.height * view.width <= 45e6
    many = plan_views(range(4000), height=480, width=854, limits=limits)
    assert len(many) > 1 and many[0].height == 160  # nobody could draw in less


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"max_width": 0}, "max_width"),
        ({"max_megapixels": 2.0}, "max_megapixels"),
        ({"max_megapixels": float("nan")}, "max_megapixels"),
        ({"overlap": 0}, "overlap"),
        ({"idle_s": 0.0}, "idle_s"),
        ({"long_videos": "cut"}, "long_videos"),
    ],
)
def test_limits_check_themselves(changes, named):
    with pytest.raises(ValueError, match=named):
        TaskLimits(**changes)
