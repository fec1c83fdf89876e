"""Loading weights from the store, kept in memory for the process (a round asks for the same ones again and again)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from engine.home import EngineHome
from engine.rounds import checkpoint_key
from storage.objects import ObjectStore, open_store

if TYPE_CHECKING:
    from model.sam2 import Sam2

KEPT_MODELS = 2
"""Champion and challenger."""


def load_weights(home: EngineHome, checkpoint_hash: str) -> Sam2:
    """The network with the stored weights of that SHA-256, in evaluation mode."""
    import torch

    if home.settings.model.threads:
        torch.set_num_threads(home.settings.model.threads)
    return _load(home.store.url, checkpoint_hash, home.settings.model.image_size)


@lru_cache(maxsize=KEPT_MODELS)
def _load(store_url: str, checkpoint_hash: str, image_size: int) -> Sam2:
    from model.checkpoints import load_checkpoint

    store: ObjectStore = open_store(store_url)
    with store.local_copy(checkpoint_key(checkpoint_hash)) as path:
        return load_checkpoint(path, image_size=image_size or None).eval()
