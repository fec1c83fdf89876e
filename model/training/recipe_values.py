"""Values of recipe files: known keys, right types, tables by size, and writing them out again."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar

from model.config import SIZES
from model.errors import TrainingError

if TYPE_CHECKING:
    from model.training.recipe import Recipe

T = TypeVar("T")

_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "int | None": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "float | None": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a text"),
    "Schedule": ((str,), "a text"),
    "tuple[str, ...]": ((list, tuple), "a list"),
    "tuple[float, float]": ((list, tuple), "a list of two numbers"),
}


def nearest(key: str, known: Iterable[str]) -> str:
    """The known name most like `key`."""
    return difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)[0]


def check_known(key: str, known: Iterable[str], where: str) -> None:
    """Raises `TrainingError` naming the nearest key when `key` is not known."""
    names = tuple(known)
    if key not in names:
        raise TrainingError(
            f"Unknown key `{key}` in {where}. The nearest known one is `{nearest(key, names)}`."
        )


def read_setting(text: str) -> tuple[str, Any]:
    """Key and value of `key=value`: a value of TOML (number, true, list) where it is one, a text otherwise."""
    key, found, value = text.partition("=")
    if not found or not key.strip():
        raise TrainingError(f"--set wants key=value, got {text!r}.")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def check_tables(table: Mapping[str, Any], where: str) -> None:
    """Raises `TrainingError` where `train`, `mae`, `augmentation` or `stages` of a recipe has another shape."""
    for key in ("train", "mae", "augmentation"):
        if key in table and not isinstance(table[key], Mapping):
            raise TrainingError(f"{where}: {key} must be a table, [{key}], got {table[key]!r}.")
    stages = table.get("stages", [])
    if not isinstance(stages, list) or not all(isinstance(row, Mapping) for row in stages):
        raise TrainingError(f"{where}: stages must be a list of tables, each [[stages]], got {stages!r}.")


def by_size(values: Mapping[str, Any], size: str, where: str) -> dict[str, Any]:
    """`values` with every table by size replaced by what it says of `size`."""
    chosen = dict(values)
    for key, value in values.items():
        if isinstance(value, Mapping):
            for name in value:
                check_known(name, SIZES, f"{where}, {key} by size")
            if size not in value:
                raise TrainingError(f"{where} says {key} of {', '.join(value)}, not of {size}: --set {key}=…")
            chosen[key] = value[size]
    return chosen


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass of checked values; `TrainingError`s say where the value stands."""
    known = {item.name: str(item.type) for item in fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        check_known(key, known, where)
        if known[key] in _TYPES:
            _check_type(key, value, known[key], where)
    for item in fields(kind):  # type: ignore[arg-type]
        if item.name not in values and item.default is MISSING and item.default_factory is MISSING:
            raise TrainingError(f"{where} does not say its `{item.name}`.")
    try:
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    except TrainingError as error:
        raise TrainingError(f"{where}: {error}") from None


def _check_type(key: str, value: Any, name: str, where: str) -> None:
    kinds, words = _TYPES[name]
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if name == "tuple[float, float]":
        fits = fits and len(value) == 2 and all(isinstance(v, int | float) for v in value)
    if name == "tuple[str, ...]":
        fits = fits and all(isinstance(v, str) for v in value)
    if value is None and name.endswith("None"):
        fits = True
    if not fits:
        raise TrainingError(f"{where}: {key} must be {words}, got {value!r}.")


def dump(recipe: Recipe) -> str:
    """The recipe as TOML: top level, tables, what its stages share under `[train]`, and each stage."""
    configs = [_plain(stage.config) for stage in recipe.stages]
    shared = {
        key: value for key, value in configs[0].items() if all(config.get(key) == value for config in configs)
    }
    top = {key: value for key, value in _plain(recipe).items() if key != "stages"}
    lines = _lines({k: v for k, v in top.items() if not _is_table(v)})
    for name in ("mae", "augmentation"):
        if (table := getattr(recipe, name)) is not None:
            lines += ["", f"[{name}]", *_lines(_plain(table))]
    lines += ["", "[train]", *_lines(shared)]
    for stage, config in zip(recipe.stages, configs, strict=True):
        shape = {key: value for key, value in _plain(stage).items() if key != "config" and value != ()}
        own = {key: value for key, value in config.items() if key not in shared}
        lines += ["", "[[stages]]", *_lines({**shape, **own})]
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> dict[str, Any]:
    """A dataclass's fields by name, without those that are None."""
    found = {item.name: getattr(value, item.name) for item in fields(value)}
    return {key: item for key, item in found.items() if item is not None}


def _is_table(value: Any) -> bool:
    return hasattr(value, "__dataclass_fields__")


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # TOML's basic strings are JSON's
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)
