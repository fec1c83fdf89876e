"""SAM 1 as a whole: its published sizes, the way of a picture in and of a mask out, and the image predictor on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from model.errors import ModelError, PromptError
from model.image.image_model import Sam1Image, Sam2Image, image_model
from model.image.image_predictor import ImagePredictor, ImagePrompt
from model.network.sam2 import Sam2
from model.prompts import Box, Click
from model.sam1.sam1 import Sam1, build_sam1


@pytest.mark.parametrize(
    ("size", "parameters", "keys"),
    [("vit_b", 93_735_472, 314), ("vit_l", 312_342_832, 482), ("vit_h", 641_090_608, 594)],
)
def test_published_sizes(size: str, parameters: int, keys: int) -> None:
    with torch.device("meta"):
        network = build_sam1(size)
    assert sum(weight.numel() for weight in network.parameters()) == parameters
    state = network.state_dict()
    assert len(state) == keys
    assert sum("blocks.3." in name for name in state) == 14
    assert state["image_encoder.blocks.3.attn.rel_pos_h"].shape == (27, 80 if size == "vit_h" else 64)
    assert state["image_encoder.blocks.0.mlp.lin1.bias"].shape == (4 * network.config.width,)
    assert state["mask_decoder.transformer.layers.1.mlp.lin2.weight"].shape == (256, 2048)


def test_sizes_and_sides_are_checked() -> None:
    with pytest.raises(ModelError, match="did you mean 'vit_b'"):
        build_sam1("vitb")
    with pytest.raises(ModelError, match="image_size 100"):
        build_sam1("vit_b", image_size=100)


@pytest.mark.parametrize(("height", "width"), [(40, 56), (90, 30), (200, 333), (64, 64), (1, 200)])
def test_a_picture_is_resized_like_an_8_bit_one_and_padded(network: Sam1, height: int, width: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    rows, columns = network.content_size(height, width)
    assert max(rows, columns) == 64
    found = network.preprocess(torch.from_numpy(rgb)[None])
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    expected = np.asarray(Image.fromarray(rgb).resize((columns, rows), Image.Resampling.BILINEAR))
    pixels = found[0].permute(1, 2, 0).numpy()[:rows, :columns] * std + mean
    np.testing.assert_allclose(pixels, expected, atol=1.01)
    assert found.shape == (1, 3, 64, 64)
    assert not found[..., rows:, :].any() and not found[..., columns:].any()


def test_masks_come_back_without_the_padding(network: Sam1) -> None:
    low_res = torch.full((1, 1, 16, 16), -5.0)
    low_res[..., :11, :8] = 5.0  # left half of a picture of which 64 by 44 pixels of the input are used
    mask = network.to_image(low_res, 22, 32)[0, 0] > 0
    assert mask.shape == (22, 32)
    assert mask[:, :16].all() and not mask[:, 16:].any()


@pytest.fixture
def predictor(network: Sam1, picture: NDArray[np.uint8]) -> ImagePredictor:
    predictor = ImagePredictor(network)
    predictor.set_image(picture)
    return predictor


def test_it_answers_like_every_image_predictor(predictor: ImagePredictor) -> None:
    answer = predictor.predict([Click(10, 10)])
    assert answer.masks.shape == (3, 40, 56) and answer.low_res_logits.shape == (3, 16, 16)
    assert answer.object_score is None
    points = predictor.predict_points(np.array([[10, 10], [55, 39]], dtype=np.float32))
    assert points.object_scores is None and points.rows.tolist() == [0, 1]
    np.testing.assert_allclose(
        points.low_res_logits[0].clamp(-32, 32).numpy(), answer.low_res_logits, atol=1e-3
    )


def test_prompts_in_a_batch_equal_prompts_alone(predictor: ImagePredictor) -> None:
    logits = predictor.predict([Click(5, 5)], multimask=False).low_res_logits[0]
    prompts = [
        ImagePrompt([Click(10, 10)], Box(5, 5, 20, 30)),
        ImagePrompt([Click(40, 12)], Box(15, 5, 50, 30)),
        ImagePrompt(box=Box(5, 5, 20, 30)),
        ImagePrompt([Click(10, 10), Click(3, 3, False)]),
        ImagePrompt(mask_logits=logits),
    ]
    for prompt, together in zip(prompts, predictor.predict_batch(prompts, multimask=False), strict=True):
        alone = predictor.predict(
            prompt.clicks, box=prompt.box, mask_logits=prompt.mask_logits, multimask=False
        )
        np.testing.assert_allclose(together.low_res_logits, alone.low_res_logits, atol=1e-3)


def test_it_runs_in_bfloat16(network: Sam1, picture: NDArray[np.uint8]) -> None:
    predictor = ImagePredictor(network, precision="bfloat16")
    predictor.set_image(picture)
    answer = predictor.predict([Click(10, 10)])
    assert answer.low_res_logits.dtype == answer.ious.dtype == np.float32


def test_every_network_has_its_view(network: Sam1, micro_model: Sam2, picture: NDArray[np.uint8]) -> None:
    assert isinstance(image_model(network), Sam1Image) and isinstance(image_model(micro_model), Sam2Image)
    foreign = image_model(network).embed_image(picture)
    predictor = ImagePredictor(micro_model)
    predictor.set_embedding(foreign)
    with pytest.raises(PromptError, match="another kind"):
        predictor.predict([Click(1, 1)])
