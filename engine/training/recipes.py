"""Recipes on the data that texts name: what `engine model train RECIPE` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.home import EngineHome
from engine.training.leaks import ComparedPictures
from engine.training.sources import digest_of_rows, open_sources
from model.allocator import keep_freed_memory, suits
from model.errors import TrainingError
from model.training.clips import ClipSource
from model.training.data.sources import Kind, SourceText, read_text
from model.training.distributed import training_device
from model.training.mae.pictures import ClipPictures, FolderPictures, MixedPictures, Pictures
from model.training.mixture import Source
from model.training.recipe import Recipe
from model.training.run import Progress, RecipeResult, pretrain_trunk, run_recipe

__all__ = ["RecipeRun", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRun:
    """A recipe with everything that `--data`, `--seed` and the like say. `start` replaces its starting weights."""

    recipe: Recipe
    out_dir: Path
    seed: int = 0
    start: Path | None = None
    tensorboard: bool = False


def run(home: EngineHome | None, asked: RecipeRun, *, progress: Progress | None = None) -> RecipeResult:
    """Trains by a recipe, in this process and on its device, resuming what was begun in `out_dir`.

    `home`, where there is one, says the device and which videos are for evaluation: a clip of those ends the run with
    a LeakError. Raises TrainingError when the recipe needs data that was not named.
    """
    recipe = asked.recipe
    if not all(recipe.data_of(stage) for stage in recipe.stages):
        raise TrainingError(f"Recipe {recipe.name} needs data: {recipe.needs or '--data KIND:PLACE'}.")
    device = _device(home)
    if all(suits(recipe.side(stage)) for stage in recipe.stages):
        keep_freed_memory()
    digest = digest_of_rows(home, recipe.texts)
    made_from = {"data set": digest} if digest else {}
    if recipe.what == "mae":
        if asked.start is not None:
            raise TrainingError(f"Recipe {recipe.name} trains a fresh trunk; it starts from no weights.")
        return pretrain_trunk(
            recipe,
            open_pictures(home, recipe.texts),
            out_dir=asked.out_dir,
            seed=asked.seed,
            device=device,
            tensorboard=asked.tensorboard,
            made_from=made_from,
            progress=progress,
        )
    return run_recipe(
        recipe,
        _opened(home, recipe, recipe.data),
        own_sources={stage.name: _opened(home, recipe, stage.data) for stage in recipe.stages if stage.data},
        out_dir=asked.out_dir,
        seed=asked.seed,
        start=asked.start,
        device=device,
        tensorboard=asked.tensorboard,
        made_from=made_from,
        progress=progress,
    )


def _opened(home: EngineHome | None, recipe: Recipe, texts: Sequence[str]) -> list[Source]:
    return open_sources(home, texts, augmentation=recipe.augmentation)


def open_pictures(home: EngineHome | None, texts: Sequence[str]) -> Pictures:
    """Pictures to pre-train on: `pictures:/folder`, or single frames of any source of clips, mixed by weight."""
    return MixedPictures([_open_pictures(home, text) for text in texts])


def _open_pictures(home: EngineHome | None, text: str) -> tuple[Pictures, float | None]:
    if text.startswith("pictures:"):
        read = read_text(text, PICTURES)
        found = FolderPictures(read.path())
        if home is None:
            return found, read.weight
        return ComparedPictures(found, home.library.splits().held_looks()), read.weight
    (source,) = open_sources(home, [text])
    return ClipPictures(source.clips), source.weight


def _no_clips(text: SourceText, _: object) -> ClipSource:
    raise text.wrong("pictures without labels are for the recipe mae")


PICTURES: Mapping[str, Kind] = {"pictures": Kind(_no_clips, "a folder of pictures without labels")}


def _device(home: EngineHome | None) -> torch.device:
    if home is not None and home.settings.model.threads:
        torch.set_num_threads(home.settings.model.threads)
    return training_device("auto" if home is None else home.settings.model.device)
