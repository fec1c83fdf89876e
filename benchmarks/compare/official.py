"""The official side: the `sam2` package as its users run it, by its own builder and its own loops."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.compare.measure import Stages
from benchmarks.compare.precision import autocast
from benchmarks.compare.rows import Job
from benchmarks.compare.side import STAGES, AutoOptions, BoolMask
from model.config import Sam2Config, sam2_config
from storage.masks import Rle

__all__ = ["Official"]

_CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
_PUBLISHED_DECODER = (256, 8, 2048)  # width, heads, feed-forward: fixed in the package's code


class Official:
    """`SAM2VideoPredictor` and `SAM2AutomaticMaskGenerator`."""

    def __init__(self, job: Job, weights: Path) -> None:
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        self.job = job
        self.config = sam2_config(job.row.size, image_size=job.row.image_size)
        self.predictor = _build(self.config, job)
        state = torch.load(weights, map_location="cpu", weights_only=True)["model"]
        self.predictor.load_state_dict(state, strict=True)
        self.predictor.fill_hole_area = 0  # impossible without the compiled extension; it warns at each call
        self.images = SAM2ImagePredictor(self.predictor)
        _fit_sizes(self.images, self.config)
        methods = (
            "forward_image",
            "_prepare_memory_conditioned_features",
            "_forward_sam_heads",
            "_encode_new_memory",
        )
        self.stages = Stages(self.predictor, dict(zip(STAGES, methods, strict=True)))

    def inference(self) -> AbstractContextManager[object]:
        return autocast(self.job)

    def encode(self, rgb: NDArray[np.uint8]) -> None:
        self.images.set_image(rgb)

    def open(self, folder: Path) -> None:
        self.state: Any = None  # the state before is let go first
        self.state = self.predictor.init_state(str(folder))

    def click(self, frame: int, object_id: int, x: float, y: float) -> BoolMask:
        _, ids, logits = self.predictor.add_new_points_or_box(
            self.state, frame, object_id, points=[[x, y]], labels=[1], clear_old_points=False
        )
        return np.asarray(_masks(logits)[ids.index(object_id)])

    def track(self, start: int) -> Iterator[tuple[int, BoolMask]]:
        for frame, _, logits in self.predictor.propagate_in_video(self.state, start_frame_idx=start):
            yield frame, _masks(logits)

    def attend_nothing(self) -> None:
        self.stages.stand_in("memory attention", _embedding_as_it_is)

    def auto_masks(self, rgb: NDArray[np.uint8], options: AutoOptions) -> list[Rle]:
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

        generator = SAM2AutomaticMaskGenerator(
            self.predictor,
            points_per_side=options.points_per_side,
            pred_iou_thresh=options.min_predicted_iou,
            stability_score_thresh=options.min_stability,
            output_mode="coco_rle",
        )
        _fit_sizes(generator.predictor, self.config)
        return [Rle.from_coco(record["segmentation"]) for record in generator.generate(rgb)]


def _build(config: Sam2Config, job: Job) -> Any:
    """The package's builder with `config`'s numbers written over those of its tiny."""
    from sam2.build_sam import build_sam2_video_predictor

    warnings.filterwarnings("ignore", module="sam2")
    predictor = build_sam2_video_predictor(
        _CONFIG,
        device=job.device,
        hydra_overrides_extra=[f"++model.{line}" for line in _overrides(config)],
        vos_optimized=job.compiled,
    )
    decoder = config.decoder
    if (config.dim, decoder.heads, decoder.feedforward) != _PUBLISHED_DECODER:
        _replace_decoder(predictor, config)
    return predictor.to(job.device)


def _overrides(config: Sam2Config) -> list[str]:
    trunk, memory = config.trunk, config.memory
    grid, background = [config.grid] * 2, [trunk.background_size] * 2
    numbers = {
        "image_size": config.image_size,
        "add_all_frames_to_correct_as_cond": True,  # without it a correction is lost at the next tracking
        "num_maskmem": memory.slots,
        "max_obj_ptrs_in_encoder": memory.max_pointers,
        "image_encoder.trunk.embed_dim": trunk.embed_dim,
        "image_encoder.trunk.num_heads": trunk.heads,
        "image_encoder.trunk.stages": list(trunk.stages),
        "image_encoder.trunk.global_att_blocks": list(trunk.global_blocks),
        "image_encoder.trunk.window_spec": list(trunk.windows),
        "image_encoder.trunk.window_pos_embed_bkg_spatial_size": background,
        "image_encoder.neck.d_model": config.dim,
        "image_encoder.neck.position_encoding.num_pos_feats": config.dim,
        "image_encoder.neck.backbone_channel_list": list(reversed(trunk.widths)),
        "memory_attention.d_model": config.dim,
        "memory_attention.num_layers": memory.layers,
        "memory_attention.layer.d_model": config.dim,
        "memory_attention.layer.dim_feedforward": memory.feedforward,
        "memory_encoder.out_dim": memory.dim,
        "memory_encoder.in_dim": config.dim,
        "memory_encoder.position_encoding.num_pos_feats": memory.dim,
        "memory_encoder.mask_downsampler.embed_dim": config.dim,
        "memory_encoder.fuser.layer.dim": config.dim,
        "memory_attention.layer.cross_attention.kv_in_dim": memory.dim,
    }
    for attention in ("self_attention", "cross_attention"):
        prefix = f"memory_attention.layer.{attention}"
        numbers[f"{prefix}.rope_theta"] = memory.rope_theta
        numbers[f"{prefix}.feat_sizes"] = grid
        numbers[f"{prefix}.embedding_dim"] = config.dim
        numbers[f"{prefix}.num_heads"] = memory.heads
    return [f"{name}={str(value).replace(' ', '')}" for name, value in numbers.items()]


def _replace_decoder(predictor: Any, config: Sam2Config) -> None:
    """The decoder of our nano: narrower than the one that the package's code fixes."""
    from sam2.modeling.sam.mask_decoder import MaskDecoder
    from sam2.modeling.sam.transformer import TwoWayTransformer

    decoder = config.decoder
    predictor.sam_mask_decoder = MaskDecoder(
        num_multimask_outputs=decoder.candidates,
        transformer=TwoWayTransformer(
            depth=decoder.depth,
            embedding_dim=config.dim,
            mlp_dim=decoder.feedforward,
            num_heads=decoder.heads,
        ),
        transformer_dim=config.dim,
        iou_head_depth=3,
        iou_head_hidden_dim=config.dim,
        use_high_res_features=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
        **(predictor.sam_mask_decoder_extra_args or {}),
    ).eval()


def _fit_sizes(image_predictor: Any, config: Sam2Config) -> None:
    """Inputs of another side than 1024 need this: the package's image predictor has the sizes fixed."""
    sides = [config.grid * factor for factor in (4, 2, 1)]
    image_predictor._bb_feat_sizes = [(side, side) for side in sides]


def _masks(logits: Tensor) -> BoolMask:
    """Masks bool [N, H, W] of logits [N, 1, H, W]."""
    masks: BoolMask = (logits[:, 0] > 0).cpu().numpy()
    return masks


def _embedding_as_it_is(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def stand_in(**kwargs: Any) -> Tensor:
        if kwargs["is_init_cond_frame"]:
            return original(**kwargs)
        tokens: Tensor = kwargs["current_vision_feats"][-1]  # hw N C
        return torch.unflatten(tokens.permute(1, 2, 0), 2, kwargs["feat_sizes"][-1])

    return stand_in
