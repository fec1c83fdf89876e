"""Our side, as the engine uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.compare.measure import Stages
from benchmarks.compare.rows import Job
from benchmarks.compare.side import STAGES, AutoOptions, BoolMask
from model.allocator import keep_freed_memory, suits
from model.files.checkpoints import load_checkpoint
from model.image.auto_config import AutoMaskConfig
from model.image.auto_masks import generate_masks
from model.image.image_predictor import ImagePredictor
from model.network.sam2 import ImageFeatures
from model.prompts import Click
from model.runtime import compile_parts, inference
from model.video.frame_source import FolderFrames
from model.video.video_session import SessionConfig, VideoSession
from storage.masks import Rle

__all__ = ["Ours"]


class Ours:
    """`VideoSession` and the automatic mask generator of this repository."""

    def __init__(self, job: Job, weights: Path) -> None:
        self.job = job
        if suits(job.row.image_size):
            keep_freed_memory()  # as the engine does
        self.network = load_checkpoint(
            weights, size=job.row.size, image_size=job.row.image_size, device=job.device
        )
        if job.compiled:
            compile_parts(self.network)
        methods = ("encode_images", "condition", "sam_heads", "encode_memory")
        self.stages = Stages(self.network, dict(zip(STAGES, methods, strict=True)))

    def inference(self) -> AbstractContextManager[object]:
        return inference(self.network.device, self.job.precision)

    def encode(self, rgb: NDArray[np.uint8]) -> None:
        self.network.encode_images(self.network.preprocess(torch.from_numpy(rgb)[None]))

    def open(self, folder: Path) -> None:
        # the official package fills holes only with its compiled extension, so nobody fills any here
        if self.job.row.cache_mib is None:
            frames, config = (
                FolderFrames(folder),
                SessionConfig(fill_hole_area=0, precision=self.job.precision),
            )
        else:
            size = self.job.row.cache_mib * 2**20
            frames = FolderFrames(folder, cache_bytes=size)
            config = SessionConfig(
                fill_hole_area=0,
                precision=self.job.precision,
                feature_cache_bytes=size,
                conditioned_cache_bytes=size,
                memory_bytes=size,
            )
        self.session = VideoSession(self.network, frames, config=config)

    def click(self, frame: int, object_id: int, x: float, y: float) -> BoolMask:
        return np.asarray(self.session.add_points(frame, object_id, [Click(x, y)]).masks[0])

    def track(self, start: int) -> Iterator[tuple[int, BoolMask]]:
        for result in self.session.propagate(start=start):
            yield result.frame, result.masks

    def attend_nothing(self) -> None:
        self.stages.stand_in("memory attention", _embedding_as_it_is)

    def auto_masks(self, rgb: NDArray[np.uint8], options: AutoOptions) -> list[Rle]:
        config = AutoMaskConfig(
            points_per_side=options.points_per_side,
            pred_iou_thresh=options.min_predicted_iou,
            stability_score_thresh=options.min_stability,
        )
        predictor = ImagePredictor(self.network, precision=self.job.precision)
        return [found.rle for found in generate_masks(predictor, rgb, config)]


def _embedding_as_it_is(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def stand_in(features: ImageFeatures, memory: Any) -> Tensor:
        if memory is None:
            return original(features, memory)
        return features.embedding.expand(memory.tokens.shape[0], -1, -1, -1)

    return stand_in
