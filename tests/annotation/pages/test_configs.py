"""The pages' configurations are valid, and so are the regions that we put on them."""

from __future__ import annotations

import pytest
from label_studio_sdk.label_interface import LabelInterface

from annotation.errors import PageError
from annotation.pages import marks
from annotation.pages.configs import PAGE_KINDS, TASK_KEYS, clip_html, label_config, page_kind
from tests.annotation.pages.pages import VIEW, disc, make_item

ANNOTATION = [kind for kind in PAGE_KINDS if kind.startswith("annotation")]


def problems(kind: str, result: list[dict]) -> list[str]:
    prediction = {"model_version": "v", "score": 0.5, "result": result}
    return list(LabelInterface(label_config(kind)).validate_prediction(prediction, return_errors=True))


@pytest.mark.parametrize("kind", PAGE_KINDS)
def test_each_page_is_a_valid_configuration(kind):
    interface = LabelInterface(label_config(kind))
    interface.validate()
    assert "@" not in label_config(kind)


@pytest.mark.parametrize("kind", PAGE_KINDS)
def test_a_page_needs_no_data_that_a_task_does_not_have(kind):
    used = {tag.value_name for tag in LabelInterface(label_config(kind)).objects}
    assert used <= set(TASK_KEYS[kind])
    config = label_config(kind)
    assert all(f"${key}" in config for key in ("notice",))


@pytest.mark.parametrize("kind", ANNOTATION)
def test_what_we_put_on_an_annotation_page_is_valid(kind):
    regions = [
        marks.mask_region(2, disc(), VIEW, score=0.93),
        marks.says_region(2, "busy, click again"),
        marks.command_region("abc", 2),
        marks.visibility_region(1, "absent"),
    ]
    assert problems(kind, regions) == []


def test_what_we_put_on_a_selection_page_is_valid():
    assert problems("selection", [marks.taken_region(0, 0, disc(), VIEW)]) == []


def test_phase_1_offers_no_tracking():
    assert "backward" not in label_config("annotation-1")
    assert "p forward, b backward, pp all" in label_config("annotation-2")


def test_every_item_has_its_page():
    kinds = [make_item("select"), make_item(phase=2), make_item("verify")]
    assert [page_kind(item) for item in kinds] == ["selection", "annotation-2", "verification"]


def test_unknown_pages_are_refused():
    with pytest.raises(PageError, match="annotation-4"):
        label_config("annotation-4")


def test_addresses_are_quoted():
    assert 'src="/a?d=&quot;&gt;&lt;b"' in clip_html('/a?d="><b')
