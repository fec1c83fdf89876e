"""Structures of tensors, as networks take and return them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

__all__ = ["mapped"]


def mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """`value` with `change` made to each tensor in its tuples, lists, dictionaries and dataclasses."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: mapped(part, change) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(part, change) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return _rebuilt(value, change)
    return value


def _rebuilt(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """A dataclass of the same type, without asking its constructor."""
    twin = object.__new__(type(value))
    for item in fields(value):
        object.__setattr__(twin, item.name, mapped(getattr(value, item.name), change))
    return twin
