"""What the stages of a recipe draw from: images and clips with numbers of their own, and single frames of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from model.errors import TrainingError
from model.training.mixture import Mixture, Source
from model.training.recipe import Recipe, TrainConfig

__all__ = ["stage_mixture"]


def stage_mixture(recipe: Recipe, sources: Sequence[Source], config: TrainConfig, *, size: int) -> Mixture:
    """The steps of a stage at `size` pixels; every step is of one source, and of images or of clips.

    Sources of images get the recipe's `image_objects` and `images_per_step`. Where the stage has a `still_share`,
    each source of clips gives that share of its steps as single frames, as many as its clips would have.
    """
    weights = [_weight(source, sources) for source in sources]
    parts = [
        part
        for source, weight in zip(sources, weights, strict=True)
        for part in _parts(recipe, source, weight, config)
    ]
    return Mixture(
        parts,
        frames=config.frames,
        objects=config.objects,
        clips_per_step=config.clips_per_step,
        size=size,
        seed=config.seed,
    )


def _parts(recipe: Recipe, source: Source, weight: float, config: TrainConfig) -> list[Source]:
    if len(source.clips) == 0:
        return [source]  # the mixture says so
    frames = source.frames or config.frames
    if frames == 1:
        return [replace(_images(recipe, source, config), weight=weight)]
    share = config.still_share if config.mode == "all" else 0.0
    stills = replace(
        source,
        name=f"{source.name}, single frames",
        frames=1,
        clips_per_step=(source.clips_per_step or config.clips_per_step) * frames,
    )
    shares = [(source, weight * (1 - share)), (stills, weight * share)]
    return [replace(part, weight=part_weight) for part, part_weight in shares if part_weight > 0]


def _images(recipe: Recipe, source: Source, config: TrainConfig) -> Source:
    if config.mode == "masks":
        raise TrainingError(f"{source.name} gives single images; mask prompts learn nothing from those.")
    return replace(
        source,
        objects=source.objects if recipe.image_objects is None else recipe.image_objects,
        clips_per_step=source.clips_per_step or recipe.images_per_step,
    )


def _weight(source: Source, sources: Sequence[Source]) -> float:
    """The weight that a source has among all, as `Source.weight` says."""
    if all(other.weight is None for other in sources):
        return float(len(source.clips))
    return 1.0 if source.weight is None else source.weight
