"""Random weights that hide no error and give masks like those of a trained network: compact, not noise.

``python -m benchmarks.compare.weights SIZE FILE.pt`` writes the file that every side loads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.compare.video import picture
from model.config import sam2_config
from model.golden import fill_weights
from model.network.mask_decoder import MaskDecoder
from model.network.memory_bank import FrameMemory, MemoryBank, MemorySequence, assemble, plan_memory
from model.network.sam2 import HeadsOutput, ImageFeatures, Sam2

__all__ = ["random_network", "write_weights"]

_PRESENT = 8.0  # bias of the object score: objects are there
_FINE = 0.1  # of the maps of stride 4, 8 and 16 beside that of 32: less of the noise that would speckle masks
_MEMORY = 0.1  # of what memory attention adds: a random network would blow the last bit of bfloat16 maps up
_LOGIT = 10.0  # standard deviation of mask logits
_SIDE = 256  # of the picture to which the mask head is levelled, in pixels


def write_weights(size: str, path: Path) -> None:
    """Save a network of `size` the way official checkpoints are saved; a file that is there already stays."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save({"model": random_network(size).state_dict()}, part)
        part.replace(path)


def random_network(size: str) -> Sam2:
    """A network whose weights are drawn from generators seeded with their names (`model.golden`).

    So position embeddings and the fuser's `gamma` are of normal size. Objects are made present, and the mask head
    is calmed and levelled: fine maps count little, upscaled pixels repeat their coarse neighbour, and logits have
    mean 0 and a spread like a trained network's on a drawn picture. Otherwise a mask would be empty, full or noise.
    """
    with torch.device("meta"):
        network = Sam2(sam2_config(size, image_size=_SIDE)).eval()
    fill_weights(network)
    with torch.inference_mode():
        _calm(network)
        _level(network)
    return network


def _calm(network: Sam2) -> None:
    get = network.get_parameter
    get("sam_mask_decoder.pred_obj_score_head.layers.2.bias").add_(_PRESENT)
    for name in ("sam_mask_decoder.conv_s0", "sam_mask_decoder.conv_s1", "image_encoder.neck.convs.1.conv"):
        get(f"{name}.weight").mul_(_FINE)
    for layer in range(network.config.memory.layers):
        get(f"memory_attention.layers.{layer}.cross_attn_image.out_proj.weight").mul_(_MEMORY)
    for index in (0, 3):
        weight = get(f"sam_mask_decoder.output_upscaling.{index}.weight")
        weight.copy_(weight.mean(dim=(2, 3), keepdim=True) * 2)
    for entry in _brushes(network):  # the channels that a mask adds and subtracts balance
        entry.sub_(entry.mean(dim=0))


def _brushes(network: Sam2) -> list[Tensor]:
    """What the last layers of the mask heads multiply and add."""
    heads = range(network.config.decoder.candidates + 1)
    name = "sam_mask_decoder.output_hypernetworks_mlps.{}.layers.2.{}"
    return [network.get_parameter(name.format(head, kind)) for head in heads for kind in ("weight", "bias")]


def _level(network: Sam2) -> None:
    """On two drawn pictures: remembered embeddings spread like fresh ones, mask channels and logits as they should."""
    first, second = (
        network.encode_images(network.preprocess(torch.from_numpy(picture(index, _SIDE, _SIDE))[None]))
        for index in range(2)
    )
    points = torch.full((1, 1, 2), _SIDE / 2), torch.ones(1, 1, dtype=torch.long)
    fresh = network.condition(first, None)

    def heads() -> HeadsOutput:
        return network.sam_heads(fresh, first.high_res, points=points, multimask=True)

    weight, bias = (
        network.get_parameter(f"sam_mask_decoder.output_upscaling.3.{kind}") for kind in ("weight", "bias")
    )
    mean, spread = _by_channel(_upscaled(network.sam_mask_decoder, first, heads))
    bias.sub_(mean).div_(spread)
    weight.div_(spread[None, :, None, None])
    scale = _LOGIT / heads().low_res_multimasks.std()
    for entry in _brushes(network):
        entry.mul_(scale)
    _level_memory(network, second, fresh, _remembered(network, first, heads()))


def _upscaled(decoder: MaskDecoder, features: ImageFeatures, ask: Callable[[], object]) -> Tensor:
    """What the decoder's last activation sees when `ask` asks it, [1, C/8, 4h, 4w]."""
    seen = list[Tensor]()
    hook = decoder.transformer.register_forward_hook(lambda _module, _inputs, output: seen.append(output[1]))
    ask()
    hook.remove()
    first, norm, activation, second, _ = decoder.output_upscaling
    fine, middle = features.high_res
    pixels = seen[0].transpose(1, 2).reshape(features.embedding.shape)
    upscaled: Tensor = second(activation(norm(first(pixels) + middle))) + fine
    return upscaled


def _remembered(network: Sam2, features: ImageFeatures, heads: HeadsOutput) -> MemorySequence:
    maskmem, _ = network.encode_memory(features, heads.high_res, heads.object_score, binarize=True)
    bank = MemoryBank({0: FrameMemory(maskmem, heads.pointer)}, {})
    plan = plan_memory(bank.conditioning, bank.recent, frame=1, frame_count=16, config=network.config.memory)
    return assemble(network, plan, bank)


def _level_memory(network: Sam2, features: ImageFeatures, fresh: Tensor, memory: MemorySequence) -> None:
    (goal, goal_spread), (mean, spread) = _by_channel(fresh), _by_channel(network.condition(features, memory))
    norm = network.memory_attention.norm
    norm.weight.mul_(goal_spread / spread)
    norm.bias.sub_(mean).mul_(goal_spread / spread).add_(goal)


def _by_channel(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C] of maps [N, C, h, w]."""
    return maps.mean(dim=(0, 2, 3)), maps.std(dim=(0, 2, 3))


if __name__ == "__main__":
    write_weights(sys.argv[1], Path(sys.argv[2]))
