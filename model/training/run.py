"""Running a recipe: its stages one after another, each resumable, into one weights file.

recipe = load_recipe("nano-full")
result = run_recipe(recipe, [parse_source("drawn")], out_dir=Path("runs/full"))
load_checkpoint(result.checkpoint)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from model.config import Sam2Config, sam2_config
from model.errors import TrainingError
from model.files.checkpoints import checkpoint_hash, default_checkpoint, load_checkpoint, save_checkpoint
from model.files.download import pulled_path
from model.network.sam2 import Sam2
from model.training.batch import Batch
from model.training.mae.config import MaeConfig
from model.training.mae.network import MaskedAutoencoder
from model.training.mae.objective import MaeObjective, fresh_model, save_trunk
from model.training.mae.pictures import Pictures
from model.training.mixture import Source
from model.training.preparation import set_drop_path
from model.training.recipe import Recipe, Stage, TrainConfig
from model.training.recipe_sources import stage_mixture
from model.training.trainer import CHECKPOINT_FILE, NOT_RESULTS, NOTHING, Row, fit, train
from model.training.young import initialise_young, spread_candidates

__all__ = ["RECIPE_FILE", "Progress", "RecipeResult", "pretrain_trunk", "run_recipe", "starting_weights"]

RECIPE_FILE = "recipe.toml"
"""The recipe as it was run, beside its weights; `load_recipe` reads it."""

YOUNG_SAMPLE = 16
"""Pictures on which a fresh network's layers are brought to unit output."""

Progress = Callable[[Stage, Row], None]


@dataclass(frozen=True, slots=True)
class RecipeResult:
    """The weights that came out, and the rows of all stages in order, each with its `stage`."""

    checkpoint: Path
    rows: list[Row]


