"""What a run changes about a network before its first step: drop path, and parts that stay as they are."""

from __future__ import annotations

from model.network.hiera import Hiera
from model.network.layers import DropPath
from model.network.sam2 import Sam2
from model.training.recipe import TrainConfig


def prepare(model: Sam2, config: TrainConfig) -> None:
    """Sets the trunk's drop path and freezes the image encoder, as `config` says; neither is kept in checkpoints.

    A frozen encoder drops nothing: its features are those of inference.
    """
    if config.freeze_encoder:
        model.image_encoder.requires_grad_(False)
        set_drop_path(model.image_encoder.trunk, 0.0)
    elif config.drop_path is not None:
        set_drop_path(model.image_encoder.trunk, config.drop_path)


def set_drop_path(trunk: Hiera, highest: float) -> None:
    """Lets the chance of skipping a block rise linearly from 0 at the first block to `highest` at the last."""
    last = max(1, len(trunk.blocks) - 1)
    for index, block in enumerate(trunk.blocks):
        for path in block.modules():
            if isinstance(path, DropPath):
                path.rate = highest * index / last
