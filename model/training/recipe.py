"""Recipes: whole training programmes as data, one TOML file each, in stages of a `TrainConfig` each.

Those of `recipes/` come with the package: SAM 2's own, with the paper's numbers, and a nano variant of each that runs
on one core. A file says `[train]` for all stages and `[[stages]]` for what differs. A number that depends on the
network's size may be a table by size, `layer_decay = { tiny = 0.8, large = 0.925 }`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from model.config import sam2_config
from model.errors import TrainingError
from model.training.augment import AUGMENTATIONS, Augmentation
from model.training.mae.config import MaeConfig
from model.training.recipe_values import (
    build,
    by_size,
    check_known,
    check_tables,
    dump,
    nearest,
    read_setting,
)
from model.training.train_config import CHOICES, MODES, PRECISIONS, RANGES, TrainConfig

__all__ = [
    "CHOICES",
    "MODES",
    "PRECISIONS",
    "RANGES",
    "RECIPES",
    "Recipe",
    "Stage",
    "TrainConfig",
    "load_recipe",
]

RECIPES = (
    "mae",
    "images",
    "full",
    "long",
    "sam2-mask",
    "full-sam2",
    "finetune",
    "nano",
    "nano-mae",
    "nano-images",
    "nano-full",
    "nano-long",
    "nano-sam2-mask",
    "nano-full-sam2",
    "nano-finetune",
)
"""Names of the packaged recipes, in the order they are listed."""

KINDS = ("mae", "segment")


@dataclass(frozen=True, slots=True)
class Stage:
    """One leg of a recipe: a training run at an image size. `spread` starts candidates from the single mask."""

    name: str
    image_size: int | None  # pixels; None: the recipe's
    config: TrainConfig
    spread: bool = False
    data: tuple[str, ...] = ()  # sources of its own; empty: the recipe's


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A training programme: what network, from which weights, on what data, through which stages."""

    name: str
    stages: tuple[Stage, ...]
    title: str = ""
    origin: str = ""  # where the numbers come from
    what: str = "segment"  # "mae": the trunk fills in hidden parts of pictures; "segment": prompts to masks
    size: str = "nano"  # a row of `model.config.SIZES`
    image_size: int | None = None  # pixels; None: the size's own
    start: str = "fresh"  # "fresh", "packaged", a published name that was pulled, or a path
    young: bool = False  # fresh weights are prepared so that a small network learns from the first step
    data: tuple[str, ...] = ()  # sources as `KIND:PLACE=WEIGHT`; empty: the user must say
    needs: str = ""  # what data it wants, for people
    image_objects: int | None = None  # most objects of a single image; None: as many as of a clip
    images_per_step: int | None = None  # where a step is of single images; None: clips_per_step
    augmentation: Augmentation | None = None  # of clips; None: what suits each kind of source
    mae: MaeConfig | None = None

    def __post_init__(self) -> None:
        sam2_config(self.size, image_size=self.image_size)  # raises, naming what can be had
        if self.what not in KINDS:
            raise TrainingError(f"what {self.what!r} is unknown; use one of {', '.join(KINDS)}.")
        if not self.stages:
            raise TrainingError(f"Recipe {self.name} has no stage.")
        if self.what == "mae" and len(self.stages) > 1:
            raise TrainingError(f"Recipe {self.name}: pre-training of a trunk has one stage.")
        for stage in self.stages:
            sam2_config(self.size, image_size=self.side(stage))
        self._check_names()

    def _check_names(self) -> None:
        names = [stage.name for stage in self.stages]
        for name in names:
            if name in ("", ".", "..") or "/" in name or not name.isprintable():
                raise TrainingError(
                    f"Recipe {self.name}: the name of a stage must be a plain file name, without a slash, got {name!r}."
                )
            if names.count(name) > 1:
                raise TrainingError(f"Recipe {self.name}: stages need names of their own, got {name!r}.")

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.config.steps for stage in self.stages)

    @property
    def counted(self) -> str:
        """What its throughput counts."""
        return "pictures" if self.what == "mae" else "objects"

    @property
    def texts(self) -> tuple[str, ...]:
        """The sources of all stages, each once, in order."""
        return tuple(dict.fromkeys(text for stage in self.stages for text in self.data_of(stage)))

    def data_of(self, stage: Stage) -> tuple[str, ...]:
        """The sources of a stage."""
        return stage.data or self.data

    def on(self, *data: str) -> Recipe:
        """The same with all stages on other data."""
        stages = tuple(replace(stage, data=()) for stage in self.stages)
        return replace(self, data=data, stages=stages)

    def side(self, stage: Stage) -> int:
        """Side of a stage's images in pixels."""
        return stage.image_size or sam2_config(self.size, image_size=self.image_size).image_size

    def shortened(self, steps: int) -> Recipe:
        """The same in `steps` steps: every stage shrinks (or grows) alike, with its warm-up, cool-down and timescale.

        Raises `TrainingError` when there are fewer steps than stages.
        """
        if steps < len(self.stages):
            raise TrainingError(
                f"Recipe {self.name} has {len(self.stages)} stages and needs at least as many steps, got {steps}."
            )
        ends = [0]
        done = 0
        for number, stage in enumerate(self.stages, start=1):
            done += stage.config.steps
            left = len(self.stages) - number
            ends.append(max(ends[-1] + 1, min(steps - left, round(done * steps / self.steps))))
        lengths = [end - start for start, end in pairwise(ends)]
        return replace(
            self,
            stages=tuple(_scaled(stage, length) for stage, length in zip(self.stages, lengths, strict=True)),
        )

    def to_toml(self) -> str:
        """A file that `load_recipe` reads as this recipe, with every number written out."""
        return dump(self)