def run_recipe(
    recipe: Recipe,
    sources: Sequence[Source],
    *,
    out_dir: Path,
    own_sources: Mapping[str, Sequence[Source]] = MappingProxyType({}),
    seed: int = 0,
    start: Path | None = None,
    device: str | torch.device = "cpu",
    tensorboard: bool = False,
    made_from: Mapping[str, str] = NOTHING,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> RecipeResult:
    """Trains through the stages of a "segment" recipe; the weights are in `out_dir/checkpoint.safetensors`.

    Each stage keeps states and curve in `out_dir/STAGE` (in `out_dir` where there is one stage only), so that a
    killed run goes on where it was. `own_sources` are those of stages, by name, that do not draw from `sources`. `seed`
    is added to the stages' own. `start` replaces the recipe's starting weights. `made_from` names what the data are,
    each with a hash (see `fit`). Raises `TrainingError` when `out_dir` holds a run of another recipe, start or data.
    """
    weights = start or starting_weights(recipe)
    _refuse_frozen_chance(recipe, weights)
    _remember(recipe, out_dir, seed, weights)
    first = own_sources.get(recipe.stages[0].name, sources)
    model = _fresh(recipe, first, seed) if weights is None else _started(recipe, weights)
    size = recipe.image_size or (sam2_config(recipe.size) if weights is None else model.config).image_size
    rows: list[Row] = []
    for stage in recipe.stages:
        config = replace(stage.config, seed=seed + stage.config.seed)
        model = _resized(model, stage.image_size or size).to(device)
        if stage.spread:
            spread_candidates(model, torch.Generator().manual_seed(seed))
        result = train(
            model,
            stage_mixture(recipe, own_sources.get(stage.name, sources), config, size=model.image_size),
            config,
            out_dir=_folder(recipe, stage, out_dir),
            tensorboard=tensorboard,
            made_from=made_from if weights is None else {"start": checkpoint_hash(weights), **made_from},
            progress=_told(progress, stage),
        )
        rows += [{"stage": stage.name, **row} for row in result.rows]
    path = out_dir / CHECKPOINT_FILE
    if _is_first():
        save_checkpoint(_resized(model, size), path, {**_facts(recipe, seed), **(metadata or {})})
    return RecipeResult(path, rows)


def pretrain_trunk(
    recipe: Recipe,
    pictures: Pictures,
    *,
    out_dir: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    tensorboard: bool = False,
    made_from: Mapping[str, str] = NOTHING,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> RecipeResult:
    """Trains the trunk of a "mae" recipe; see `run_recipe`.

    `out_dir/checkpoint.safetensors` is a fresh SAM 2 with that trunk, which other recipes can start from.
    """
    _remember(recipe, out_dir, seed, None)
    (stage,) = recipe.stages
    network = sam2_config(recipe.size, image_size=recipe.image_size)
    config = replace(stage.config, seed=seed + stage.config.seed)
    mae = recipe.mae or MaeConfig()
    autoencoder = _autoencoder(replace(network, image_size=recipe.side(stage)), mae, config).to(device)
    facts = {**_facts(recipe, seed), **(metadata or {})}
    result = fit(
        MaeObjective(autoencoder, pictures, config, mae),
        config,
        out_dir=out_dir,
        save=lambda path: save_trunk(autoencoder.trunk, network, path, seed=seed, metadata=facts),
        tensorboard=tensorboard,
        made_from=made_from,
        progress=_told(progress, stage),
    )
    return RecipeResult(result.checkpoint, [{"stage": stage.name, **row} for row in result.rows])


def starting_weights(recipe: Recipe) -> Path | None:
    """The file that a recipe starts from, None for fresh weights. Raises `TrainingError` when it is not there."""
    if recipe.start == "fresh":
        return None
    if recipe.start == "packaged":
        return default_checkpoint()
    pulled = pulled_path(recipe.start)
    if pulled is not None and not pulled.is_file():
        raise TrainingError(f"{recipe.start} is not there yet: `engine model pull {recipe.start}`.")
    path = pulled or Path(recipe.start)
    if not path.is_file():
        raise TrainingError(
            f"Recipe {recipe.name} starts from {path}, which is no file; say fresh, packaged, a published name "
            "or a path."
        )
    return path


def _refuse_frozen_chance(recipe: Recipe, weights: Path | None) -> None:
    """An encoder that is frozen as it was drawn at random would learn nothing, and nobody would be told."""
    frozen = [stage.name for stage in recipe.stages if stage.config.freeze_encoder]
    if weights is None and frozen:
        raise TrainingError(
            f"Recipe {recipe.name} freezes the image encoder (stage {frozen[0]}), so it cannot start from fresh "
            "weights: name trained ones with --from."
        )


def _remember(recipe: Recipe, out_dir: Path, seed: int, weights: Path | None) -> None:
    """Writes the recipe beside what it makes; refuses a folder where another one was run."""
    path = out_dir / RECIPE_FILE
    start = "fresh" if weights is None else str(weights.absolute())
    text = f"# run with --seed {seed}, started from {start}\n{recipe.to_toml()}"
    if path.exists() and _deciding(path.read_text(encoding="utf-8")) != _deciding(text):
        raise TrainingError(
            f"{out_dir} belongs to a run of another recipe, data, seed or start (see {path}); use another folder."
        )
    if _is_first():
        out_dir.mkdir(parents=True, exist_ok=True)
        whole = path.with_suffix(".partial")  # other processes may be reading
        whole.write_text(text, encoding="utf-8")
        whole.replace(path)


def _deciding(text: str) -> list[str]:
    """The lines that decide the weights."""
    return [line for line in text.splitlines() if not line.startswith(NOT_RESULTS)]


def _is_first() -> bool:
    """Whether this process writes files: the only one, or the first of those that train together."""
    return int(os.environ.get("RANK", "0")) == 0


def _started(recipe: Recipe, weights: Path) -> Sam2:
    model = load_checkpoint(weights)
    if model.config.size != recipe.size:
        raise TrainingError(
            f"{weights} holds a {model.config.size} network, recipe {recipe.name} is for {recipe.size}: "
            f"--set size={model.config.size}, or other weights."
        )
    return model


def _fresh(recipe: Recipe, sources: Sequence[Source], seed: int) -> Sam2:
    """Random weights at the first stage's image size, prepared on a sample where the recipe says so."""
    side = recipe.side(recipe.stages[0])
    model = fresh_model(sam2_config(recipe.size, image_size=side), seed)
    if recipe.young:
        clips = sources[0].clips
        rng = np.random.default_rng([seed, 77])
        sample = [
            clips.clip(index % len(clips), rng, frames=1, objects=1, size=side)
            for index in range(YOUNG_SAMPLE)
        ]
        batch = Batch.from_clips(sample)
        initialise_young(model, batch.images[0], batch.masks[0])
    return model


def _resized(model: Sam2, image_size: int) -> Sam2:
    """The same weights in a network of its own, for images of another size, everything trainable."""
    resized = Sam2(replace(model.config, image_size=image_size)).eval()
    resized.load_state_dict(model.state_dict())
    return resized


def _autoencoder(network: Sam2Config, mae: MaeConfig, config: TrainConfig) -> MaskedAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        autoencoder = MaskedAutoencoder(network, mae)
    if config.drop_path is not None:
        set_drop_path(autoencoder.trunk, config.drop_path)
    return autoencoder


def _folder(recipe: Recipe, stage: Stage, out_dir: Path) -> Path:
    return out_dir if len(recipe.stages) == 1 else out_dir / stage.name


def _facts(recipe: Recipe, seed: int) -> dict[str, str]:
    """What the weights say about where they come from."""
    facts = {"recipe": recipe.name, "seed": str(seed), "steps": str(recipe.steps)}
    return {**facts, "data": " ".join(recipe.texts)} if recipe.texts else facts


def _told(progress: Progress | None, stage: Stage) -> Callable[[Row], None] | None:
    return None if progress is None else lambda row: progress(stage, row)
