"""The transformers side: `Sam2VideoModel`, in the rows that it can do like the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import Sam2VideoConfig, Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from benchmarks.compare.measure import Stages
from benchmarks.compare.precision import autocast
from benchmarks.compare.rows import Job
from benchmarks.compare.side import STAGES, BoolMask
from model.config import Sam2Config, sam2_config
from model.files.checkpoints import read_state
from tests.model.parity.mapping import their_state

__all__ = ["Hugging"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Hugging:
    """Frames are decoded and normalised before the clock runs: the package takes tensors, not files.

    Its mask generation is a pipeline of another design, so it is no `MaskSide`.
    """

    def __init__(self, job: Job, weights: Path) -> None:
        self.job = job
        config = sam2_config(job.row.size, image_size=job.row.image_size)
        self.model: Any = Sam2VideoModel(_config(config)).requires_grad_(False)
        self.model.eval()
        self.model.load_state_dict(their_state(read_state(weights)), strict=True)
        self.model.to(job.device)
        if job.compiled:
            self.model.vision_encoder.compile()
        methods = (
            "get_image_features",
            "_prepare_memory_conditioned_features",
            "_single_frame_forward",
            "_batch_encode_memories",
        )
        self.stages = Stages(self.model, dict(zip(STAGES, methods, strict=True)))

    def inference(self) -> AbstractContextManager[object]:
        return autocast(self.job)

    def encode(self, rgb: NDArray[np.uint8]) -> None:
        self.model.get_image_features(self._pixels(rgb)[None], return_dict=True)

    def open(self, folder: Path) -> None:
        files = sorted(folder.glob("*.jpg"))
        frames = [np.array(Image.open(file).convert("RGB")) for file in files]
        self.size = frames[0].shape[:2]
        self.session = Sam2VideoInferenceSession(
            video=torch.stack([self._pixels(frame) for frame in frames]),
            video_height=self.size[0],
            video_width=self.size[1],
            inference_device=self.job.device,
            inference_state_device=self.job.device,
            video_storage_device=self.job.device,
            dtype=torch.float32,
        )

    def click(self, frame: int, object_id: int, x: float, y: float) -> BoolMask:
        index = self.session.obj_id_to_idx(object_id)
        side = self.job.row.image_size
        point = torch.tensor([[[[x * side / self.size[1], y * side / self.size[0]]]]])
        label = torch.ones(1, 1, 1, dtype=torch.int32)
        self.session.add_point_inputs(index, frame, {"point_coords": point, "point_labels": label})
        self.session.obj_with_new_inputs = [object_id]
        masks = self._masks(self.model(self.session, frame_idx=frame).pred_masks)
        return np.asarray(masks[index])

    def track(self, start: int) -> Iterator[tuple[int, BoolMask]]:
        for output in self.model.propagate_in_video_iterator(self.session, start_frame_idx=start):
            yield output.frame_idx, self._masks(output.pred_masks)

    def attend_nothing(self) -> None:
        self.stages.stand_in("memory attention", _embedding_as_it_is)

    def _pixels(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Normalised [3, S, S]; pictures of these rows have the input's size."""
        pixels = torch.from_numpy(rgb).to(self.job.device).permute(2, 0, 1).float() / 255
        mean, std = (pixels.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
        return (pixels - mean) / std

    def _masks(self, logits: Tensor) -> BoolMask:
        full = F.interpolate(logits.float(), self.size, mode="bilinear", align_corners=False)
        masks: BoolMask = (full[:, 0] > 0).cpu().numpy()
        return masks


def _config(config: Sam2Config) -> Any:
    trunk, memory, decoder = config.trunk, config.memory, config.decoder
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": trunk.embed_dim,
        "num_attention_heads": trunk.heads,
        "image_size": [config.image_size] * 2,
        "window_positional_embedding_background_size": [trunk.background_size] * 2,
        "blocks_per_stage": list(trunk.stages),
        "embed_dim_per_stage": list(trunk.widths),
        "num_attention_heads_per_stage": [trunk.heads * 2**stage for stage in range(4)],
        "window_size_per_stage": list(trunk.windows),
        "global_attention_blocks": list(trunk.global_blocks),
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": list(reversed(trunk.widths)),
        "backbone_feature_sizes": [[config.grid * factor] * 2 for factor in (4, 2, 1)],
        "fpn_hidden_size": config.dim,
    }
    heads = {
        "hidden_size": config.dim,
        "mlp_dim": decoder.feedforward,
        "num_attention_heads": decoder.heads,
        "iou_head_hidden_dim": config.dim,
    }
    return Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": config.dim, "image_size": config.image_size},
        mask_decoder_config=heads,
        image_size=config.image_size,
        memory_attention_hidden_size=config.dim,
        memory_attention_num_layers=memory.layers,
        memory_attention_feed_forward_hidden_size=memory.feedforward,
        memory_attention_rope_feat_sizes=[config.grid, config.grid],
        memory_encoder_hidden_size=config.dim,
        memory_encoder_output_channels=memory.dim,
        mask_downsampler_embed_dim=config.dim,
        memory_fuser_embed_dim=config.dim,
        memory_fuser_intermediate_dim=4 * config.dim,
        rope_parameters={"rope_type": "axial", "rope_theta": memory.rope_theta},
    )


def _embedding_as_it_is(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def stand_in(**kwargs: Any) -> Tensor:
        if kwargs["is_initial_conditioning_frame"]:
            return original(**kwargs)
        tokens: Tensor = kwargs["current_vision_features"]  # hw N C
        side = round(tokens.shape[0] ** 0.5)
        return torch.unflatten(tokens.permute(1, 2, 0), 2, (side, side))

    return stand_in
