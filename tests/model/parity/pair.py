"""The same random weights in our network and in transformers', and a small moving picture to run them on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Sam2Config as TheirImageConfig
from transformers import Sam2Model, Sam2VideoConfig, Sam2VideoModel

from model.config import DecoderConfig, MemoryConfig, Sam2Config, TrunkConfig
from model.golden import fill_weights
from model.network.sam2 import Sam2
from tests.model.parity.mapping import their_state

SIDE = 256
WIDTHS = (32, 64, 128, 256)

# small, yet with a pooling block at every stage, padded windows (14 on a 16-token side, 7 on 8) and global blocks;
# transformers insists on 64 memory channels
CONFIG = Sam2Config(
    size="parity",
    image_size=SIDE,
    dim=128,
    trunk=TrunkConfig(embed_dim=32, heads=1, stages=(1, 2, 3, 2), global_blocks=(5,), drop_path=0.0),
    memory=MemoryConfig(layers=2, feedforward=256, dropout=0.0),
    decoder=DecoderConfig(heads=4, feedforward=256),
)

# random weights of a usual size would hide errors here: a position code near zero, an occlusion token never used
_LOUD = (
    "pos_embed",
    "pos_embed_window",
    "maskmem_tpos_enc",
    "no_mem_embed",
    "no_obj_ptr",
    "no_obj_embed_spatial",
)


@dataclass(frozen=True)
class Pair:
    """Our network and transformers' two, image and video, with equal weights."""

    ours: Sam2
    images: Sam2Model
    video: Sam2VideoModel


class TheirVideoModel(Sam2VideoModel):
    """Theirs, but the pointer of a mask prompt is made from the single-mask token.

    transformers calls the heads with three candidates there (`multimask_output` is true by default); the published
    code asks for a single mask.
    """

    def _single_frame_forward(
        self, *args: object, multimask_output: bool = False, **kwargs: object
    ) -> object:
        return super()._single_frame_forward(*args, multimask_output=multimask_output, **kwargs)


@lru_cache(maxsize=4)
def make_pair(version: str = "2.1", *, visible: bool = True) -> Pair:
    """Build the three networks of a version; `visible` decides whether objects are judged present."""
    ours = loud_weights(Sam2(replace(CONFIG, version=version)).eval(), visible=visible)
    config = _their_config(version)
    state = their_state(ours.state_dict())
    video = TheirVideoModel(config).eval()
    video.load_state_dict(state)
    images = Sam2Model(TheirImageConfig(**_parts(config))).eval()
    images.load_state_dict({key: state[key] for key in images.state_dict()})
    return Pair(ours, images, video)


def loud_weights(model: Sam2, *, visible: bool) -> Sam2:
    """Fill with fixed random weights of which none is too quiet to matter."""
    fill_weights(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.rsplit(".", 1)[-1] in _LOUD:
                parameter *= 0.5 / parameter.std()
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias += 8.0 if visible else -8.0
    return model


def _their_config(version: str) -> Sam2VideoConfig:
    trunk = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": WIDTHS[0],
        "num_attention_heads": 1,
        "image_size": [SIDE, SIDE],
        "window_positional_embedding_background_size": [7, 7],
        "blocks_per_stage": list(CONFIG.trunk.stages),
        "embed_dim_per_stage": list(WIDTHS),
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": list(CONFIG.trunk.windows),
        "global_attention_blocks": list(CONFIG.trunk.global_blocks),
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": trunk,
        "backbone_channel_list": list(reversed(WIDTHS)),
        "backbone_feature_sizes": [[SIDE // stride] * 2 for stride in (4, 8, 16)],
        "fpn_hidden_size": CONFIG.dim,
    }
    decoder = {
        "hidden_size": CONFIG.dim,
        "mlp_dim": CONFIG.decoder.feedforward,
        "num_attention_heads": CONFIG.decoder.heads,
        "iou_head_hidden_dim": CONFIG.dim,
    }
    return Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": CONFIG.dim, "image_size": SIDE},
        mask_decoder_config=decoder,
        image_size=SIDE,
        memory_attention_hidden_size=CONFIG.dim,
        memory_attention_num_layers=CONFIG.memory.layers,
        memory_attention_feed_forward_hidden_size=CONFIG.memory.feedforward,
        memory_attention_rope_feat_sizes=[CONFIG.grid, CONFIG.grid],
        memory_encoder_hidden_size=CONFIG.dim,
        mask_downsampler_embed_dim=CONFIG.dim,
        memory_fuser_embed_dim=CONFIG.dim,
        memory_fuser_intermediate_dim=4 * CONFIG.dim,
        rope_parameters={"rope_type": "axial", "rope_theta": CONFIG.memory.rope_theta},
        enable_temporal_pos_encoding_for_object_pointers=version == "2.1",
        enable_occlusion_spatial_embedding=version == "2.1",
    )


def _parts(config: Sam2VideoConfig) -> dict[str, object]:
    names = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    return {name: getattr(config, name).to_dict() for name in names}


def moving_frames(count: int) -> NDArray[np.uint8]:
    """Return uint8 [count, SIDE, SIDE, 3]: a blurred random texture that drifts, and two discs that cross it."""
    generator = np.random.default_rng(5)
    coarse = torch.from_numpy(generator.random((1, 3, 20, 20), dtype=np.float32))
    texture = torch.nn.functional.interpolate(coarse, size=(SIDE + 64, SIDE + 64), mode="bicubic")[0].clamp(
        0, 1
    )
    rows, columns = np.mgrid[:SIDE, :SIDE]
    frames = []
    for t in range(count):
        frame = (texture[:, t : t + SIDE, 2 * t : 2 * t + SIDE].permute(1, 2, 0).numpy() * 255).astype(
            np.uint8
        )
        for (y, x), colour in (
            ((90 + 3 * t, 60 + 8 * t), (230, 40, 30)),
            ((180 - 4 * t, 190 - 5 * t), (20, 60, 220)),
        ):
            frame[(rows - y) ** 2 + (columns - x) ** 2 < 30**2] = colour
        frames.append(frame)
    return np.stack(frames)


def largest_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference, in standard deviations of theirs."""
    return float((ours.float() - theirs.float()).abs().max() / theirs.float().std())
