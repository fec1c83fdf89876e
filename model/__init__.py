"""SAM 2: the network, its sessions on videos and images, its weights and its training.

Names are loaded when first asked for, so that reading `model.errors` or settings does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.errors import (
        CheckpointError,
        CoordinateError,
        EmptyVideoError,
        FrameRangeError,
        FrameShapeError,
        LockedFrameError,
        MaskShapeError,
        ModelError,
        NotPromptedError,
        PromptError,
        TrainingError,
        UnknownObjectError,
    )
    from model.files.checkpoints import checkpoint_hash, default_checkpoint, load_checkpoint, save_checkpoint
    from model.files.download import pull
    from model.files.official import official_file
    from model.image.auto_config import AutoMaskConfig, AutoMaskletConfig
    from model.image.auto_masklets import AutoMasklet, generate_masklets
    from model.image.auto_masks import FoundMask, generate_masks
    from model.image.image_predictor import ImagePredictor, ImagePrompt, MaskPrediction
    from model.network.builder import build_sam2
    from model.network.sam2 import Sam2
    from model.prompts import Box, Click
    from model.runtime import compile_parts, inference, pick_device
    from model.sam1.checkpoints import load_sam1
    from model.sam1.sam1 import Sam1, build_sam1
    from model.video.disk_features import DiskFeatures
    from model.video.feature_cache import FeatureCache
    from model.video.frame_result import FrameResult
    from model.video.frame_source import FolderFrames, FrameSource, StreamFrames, VideoFrames
    from model.video.propagation import Propagation
    from model.video.revision_log import FrameChange
    from model.video.undo_history import Undone
    from model.video.video_session import SessionConfig, VideoSession

__all__ = [
    "AutoMaskConfig",
    "AutoMasklet",
    "AutoMaskletConfig",
    "Box",
    "CheckpointError",
    "Click",
    "CoordinateError",
    "DiskFeatures",
    "EmptyVideoError",
    "FeatureCache",
    "FolderFrames",
    "FoundMask",
    "FrameChange",
    "FrameRangeError",
    "FrameResult",
    "FrameShapeError",
    "FrameSource",
    "ImagePredictor",
    "ImagePrompt",
    "LockedFrameError",
    "MaskPrediction",
    "MaskShapeError",
    "ModelError",
    "NotPromptedError",
    "PromptError",
    "Propagation",
    "Sam1",
    "Sam2",
    "SessionConfig",
    "StreamFrames",
    "TrainingError",
    "Undone",
    "UnknownObjectError",
    "VideoFrames",
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
        "image.auto_config": ("AutoMaskConfig", "AutoMaskletConfig"),
        "image.auto_masklets": ("AutoMasklet", "generate_masklets"),
        "image.auto_masks": ("FoundMask", "generate_masks"),
        "network.builder": ("build_sam2",),
        "files.checkpoints": ("checkpoint_hash", "default_checkpoint", "load_checkpoint", "save_checkpoint"),
        "video.disk_features": ("DiskFeatures",),
        "files.download": ("pull",),
        "errors": (
            "CheckpointError",
            "CoordinateError",
            "EmptyVideoError",
            "FrameRangeError",
            "FrameShapeError",
            "LockedFrameError",
            "MaskShapeError",
            "ModelError",
            "NotPromptedError",
            "PromptError",
            "TrainingError",
            "UnknownObjectError",
        ),
        "video.feature_cache": ("FeatureCache",),
        "video.frame_result": ("FrameResult",),
        "video.frame_source": ("FolderFrames", "FrameSource", "StreamFrames", "VideoFrames"),
        "image.image_predictor": ("ImagePredictor", "ImagePrompt", "MaskPrediction"),
        "files.official": ("official_file",),
        "prompts": ("Box", "Click"),
        "video.propagation": ("Propagation",),
        "video.revision_log": ("FrameChange",),
        "runtime": ("compile_parts", "inference", "pick_device"),
        "sam1.checkpoints": ("load_sam1",),
        "sam1.sam1": ("Sam1", "build_sam1"),
        "network.sam2": ("Sam2",),
        "video.undo_history": ("Undone",),
        "video.video_session": ("SessionConfig", "VideoSession"),
    }
)


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"model.{module}"), name)
    raise AttributeError(f"module 'model' has no attribute {name!r}")
