from __future__ import annotations

import numpy as np
import pytest

from annotation import ActionError
from annotation.prelabel import ObjectPrompt, propose
from model.prompts import Box
from storage.masks import area, decode
from tests.annotation.conftest import RULES
from tests.annotation.discs import SIDE, moving

VIDEO = moving(4)
BOX = Box(8, 20, 28, 40)
TWO = [ObjectPrompt(1, 0, (18.0, 30.0), BOX), ObjectPrompt(2, 8, (26.0, 30.0))]


def proposals(model, phase, prompts=TWO):
    return propose(model, VIDEO, VIDEO.numbers, prompts, rules=RULES[phase])


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_every_object_has_a_mask_on_every_frame(model, phase):
    found = proposals(model, phase)
    assert [(p.object_id, p.frame) for p in found] == [(o, n) for o in (1, 2) for n in VIDEO.numbers]
    for proposal in found:
        assert (proposal.rle.height, proposal.rle.width) == (SIDE, SIDE)
        assert 0 <= proposal.predicted_iou <= 1 and 0 <= proposal.stability <= 1
        assert proposal.object_score > 0 and area(proposal.rle) > 0


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_objects_do_not_depend_on_each_other(model, phase):
    together = [p for p in proposals(model, phase) if p.object_id == 1]
    assert proposals(model, phase, TWO[:1]) == together


def test_plan_rows_become_prompts():
    row = {
        "object_id": 3,
        "first_frame": 4,
        "x": 1.5,
        "y": 2.0,
        "x0": None,
        "y0": None,
        "x1": None,
        "y1": None,
    }
    assert ObjectPrompt.from_plan(row) == ObjectPrompt(3, 4, (1.5, 2.0), None)
    assert ObjectPrompt.from_plan(row | {"x0": 0.0, "y0": 1.0, "x1": 2.0, "y1": 3.0}).box == Box(0, 1, 2, 3)


@pytest.mark.parametrize("phase", [1, 3])
def test_no_objects_no_proposals(model, phase):
    assert proposals(model, phase, []) == []


def test_objects_must_be_selected_on_annotated_frames(model):
    with pytest.raises(ActionError, match="Object 1 was selected on frame 3"):
        proposals(model, 3, [ObjectPrompt(1, 3, (18.0, 30.0))])


def test_phase_1_looks_at_each_frame_alone(model):
    still = moving(1)
    alone = propose(model, still, still.numbers, TWO[:1], rules=RULES[1])
    assert proposals(model, 1, TWO[:1])[0] == alone[0]
    assert np.array_equal(decode(alone[0].rle), decode(proposals(model, 1)[0].rle))
