"""SAM 1 beside the `SamModel` of transformers: the same random weights, the same answers.

Every weight is drawn at a size at which it matters: position maps and relative tables are not zero, and the masks
have edges. The published code's transformer of the decoder has norms with an epsilon of 1e-5, which transformers is
told here.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.config import DecoderConfig
from model.image.image_predictor import ImagePredictor, ImagePrompt
from model.prompts import Box, Click
from model.sam1.config import Sam1Config
from model.sam1.sam1 import Sam1

pytest.importorskip("transformers", reason="install transformers (it is in the dev extra)")

SIDE, HEIGHT, WIDTH = 128, 90, 120  # the picture becomes 96 by 128, the rest is padding
CONFIG = Sam1Config(
    size="small",
    width=64,
    depth=4,
    heads=2,
    global_blocks=(1, 3),
    window=3,  # does not divide the 8 by 8 grid, so that windows are padded
    image_size=SIDE,
    trained_size=SIDE,
    dim=32,
    decoder=DecoderConfig(heads=4, feedforward=64, dynamic_multimask=False),
)

RENAMED = (
    (
        r"^shared_image_embedding\.positional_embedding",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"^vision_encoder\.", "image_encoder."),
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"^image_encoder\.layers", "image_encoder.blocks"),
    (r"neck\.conv1", "neck.0"),
    (r"neck\.layer_norm1", "neck.1"),
    (r"neck\.conv2", "neck.2"),
    (r"neck\.layer_norm2", "neck.3"),
    (r"\.point_embed\.", ".point_embeddings."),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (r"upscale_conv1", "output_upscaling.0"),
    (r"upscale_layer_norm", "output_upscaling.1"),
    (r"upscale_conv2", "output_upscaling.3"),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.0", r"\1.layers.1"),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.proj_in", r"\1.layers.0"),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.proj_out", r"\1.layers.2"),
    (r"layer_norm_final_attn", "norm_final_attn"),
    (r"layer_norm(\d)", r"norm\1"),
)


@pytest.fixture(scope="module")
def reference() -> Any:
    from transformers import SamConfig, SamModel

    config = SamConfig(
        vision_config={
            "hidden_size": CONFIG.width,
            "num_hidden_layers": CONFIG.depth,
            "num_attention_heads": CONFIG.heads,
            "global_attn_indexes": list(CONFIG.global_blocks),
            "window_size": CONFIG.window,
            "image_size": SIDE,
            "output_channels": CONFIG.dim,
            "num_pos_feats": CONFIG.dim // 2,
        },
        prompt_encoder_config={"hidden_size": CONFIG.dim, "image_size": SIDE},
        mask_decoder_config={
            "hidden_size": CONFIG.dim,
            "num_attention_heads": CONFIG.decoder.heads,
            "mlp_dim": CONFIG.decoder.feedforward,
            "iou_head_hidden_dim": CONFIG.dim,
            "layer_norm_eps": 1e-5,
        },
    )
    model = SamModel(config).eval()
    draw_weights(model)
    return model


def draw_weights(model: torch.nn.Module) -> None:
    """Draw all weights so that every activation stays of about unit size."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in [*model.named_parameters(), *model.named_buffers()]:
            drawn = torch.randn(weight.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                weight.copy_(1 + 0.2 * drawn)
            elif weight.ndim == 1:
                weight.copy_(0.2 * drawn)
            elif "embed" in name and "mask_embed" not in name and "projection" not in name:
                weight.copy_(drawn)
            elif "rel_pos" in name:
                weight.copy_(0.5 * drawn)
            else:
                fan_in = weight.shape[0] if "upscale" in name else weight[0].numel()
                weight.copy_(drawn * (1.5 / fan_in**0.5))


@pytest.fixture(scope="module")
def ours(reference: Any) -> Sam1:
    model = Sam1(CONFIG).eval()
    state = {}
    for name, weight in reference.state_dict().items():
        if "prompt_encoder.shared_embedding" in name:  # the same matrix a second time
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        state[name] = weight.clone()
    model.load_state_dict(state)
    return model


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    small = np.random.default_rng(5).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.kron(small, np.ones((10, 10, 1), dtype=np.uint8))


@pytest.fixture(scope="module")
def embedding(reference: Any, ours: Sam1, picture: NDArray[np.uint8]) -> Tensor:
    with torch.inference_mode():
        pixels = ours.preprocess(torch.from_numpy(picture)[None])
        return reference.get_image_embeddings(pixels)


def test_image_embeddings_are_equal(ours: Sam1, embedding: Tensor, picture: NDArray[np.uint8]) -> None:
    with torch.inference_mode():
        found = ours.encode_images(ours.preprocess(torch.from_numpy(picture)[None]))
    assert embedding.std() > 0.5
    assert (found - embedding).norm() < 1e-5 * embedding.norm()


def rough_mask() -> NDArray[np.float32]:
    rows, columns = np.mgrid[:32, :32]
    return (8 - np.hypot(rows - 14, columns - 12)).astype(np.float32)


CLICKS = (Click(30, 40), Click(71.5, 20, False), Click(100, 80))
BOX = Box(20, 15, 90, 70)
PROMPTS = {
    "one click": ImagePrompt(CLICKS[:1]),
    "three clicks": ImagePrompt(CLICKS),
    "box": ImagePrompt(box=BOX),
    "box and click": ImagePrompt(CLICKS[:1], BOX),
    "box and clicks": ImagePrompt(CLICKS, BOX),
    "mask": ImagePrompt(mask_logits=rough_mask()),
    "click and mask": ImagePrompt(CLICKS[:1], mask_logits=rough_mask()),
    "everything": ImagePrompt(CLICKS, BOX, rough_mask()),
}


def asked(prompt: ImagePrompt) -> dict[str, Tensor]:
    """Tensors for transformers: coordinates in pixels of the resized picture."""
    scale = SIDE / WIDTH
    tensors = {}
    if prompt.clicks:
        points = [[click.x * scale, click.y * scale] for click in prompt.clicks]
        tensors["input_points"] = torch.tensor([[points]])
        tensors["input_labels"] = torch.tensor([[[int(click.positive) for click in prompt.clicks]]])
    if prompt.box is not None:
        corners = [prompt.box.x0, prompt.box.y0, prompt.box.x1, prompt.box.y1]
        tensors["input_boxes"] = torch.tensor([[corners]]) * scale
    if prompt.mask_logits is not None:
        tensors["input_masks"] = torch.from_numpy(np.asarray(prompt.mask_logits))[None, None]
    return tensors


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_answers_are_equal(
    reference: Any,
    ours: Sam1,
    embedding: Tensor,
    picture: NDArray[np.uint8],
    prompt: ImagePrompt,
    multimask: bool,
) -> None:
    with torch.inference_mode():
        expected = reference(image_embeddings=embedding, multimask_output=multimask, **asked(prompt))
    predictor = ImagePredictor(ours)
    predictor.set_image(picture)
    answer = predictor.predict(
        prompt.clicks, box=prompt.box, mask_logits=prompt.mask_logits, multimask=multimask
    )
    low_res = expected.pred_masks[0, 0]  # M 32 32
    np.testing.assert_allclose(answer.ious, expected.iou_scores[0, 0], atol=1e-4)
    np.testing.assert_allclose(answer.low_res_logits, low_res.clamp(-32, 32), atol=1e-3)
    masks = at_size_of_picture(low_res)
    assert 0.02 < masks.mean() < 0.98  # there are edges to compare
    both, either = (masks & answer.masks).sum(), (masks | answer.masks).sum()
    assert both / either > 0.999
    assert answer.object_score is None


def at_size_of_picture(low_res: Tensor) -> NDArray[np.bool_]:
    """What the published code does with low-res logits [M, 32, 32]."""
    scaled = F.interpolate(low_res[None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    cut = scaled[..., : HEIGHT * SIDE // WIDTH, :]
    masks: NDArray[np.bool_] = F.interpolate(cut, size=(HEIGHT, WIDTH), mode="bilinear")[0].numpy() > 0
    return masks
