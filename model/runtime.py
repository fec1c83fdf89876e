"""Where and how a network runs: device, precision and compilation.

    device = pick_device()  # CUDA, else Apple's MPS, else the CPU
    model = load_checkpoint(path, device=device)
    with inference(device):
        features = model.encode_images(images)

The sessions and predictors do this themselves; those who call `Sam2` directly do it like them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from model.errors import ModelError
from model.network.sam2 import Sam2

__all__ = ["CompileMode", "Precision", "compile_parts", "inference", "pick_device"]

Precision = Literal["auto", "float32", "bfloat16"]
CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]

_GRAPH_MODES = ("reduce-overhead", "max-autotune")
_DEVICE_TYPES = ("cpu", "cuda", "mps")


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`: "auto", "cpu", "cuda", "cuda:1" or "mps".

    "auto" is CUDA where there is a GPU, else MPS, else the CPU. Raises ModelError when the name is unknown or this
    machine has no such device.
    """
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if _is_there(kind)))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r} is unknown; use auto, cpu, cuda, cuda:N or mps") from error
    if device.type not in _DEVICE_TYPES:
        raise ModelError(f"device {name!r} is not supported; use auto, cpu, cuda, cuda:N or mps")
    if not _is_there(device.type):
        raise ModelError(f"device {name!r} is asked for, but torch finds none here; use auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {name!r} is asked for, but there are {torch.cuda.device_count()} GPUs here")
    return device


def _is_there(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind == "cpu" or torch.backends.mps.is_available()


@contextmanager
def inference(device: torch.device, precision: Precision = "auto") -> Iterator[None]:
    """Run a block without gradients in `precision`; every call of a network on `device` belongs in one.

    "auto" is bfloat16 autocast on a CUDA GPU that computes in it (weights stay float32, sums and norms too, as the
    paper measured its speed, §6) and float32 elsewhere: on CPUs bfloat16 is slower without AMX instructions, and
    MPS has no autocast that we trust. What leaves the network may be bfloat16: `.float()` it. A precision that is
    named wins over an autocast around the block. Raises ModelError for bfloat16 on MPS.
    """
    lowered = _is_lowered(device, precision)
    if device.type == "mps":  # no autocast at all there, not even one that is switched off
        with torch.inference_mode():
            yield
        return
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=lowered):
        yield


def _is_lowered(device: torch.device, precision: Precision) -> bool:
    if precision == "bfloat16" and device.type == "mps":
        raise ModelError("precision 'bfloat16' is for CUDA and CPU; use 'auto' or 'float32' on MPS")
    if precision not in ("auto", "float32", "bfloat16"):
        raise ModelError(f"precision {precision!r} is unknown; use auto, float32 or bfloat16")
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bfloat16"


def compile_parts(model: Sam2, *, mode: CompileMode = "default", backend: str = "inductor") -> Sam2:
    """Compile the parts of a network in place with `torch.compile`, and return it.

    The parts are those of the official `vos_optimized` build: image encoder, memory attention, memory encoder, prompt
    encoder and mask decoder. Their methods are replaced, not the modules, so that state-dict keys and checkpoints stay
    as they are. The image encoder is compiled for one shape; the others, which see a changing number of objects,
    points and memories, for one object and for any number. That happens at the first calls and takes about a minute
    with "default".

    `mode`: "default" compiles fastest; "reduce-overhead" records CUDA graphs, for small networks and few objects;
    "max-autotune" tries kernels too (minutes, the official choice), "max-autotune-no-cudagraphs" the same without
    graphs. Results of recorded graphs are copied, since the next call would overwrite them. On CPUs none of them
    pays. `backend` is torch's name of a compiler; "eager" only traces. Use it under `inference`, not for training.
    """
    compiler = _Compiler(mode, backend)
    compiler.replace(model.image_encoder, "forward", dynamic=False)
    compiler.replace(model.memory_attention, "forward", dynamic=True)
    compiler.replace(model.memory_encoder, "forward")
    compiler.replace(model.sam_prompt_encoder, "points")
    compiler.replace(model.sam_prompt_encoder, "mask")
    # the decoder loops over chunks of prompts, which would be compiled anew for each count: its two heavy steps are
    compiler.replace(model.sam_mask_decoder.transformer, "forward", dynamic=True)
    compiler.replace(model.sam_mask_decoder, "_draw", dynamic=True)
    return model


class _Compiler:
    """Replaces methods by compiled ones."""

    def __init__(self, mode: CompileMode, backend: str) -> None:
        # only inductor knows modes
        self._options: dict[str, Any] = {"backend": backend} | (
            {"mode": mode} if backend == "inductor" else {}
        )
        self._copies = backend == "inductor" and mode in _GRAPH_MODES

    def replace(self, module: nn.Module, method: str, *, dynamic: bool | None = None) -> None:
        compiled = torch.compile(getattr(module, method), dynamic=dynamic, **self._options)
        setattr(module, method, _copying(compiled) if self._copies else compiled)


def _copying(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call of a recorded graph whose results outlive the next call."""

    def copied(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return _copy(call(*args, **kwargs))

    return copied


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(part) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{part.name: _copy(getattr(value, part.name)) for part in fields(value)})
    return value
