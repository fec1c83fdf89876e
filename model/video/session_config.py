"""How a video session behaves, in one place."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from model.runtime import Precision
from model.video.frame_result import MaskTidying

__all__ = ["SessionConfig"]

# Several objects in one call share the cost of starting it, which matters for small networks and on GPUs. On a
# CPU at 1024 px one object is 28,736 tokens, and two of them only crowd the caches.
_CPU_BATCH_TOKENS = 1 << 15
_GPU_BATCH_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """How a session behaves."""

    mask_prompts_only: bool = False  # the model of phase 2, SAM 2 Mask, understands nothing else
    fill_hole_area: int = 8  # holes filled in predicted masks, in pixels of a 256×256 map
    max_speck_area: int = 0  # specks dropped from predicted masks, in the same pixels
    non_overlap: bool = False  # give each pixel of a result to one object only
    object_batch: int = 32  # objects that go through the network together, at most
    batch_tokens: int | None = None  # memory tokens in one call, at most; None: 32,768 on CPUs, 2²⁰ on GPUs
    precision: Precision = "auto"  # see `model.runtime.inference`
    feature_cache_bytes: int = 256 * 2**20  # of encoded frames, where the session makes its own cache
    conditioned_cache_bytes: int = 128 * 2**20  # of embeddings that have looked at memory: repeated clicks
    memory_bytes: int = 256 * 2**20  # of answers on tracked frames; those still readable are kept anyway
    memory_dtype: torch.dtype = torch.bfloat16  # in which memory maps are stored
    revision_bytes: int = 64 * 2**20  # of the log behind `changes`, on disk beyond the first MiB; 0: no log

    @property
    def tidying(self) -> MaskTidying:
        """What happens to predicted masks on their way out."""
        return MaskTidying(
            fill_hole_area=self.fill_hole_area,
            max_speck_area=self.max_speck_area,
            non_overlap=self.non_overlap,
        )

    def objects_per_call(self, tokens: int, device: torch.device) -> int:
        """How many objects with `tokens` memory tokens each go into one call of the network; at least one."""
        default = _CPU_BATCH_TOKENS if device.type == "cpu" else _GPU_BATCH_TOKENS
        bound = default if self.batch_tokens is None else self.batch_tokens
        return max(1, min(self.object_batch, bound // max(tokens, 1)))
