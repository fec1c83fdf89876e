"""SAM 2: the network, its sessions on videos and images, its weights and its training.

Names are loaded when first asked for, so that reading `model.errors` or settings does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.auto_config import AutoMaskConfig, AutoMaskletConfig
    from model.auto_masklets import AutoMasklet, generate_masklets
    from model.auto_masks import FoundMask, generate_masks
    from model.builder import build_sam2
    from model.checkpoints import checkpoint_hash, default_checkpoint, load_checkpoint, save_checkpoint
    from model.download import pull
    from model.errors import CheckpointError, ModelError, PromptError, TrainingError
    from model.frame_result import FrameResult
    from model.frame_source import FrameSource
    from model.image_predictor import ImagePredictor, ImagePrompt, MaskPrediction
    from model.official import official_file
    from model.prompts import Box, Click
    from model.runtime import compile_parts, inference, pick_device
    from model.sam1.checkpoints import load_sam1
    from model.sam1.sam1 import Sam1, build_sam1
    from model.sam2 import Sam2
    from model.video_session import SessionConfig, VideoSession

__all__ = [
    "AutoMaskConfig",
    "AutoMasklet",
    "AutoMaskletConfig",
    "Box",
    "CheckpointError",
    "Click",
    "FoundMask",
    "FrameResult",
    "FrameSource",
    "ImagePredictor",
    "ImagePrompt",
    "MaskPrediction",
    "ModelError",
    "PromptError",
    "Sam1",
    "Sam2",
    "SessionConfig",
    "TrainingError",
    "VideoSession",
    "build_sam1",
    "build_sam2",
    "checkpoint_hash",
    "compile_parts",
    "default_checkpoint",
    "generate_masklets",
    "generate_masks",
    "inference",
    "load_checkpoint",
    "load_sam1",
    "official_file",
    "pick_device",
    "pull",
    "save_checkpoint",
]

_HOMES = MappingProxyType(
    {
        "auto_config": ("AutoMaskConfig", "AutoMaskletConfig"),
        "auto_masklets": ("AutoMasklet", "generate_masklets"),
        "auto_masks": ("FoundMask", "generate_masks"),
        "builder": ("build_sam2",),
        "checkpoints": ("checkpoint_hash", "default_checkpoint", "load_checkpoint", "save_checkpoint"),
        "download": ("pull",),
        "errors": ("CheckpointError", "ModelError", "PromptError", "TrainingError"),
        "frame_result": ("FrameResult",),
        "frame_source": ("FrameSource",),
        "image_predictor": ("ImagePredictor", "ImagePrompt", "MaskPrediction"),
        "official": ("official_file",),
        "prompts": ("Box", "Click"),
        "runtime": ("compile_parts", "inference", "pick_device"),
        "sam1.checkpoints": ("load_sam1",),
        "sam1.sam1": ("Sam1", "build_sam1"),
        "sam2": ("Sam2",),
        "video_session": ("SessionConfig", "VideoSession"),
    }
)


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"model.{module}"), name)
    raise AttributeError(f"module 'model' has no attribute {name!r}")
