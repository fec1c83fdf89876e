"""Image mode against transformers: the pyramid, then clicks, a box and a refined mask."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.network.sam2 import Points
from tests.model.parity.pair import SIDE, Pair, largest_error, make_pair, moving_frames

CLICK: Points = (torch.tensor([[[92.0, 130.0]]]), torch.tensor([[1]]))
CLICKS: Points = (torch.tensor([[[92.0, 130.0], [20.5, 30.0], [200.0, 250.0]]]), torch.tensor([[1, 0, 0]]))
BOX: Points = (torch.tensor([[[40.0, 60.0], [130.0, 170.0]]]), torch.tensor([[2, 3]]))


@pytest.fixture(scope="module", params=["2.1", "2.0"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return make_pair(request.param)


@pytest.fixture(scope="module")
def image(pair: Pair) -> Tensor:
    return pair.ours.preprocess(torch.from_numpy(moving_frames(1)))


@torch.inference_mode()
def test_pyramid(pair: Pair, image: Tensor) -> None:
    ours = pair.ours.image_encoder(image)
    theirs = pair.images.vision_encoder(image)
    for level, (mine, other) in enumerate(zip(ours, theirs.fpn_hidden_states, strict=True)):
        assert largest_error(mine, other) < 1e-5, f"level {level}"
    position = pair.ours.encode_images(image).embedding_pos
    torch.testing.assert_close(position, theirs.fpn_position_encoding[-1][:1])


@pytest.mark.parametrize("points", [CLICK, CLICKS, BOX], ids=["click", "clicks", "box"])
@pytest.mark.parametrize("multimask", [True, False])
@torch.inference_mode()
def test_prompts(pair: Pair, image: Tensor, points: Points, multimask: bool) -> None:
    compare(pair, image, points, multimask=multimask)


@torch.inference_mode()
def test_a_mask_refines_clicks(pair: Pair, image: Tensor) -> None:
    first = compare(pair, image, CLICK, multimask=True)
    compare(pair, image, CLICKS, mask_logits=first.clamp(-32, 32), multimask=False)


@torch.inference_mode()
def test_a_mask_alone(pair: Pair, image: Tensor) -> None:
    first = compare(pair, image, CLICK, multimask=True)
    compare(pair, image, None, mask_logits=first.clamp(-32, 32), multimask=False)


@torch.inference_mode()
def test_absent_objects_have_no_mask(image: Tensor) -> None:
    pair = make_pair(visible=False)
    assert (compare(pair, image, CLICK, multimask=True, absent=True) == -1024).all()


def compare(
    pair: Pair,
    image: Tensor,
    points: Points | None,
    *,
    multimask: bool,
    mask_logits: Tensor | None = None,
    absent: bool = False,
) -> Tensor:
    """Ask both; return our best low-res logits [1, 1, 64, 64].

    transformers' image model leaves the masks of absent objects as they are, so those are compared by score only.
    """
    features = pair.ours.encode_images(image)
    conditioned = pair.ours.condition(features, None)
    ours = pair.ours.sam_heads(
        conditioned, features.high_res, points=points, mask_logits=mask_logits, multimask=multimask
    )
    theirs = pair.images(
        pixel_values=image,
        input_points=None if points is None else points[0][None],
        input_labels=None if points is None else points[1][None],
        input_masks=mask_logits,
        multimask_output=multimask,
    )
    torch.testing.assert_close(ours.object_score, theirs.object_score_logits[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.ious, theirs.iou_scores[0], atol=1e-5, rtol=0)
    assert ours.ious.min() > 0.02 and ours.ious.max() < 0.98, "a saturated head compares nothing"
    if absent:
        return ours.low_res
    masks = theirs.pred_masks[0]
    assert largest_error(ours.low_res_multimasks, masks) < 2e-5
    share = float((masks > 0).float().mean())
    assert 0.02 < share < 0.98, "an empty mask compares nothing"
    assert ours.low_res.shape[-1] == SIDE // 4
    return ours.low_res
