"""Which of our weights is which of transformers' (5.x): rewriting rules as data, used by tests only."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_FORWARD = {"0": "proj_in", "1": "layers.0", "2": "proj_out"}  # three linear layers
_TWO = {"0": "proj_in", "1": "proj_out"}  # two linear layers

# (pattern in our name, theirs); applied in order, each to what the last one left
RULES: tuple[tuple[str, str], ...] = (
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (
        r"^sam_prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$",
        "shared_image_embedding.positional_embedding",
    ),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"norm_final_attn", "layer_norm_final_attn"),
    (r"out_proj\.(weight|bias)$", r"o_proj.\1"),
    (r"^memory_encoder\.o_proj\.", "memory_encoder.projection."),
    (r"^memory_encoder\.pix_feat_proj\.", "memory_encoder.feature_projection."),
    (r"^memory_encoder\.fuser\.", "memory_encoder.memory_fuser."),
    (r"\.gamma$", ".scale"),
    (r"\.dwconv\.", ".depthwise_conv."),
    (r"\.pwconv(\d)\.", r".pointwise_conv\1."),
    (r"mask_downsampler\.encoder\.0\.", "mask_downsampler.layers.0.conv."),
    (r"mask_downsampler\.encoder\.1\.", "mask_downsampler.layers.0.layer_norm."),
    (r"mask_downsampler\.encoder\.3\.", "mask_downsampler.layers.1.conv."),
    (r"mask_downsampler\.encoder\.4\.", "mask_downsampler.layers.1.layer_norm."),
    (r"mask_downsampler\.encoder\.6\.", "mask_downsampler.layers.2.conv."),
    (r"mask_downsampler\.encoder\.7\.", "mask_downsampler.layers.2.layer_norm."),
    (r"mask_downsampler\.encoder\.9\.", "mask_downsampler.layers.3.conv."),
    (r"mask_downsampler\.encoder\.10\.", "mask_downsampler.layers.3.layer_norm."),
    (r"mask_downsampler\.encoder\.12\.", "mask_downsampler.final_conv."),
    (r"(?<![_\w])norm(\d?)\.(weight|bias)$", r"layer_norm\1.\2"),
    (r"^maskmem_tpos_enc$", "memory_temporal_positional_encoding"),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^no_mem_pos_enc$", "no_memory_positional_encoding"),
    (r"^no_obj_ptr$", "no_object_pointer"),
    (r"^no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter"),
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    (r"^obj_ptr_proj\.", "object_pointer_proj."),
)
_THREE_LAYERS = re.compile(
    r"(hypernetworks_mlps\.\d|iou_prediction_head|score_head|pointer_proj)\.layers\.(\d)\."
)
_TWO_LAYERS = re.compile(r"(mlp)\.layers\.(\d)\.")
_POINT_EMBEDDINGS = [f"sam_prompt_encoder.point_embeddings.{label}.weight" for label in range(4)]


def their_name(ours: str) -> str:
    """Return transformers' name of one of our weights (not of the four point embeddings, which are one there)."""
    for pattern, replacement in RULES:
        ours = re.sub(pattern, replacement, ours)
    ours = _THREE_LAYERS.sub(lambda m: f"{m[1]}.{_FORWARD[m[2]]}.", ours)
    return _TWO_LAYERS.sub(lambda m: f"{m[1]}.{_TWO[m[2]]}.", ours)


def their_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our state dict under transformers' names."""
    theirs = {their_name(key): value for key, value in state.items() if key not in _POINT_EMBEDDINGS}
    theirs["prompt_encoder.point_embed.weight"] = torch.cat([state[key] for key in _POINT_EMBEDDINGS])
    shared = theirs["shared_image_embedding.positional_embedding"]
    theirs["prompt_encoder.shared_embedding.positional_embedding"] = shared
    return theirs
