"""Reading weights files, safetensors and `.pt`, without running anything that is in them."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.errors import CheckpointError

__all__ = ["Shapes", "State", "differences", "read_metadata", "read_shapes", "read_tensors", "shapes_of"]

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]

_SHOWN_KEYS = 5
# how torch says, when it refuses a pickle, what was asked for; half a name of its own means a cut-off file
_REFUSED = re.compile(r"GLOBAL (?!torch\.)([\w.]+)|Unsupported operand")
# what reading a damaged archive may end in
_BAD_CONTENT = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def read_tensors(path: Path) -> State:
    """Return the tensors of a safetensors file, or of a `.pt` under its key "model" or bare, on the CPU.

    Raises CheckpointError when it is missing, empty, damaged, cut short, holds anything but tensors, or is no
    weights file at all.
    """
    if _is_pickled(path):
        # copied out of the mapped file, whose other content (an optimizer's, say) is never read
        return {key: value.clone() for key, value in _state_dict(path).items()}
    try:
        with safe_open(path, framework="pt") as stream:
            return {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def read_shapes(path: Path) -> Shapes:
    """Return names and shapes only; the weights are not read. Raises CheckpointError like `read_tensors`."""
    if _is_pickled(path):
        return shapes_of(_state_dict(path))
    try:
        with safe_open(path, framework="pt") as stream:
            keys = list(stream.keys())
            return {key: tuple(stream.get_slice(key).get_shape()) for key in keys}
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Return the text entries of a safetensors header without reading its weights; nothing for a `.pt`.

    Raises CheckpointError like `read_tensors`.
    """
    if _is_pickled(path):
        return {}
    try:
        with safe_open(path, framework="pt") as stream:
            return dict(stream.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    """Return the shapes by name."""
    return {key: tuple(value.shape) for key, value in state.items()}


def differences(found: Shapes, expected: Mapping[str, tuple[int, ...]]) -> str:
    """Return in words what names and shapes differ; empty when none does."""
    problems = (
        _listing("missing", sorted(expected.keys() - found.keys())),
        _listing("unexpected", sorted(found.keys() - expected.keys())),
        _listing("wrong shape", _wrong_shapes(found, expected)),
    )
    return "; ".join(problem for problem in problems if problem)


def _wrong_shapes(found: Shapes, expected: Mapping[str, tuple[int, ...]]) -> list[str]:
    both = sorted(found.keys() & expected.keys())
    return [f"{key} {found[key]} not {expected[key]}" for key in both if found[key] != expected[key]]


def _listing(title: str, keys: list[str]) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
    return f"{len(keys)} {title}: {', '.join(keys[:_SHOWN_KEYS])}{more}"


def _is_pickled(path: Path) -> bool:
    """Whether the file is a torch archive (a zip, or the older bare pickle) and no safetensors file.

    Raises CheckpointError for what is plainly neither.
    """
    start = _first_bytes(path)
    if not start:
        raise CheckpointError(f"checkpoint {path} is empty; its download or copy was cut short")
    if start.lstrip().startswith(b"<"):
        raise CheckpointError(f"checkpoint {path} is a web page, not weights; download it again")
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"checkpoint {path} is a pointer of Git LFS, not weights; run `git lfs pull`")
    if start[8:9] == b"{":  # safetensors: the length of a JSON header, then the header
        return False
    return start.startswith((b"PK", b"\x80"))


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(64)
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error


def _state_dict(path: Path) -> State:
    """The state dict in a torch archive, its tensors still in the file."""
    content = _unpickle(path)
    if isinstance(content, dict) and content.keys() >= {"network", "optimiser"}:
        raise CheckpointError(
            f"checkpoint {path} is a state that a training goes on from, not weights: take checkpoint.safetensors "
            "beside it, and where that is not there yet run the training's command again to its end"
        )
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"checkpoint {path} holds no state dict (under the key 'model', or bare)")
    return state


def _unpickle(path: Path) -> object:
    """The content of a torch archive, tensors and plain values only; a zip's tensors stay in the file."""
    mapped = _first_bytes(path).startswith(b"PK")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        refused = _REFUSED.search(str(error))
        if refused is None:
            raise _damaged(path, error) from error
        raise CheckpointError(
            f"checkpoint {path} holds {refused[1] or 'Python objects'} beside tensors; nothing in it was run. "
            "Ask its maker for a state dict or a safetensors file"
        ) from error
    except (*_BAD_CONTENT, OSError, SafetensorError) as error:  # torch tries safetensors too
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CheckpointError(f"checkpoint {path} cannot be read; it is damaged or cut short ({reason})")
