"""Initialisation that lets a small model learn from scratch in minutes.

SAM 2 starts from a pre-trained encoder and 300,000 steps; nano has neither. The changes below let gradients reach
memory from the first step on and make it look at the same place of earlier frames to begin with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from model.network.sam2 import Sam2

LOCALITY = 1.5  # size of the equal query and key biases
PRESENCE_BIAS = 3.0  # an object is present until shown otherwise: absent ones give masks no gradient
FUSER_SCALE = 0.1
NO_MASK_SCALE = 0.1


@torch.no_grad()
def initialise_young(model: Sam2, images: Tensor, masks: Tensor) -> None:
    """Changes fresh weights in place.

    `images` uint8 [B,H,W,3] and `masks` bool [B,S,S] (one object each, S the model's image size) are a
    sample on which layers are brought to unit output.
    """
    _scale_encoder(model, images)
    _scale_mask_paths(model, images, masks)
    model.sam_prompt_encoder.no_mask_embed.weight.mul_(NO_MASK_SCALE)
    _last_linear(model.sam_mask_decoder.pred_obj_score_head).bias.fill_(PRESENCE_BIAS)
    for block in model.memory_encoder.fuser.layers:
        block.get_parameter("gamma").fill_(FUSER_SCALE)
    for layer in model.memory_attention.layers:
        _prefer_same_place(layer)


@torch.no_grad()
def spread_candidates(model: Sam2, generator: torch.Generator) -> None:
    """Copies the single mask's token and heads to the three candidates, slightly varied.

    A young model is trained with the single mask only; this starts its candidates from what that mask has
    learnt.
    """
    decoder = model.sam_mask_decoder
    tokens = decoder.mask_tokens.weight
    tokens[1:] = tokens[:1] * (1 + 0.1 * torch.randn(tokens[1:].shape, generator=generator))
    source = decoder.output_hypernetworks_mlps[0].state_dict()
    for network in list(decoder.output_hypernetworks_mlps)[1:]:
        network.load_state_dict(source)
    scores = _last_linear(decoder.iou_prediction_head)
    scores.weight[1:] = scores.weight[:1]
    scores.bias[1:] = scores.bias[:1]


def _scale_encoder(model: Sam2, images: Tensor) -> None:
    pixels = model.preprocess(images)
    for convolution in _convolutions(model.image_encoder.neck):
        _to_unit_output(model, convolution, lambda: model.image_encoder(pixels))


def _scale_mask_paths(model: Sam2, images: Tensor, masks: Tensor) -> None:
    features = model.encode_images(model.preprocess(images))
    mask = masks.unsqueeze(1).float()  # B 1 S S

    def prompt() -> object:
        return model.mask_as_output(features, mask)

    def remember() -> object:
        logits = mask * 20.0 - 10.0
        return model.encode_memory(features, logits, torch.ones(len(mask), 1), binarize=False)

    for convolution in _convolutions(model.mask_downsample, model.sam_prompt_encoder.mask_downscaling):
        _to_unit_output(model, convolution, prompt)
    for convolution in _convolutions(model.memory_encoder):
        if convolution.groups == 1:
            _to_unit_output(model, convolution, remember)


def _to_unit_output(model: Sam2, convolution: nn.Conv2d, run: Callable[[], object]) -> None:
    """Divides weight and bias by the standard deviation that the layer's output has in `run`."""
    outputs: list[Tensor] = []
    handle = convolution.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    run()
    handle.remove()
    scale = 1.0 / float(outputs[-1].std().clamp(min=1e-6))
    convolution.weight.mul_(scale)
    if convolution.bias is not None:
        convolution.bias.mul_(scale)


def _prefer_same_place(layer: nn.Module) -> None:
    """Equal constant biases make rotated queries and keys agree most at distance zero."""
    for name in ("q_proj", "k_proj"):
        layer.get_parameter(f"cross_attn_image.{name}.bias").fill_(LOCALITY)


def _convolutions(*modules: nn.Module) -> Iterator[nn.Conv2d]:
    for module in modules:
        for child in module.modules():
            if isinstance(child, nn.Conv2d):
                yield child


def _last_linear(mlp: nn.Module) -> nn.Linear:
    return [child for child in mlp.modules() if isinstance(child, nn.Linear)][-1]
