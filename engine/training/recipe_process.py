"""Recipes in processes of their own, which train together and end with the command that started them.

python -m engine.training.recipe_process JOB [PROCESSES]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.training.process import JOB_FILE, Teller, attempt, run_child, serve_parent

if TYPE_CHECKING:
    from engine.home import EngineHome
    from engine.training.recipes import RecipeRun
    from model.training.recipe import Stage
    from model.training.trainer import Row

__all__ = ["run_apart", "work_on"]

MODULE = "engine.training.recipe_process"


def run_apart(
    home: EngineHome | None, asked: RecipeRun, *, processes: int, tell: Callable[[str], None]
) -> None:
    """What `engine.training.recipes.run` does, in `processes` child processes; `tell` gets their lines.

    Raises TrainingError with the child's own words when it fails.
    """
    job = asked.out_dir / JOB_FILE
    asked.out_dir.mkdir(parents=True, exist_ok=True)
    job.with_suffix(".toml").write_text(asked.recipe.to_toml(), encoding="utf-8")
    facts = {
        "home": None if home is None else str(home.path),
        "seed": asked.seed,
        "start": None if asked.start is None else str(asked.start),
        "tensorboard": asked.tensorboard,
    }
    job.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    run_child(MODULE, job, processes, tell)


def work_on(path: Path) -> int:
    """One process that trains; an error is printed and written beside the job. Returns the exit code."""
    from engine.home import open_home
    from engine.training.recipes import RecipeRun, run
    from model.training.recipe import load_recipe

    facts = json.loads(path.read_text(encoding="utf-8"))

    def work() -> None:
        asked = RecipeRun(
            recipe=load_recipe(path.with_suffix(".toml")),
            out_dir=path.parent,
            seed=facts["seed"],
            start=Path(facts["start"]) if facts["start"] else None,
            tensorboard=facts["tensorboard"],
        )
        home = open_home(Path(facts["home"])) if facts["home"] else None
        run(home, asked, progress=StageTeller(asked.recipe.counted))

    return attempt(path, work)


@dataclass(slots=True)
class StageTeller:
    """Prints the name of each stage as it begins, and a line now and then."""

    counted: str
    stage: str = ""
    teller: Teller | None = None

    def __call__(self, stage: Stage, row: Row) -> None:
        if self.teller is None or stage.name != self.stage:
            print(f"stage {stage.name}", flush=True)
            self.stage, self.teller = stage.name, Teller(self.counted)
        self.teller(row)


def main(arguments: Sequence[str]) -> int:
    """The child: trains, or starts the processes that do; returns the exit code."""
    return serve_parent(MODULE, arguments, work_on)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
