"""`engine model recipes` and `engine model train RECIPE`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.show import err, next_step, print_json, print_table, say

if TYPE_CHECKING:
    from engine.home import EngineHome
    from engine.training.recipes import RecipeRun
    from model.training.recipe import Recipe, Stage
    from model.training.trainer import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What the command line changes about a recipe."""

    settings: Sequence[str] = ()
    data: Sequence[str] = ()
    manifest: str = ""
    steps: int | None = None


def recipes(*, as_json: bool) -> None:
    """Print the packaged recipes."""
    from model.training.recipe import RECIPES, load_recipe

    found = [load_recipe(name) for name in RECIPES]
    if as_json:
        print_json([_facts(recipe) for recipe in found])
        return
    print_table(
        ("recipe", "trains", "size", "steps", "data"),
        [(recipe.name, recipe.title, recipe.size, recipe.steps, recipe.needs) for recipe in found],
    )
    next_step("engine model train RECIPE --show")


def _facts(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "title": recipe.title,
        "origin": recipe.origin,
        "what": recipe.what,
        "size": recipe.size,
        "image_size": recipe.side(recipe.stages[-1]),
        "start": recipe.start,
        "stages": [stage.name for stage in recipe.stages],
        "steps": recipe.steps,
        "data": list(recipe.texts),
        "needs": recipe.needs,
    }


def changed_recipe(name: str, changes: Changes) -> Recipe:
    """The recipe called `name`, or in that file, as the command line wants it."""
    from model.training.recipe import load_recipe

    recipe = load_recipe(name, changes.settings)
    data = [f"manifest:{changes.manifest}"] if changes.manifest else []
    if data or changes.data:
        recipe = recipe.on(*data, *changes.data)
    return recipe if changes.steps is None else recipe.shortened(changes.steps)


def show(name: str, changes: Changes) -> None:
    """Print the recipe as TOML, with every number written out."""
    print(changed_recipe(name, changes).to_toml(), end="")


def train(
    home: EngineHome | None,
    name: str,
    changes: Changes,
    *,
    start: Path | None,
    seed: int,
    out: Path | None,
    tensorboard: bool = False,
    processes: int = 1,
) -> None:
    """Train by a recipe: here, with a progress bar, or in several processes, with a line now and then."""
    from engine.training.recipe_process import run_apart
    from engine.training.recipes import RecipeRun

    recipe = changed_recipe(name, changes)
    folder = out or Path("training") / recipe.name
    asked = RecipeRun(recipe=recipe, out_dir=folder, seed=seed, start=start, tensorboard=tensorboard)
    if processes == 1:
        _train_here(home, asked)
    else:
        run_apart(home, asked, processes=processes, tell=say)
    if int(os.environ.get("RANK", "0")) > 0:  # of processes that train together, the first tells
        return
    checkpoint = folder / "checkpoint.safetensors"
    say(f"Wrote [bold]{checkpoint}[/]")
    next_step(_next(home, recipe, checkpoint))


def _next(home: EngineHome | None, recipe: Recipe, checkpoint: Path) -> str:
    """A trunk is trained on; other weights are judged, by the home's videos or, without a home, by a suite."""
    if recipe.what == "mae":
        following = "nano-images" if recipe.size == "nano" else "images"
        return f"engine model train {following} --from {checkpoint}"
    if home is None:
        return f"engine model evaluate {checkpoint} --suite development"
    return f"engine --home {home.path} model evaluate {checkpoint}"


def _train_here(home: EngineHome | None, asked: RecipeRun) -> None:
    from rich.progress import Progress

    from engine.training.process import pace
    from engine.training.recipe_process import StageTeller
    from engine.training.recipes import run

    recipe = asked.recipe
    if not err.is_terminal:
        run(home, asked, progress=StageTeller(recipe.counted))
        return
    with Progress(transient=True, console=err) as bars:
        bar = bars.add_task("Training", total=recipe.steps)
        before = _steps_before(recipe)

        def tell(stage: Stage, row: Row) -> None:
            bars.update(
                bar,
                completed=before[stage.name] + int(row["step"]),
                description=f"{stage.name}, {pace(row, recipe.counted)}",
            )

        run(home, asked, progress=tell)


def _steps_before(recipe: Recipe) -> dict[str, int]:
    """Stage → steps of the stages before it."""
    steps, done = {}, 0
    for stage in recipe.stages:
        steps[stage.name] = done
        done += stage.config.steps
    return steps
