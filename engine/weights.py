"""Loading weights onto the device of the settings, kept in memory for the process (a round asks for the same ones
again and again).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine.home import EngineHome
from engine.rounds import checkpoint_key
from engine.settings import ModelSettings
from storage.objects import ObjectStore, open_store

if TYPE_CHECKING:
    from model.network.sam2 import Sam2
    from model.sam1.sam1 import Sam1

KEPT_MODELS = 2
"""Champion and challenger."""


def load_weights(home: EngineHome, checkpoint_hash: str) -> Sam2:
    """The network with the stored weights of that SHA-256, in evaluation mode, where the settings want it.

    Raises ModelError when that device is not there.
    """
    import torch

    settings = home.settings.model
    if settings.threads:
        torch.set_num_threads(settings.threads)
    return _load(home.store.url, checkpoint_hash, settings)


@lru_cache(maxsize=KEPT_MODELS)
def _load(store_url: str, checkpoint_hash: str, settings: ModelSettings) -> Sam2:
    store: ObjectStore = open_store(store_url)
    with store.local_copy(checkpoint_key(checkpoint_hash)) as path:
        return load_file(path, settings)


def load_file(path: Path, settings: ModelSettings) -> Sam2:
    """The network in a weights file, in evaluation mode, where and how the settings want it."""
    from model.allocator import keep_freed_memory, suits
    from model.files.checkpoints import load_checkpoint
    from model.runtime import compile_parts, pick_device

    model = load_checkpoint(path, image_size=settings.image_size or None, device=pick_device(settings.device))
    if suits(model.image_size):
        keep_freed_memory()
    return compile_parts(model) if settings.compile else model


def load_sam(home: EngineHome, checkpoint_hash: str) -> Sam1 | None:
    """SAM 1 with the stored weights of that SHA-256, in evaluation mode, where the settings want it.

    None for an empty hash. Raises ModelError when the device is not there.
    """
    return _load_sam(home.store.url, checkpoint_hash, home.settings.model.device) if checkpoint_hash else None


@lru_cache(maxsize=1)
def _load_sam(store_url: str, checkpoint_hash: str, device: str) -> Sam1:
    from model.runtime import pick_device
    from model.sam1.checkpoints import load_sam1

    store: ObjectStore = open_store(store_url)
    with store.local_copy(checkpoint_key(checkpoint_hash)) as path:
        return load_sam1(path, device=pick_device(device))