def load_recipe(name: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """The packaged recipe of that name, or the one in a `.toml` file, with `settings` (`key=value`) changed.

    A key without a dot, or `train.key`, holds for all stages; `STAGE.key`, `mae.key` and `augmentation.key` say
    where. Raises `TrainingError` for a recipe or a key that is not known, naming the nearest, and for a value out of
    its range.
    """
    table, where, own_name = _read(name)
    check_tables(table, where)
    for setting in settings:
        _apply(table, *read_setting(setting))
        check_tables(table, where)
    return _recipe(table, where, own_name)


def _read(name: str | Path) -> tuple[dict[str, Any], str, str]:
    """The table of a recipe, what to call it in messages, and its name."""
    path = Path(name)
    if path.suffix == ".toml":
        try:
            return _parsed(path.read_text(encoding="utf-8"), str(path)), str(path), path.stem
        except (OSError, UnicodeDecodeError) as error:
            raise TrainingError(f"Cannot read the recipe {path}: {error}.") from error
    if str(name) not in RECIPES:
        raise TrainingError(
            f"There is no recipe {str(name)!r}; the nearest known one is `{nearest(str(name), RECIPES)}`. "
            "See `engine model recipes`, or give a .toml file."
        )
    text = files("model.training").joinpath(f"recipes/{name}.toml").read_text(encoding="utf-8")
    return _parsed(text, f"recipe {name}"), f"recipe {name}", str(name)


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"{where} is not valid TOML: {error}.") from error


_TRAIN = tuple(item.name for item in fields(TrainConfig))
_TOP = tuple(item.name for item in fields(Recipe) if item.name != "stages")
_TABLES = ("train", "stages", "mae", "augmentation")
_STAGE = ("name", "image_size", "spread", "data")


def _apply(table: dict[str, Any], key: str, value: Any) -> None:
    """Writes one setting into a recipe's table, over what its stages say."""
    place, _, name = key.rpartition(".")
    stages = table.get("stages", [])
    if place in ("mae", "augmentation", "train"):
        for stage in stages if place == "train" else ():
            stage.pop(name, None)
        table.setdefault(place, {})[name] = value
    elif place:
        known = [str(stage.get("name", "")) for stage in stages]
        if place not in known:
            raise TrainingError(
                f"There is no stage {place!r} to set {name} of; the nearest known one is "
                f"`{nearest(place, [*known, 'mae', 'augmentation'])}`."
            )
        stages[known.index(place)][name] = value
    elif name in _TRAIN or name in _TOP:
        for said in (table.get("train", {}), *stages):
            said.pop(name, None)
        (table if name in _TOP else table.setdefault("train", {}))[name] = value
    else:
        check_known(name, (*_TOP, *_TRAIN), "a --set")


def _recipe(table: dict[str, Any], where: str, name: str) -> Recipe:
    top = {key: value for key, value in table.items() if key not in ("train", "stages", "mae")}
    for key in table:
        check_known(key, (*_TOP, *_TABLES), where)
    size = str(table.get("size", "nano"))
    sam2_config(size)
    train = by_size(table.get("train", {}), size, where)
    for key in train:
        check_known(key, ("image_size", *_TRAIN), f"{where}, [train]")
    rows = table.get("stages") or [{"name": name}]
    stages = tuple(_stage(by_size(row, size, where), train, where) for row in rows)
    top = by_size({key: value for key, value in top.items() if key != "augmentation"}, size, where)
    if "augmentation" in table:
        top["augmentation"] = _augmentation(table["augmentation"], f"{where}, [augmentation]")
    if table.get("what") == "mae" or "mae" in table:
        top["mae"] = build(MaeConfig, table.get("mae", {}), f"{where}, [mae]")
    return build(Recipe, {"name": name, **top, "stages": stages}, where)


def _augmentation(values: Mapping[str, Any], where: str) -> Augmentation:
    """A preset, `video` where none is named, with some of its numbers replaced."""
    preset = values.get("preset", "video")
    if not isinstance(preset, str) or preset not in AUGMENTATIONS:
        raise TrainingError(f"{where}: preset {preset!r} is unknown; use one of {', '.join(AUGMENTATIONS)}.")
    own = {key: value for key, value in values.items() if key != "preset"}
    return build(Augmentation, {**asdict(AUGMENTATIONS[preset]), **own}, where)


def _stage(row: Mapping[str, Any], train: Mapping[str, Any], where: str) -> Stage:
    name = row.get("name", "")
    where = f"{where}, stage {name}" if name else where
    for key in row:
        check_known(key, (*_STAGE, *_TRAIN), where)
    said = {"image_size": None, **train, **row}
    if "steps" in said and "warmup" not in said:
        said["warmup"] = _default_warmup(said["steps"])
    config = build(TrainConfig, {key: value for key, value in said.items() if key not in _STAGE}, where)
    _check_lengths(config, where)
    shape = {key: value for key, value in said.items() if key in _STAGE}
    return build(Stage, {**shape, "config": config}, where)


def _default_warmup(steps: Any) -> int:
    """The usual warm-up, shorter where a stage is; what is no number of steps is told when the stage is built."""
    usual = TrainConfig().warmup
    return min(usual, steps) if isinstance(steps, int) and steps > 0 else usual


def _check_lengths(config: TrainConfig, where: str) -> None:
    for name in ("warmup", "cooldown"):
        length = getattr(config, name)
        if length > config.steps:
            raise TrainingError(
                f"{where}: {name} must be at most the stage's steps ({config.steps}), got {length}. Lower it; "
                "a shorter run of the whole recipe is --steps, which shortens it alike."
            )


def _scaled(stage: Stage, steps: int) -> Stage:
    """The stage in `steps` steps, its schedule stretched alike."""
    old = stage.config
    share = steps / old.steps
    config = replace(
        old,
        steps=steps,
        warmup=min(steps - 1, round(old.warmup * share)),
        cooldown=round(old.cooldown * share),
        timescale=max(1, round(old.timescale * share)),
    )
    return replace(stage, config=config)
