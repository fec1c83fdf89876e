"""What a stage draws: shares of clips, single frames and images."""

from __future__ import annotations

from dataclasses import replace

import pytest

from model.errors import TrainingError
from model.training.mixture import Mixture, Source
from model.training.recipe import Recipe, Stage, TrainConfig
from model.training.recipe_sources import stage_mixture

from .conftest import SquareClips

CONFIG = TrainConfig(frames=4, clips_per_step=2, still_share=0.0, objects=1)


def mixture(*sources: Source, config: TrainConfig = CONFIG, **recipe: int) -> Mixture:
    made = Recipe(name="mine", stages=(Stage("one", None, config),), **recipe)  # type: ignore[arg-type]
    return stage_mixture(made, sources, config, size=32)


def drawn(mixed: Mixture) -> list[tuple[str, float, int, int]]:
    """Name, share, frames and clips of each source."""
    rows = []
    for source, share in zip(mixed.sources, mixed.shares, strict=True):
        rows.append(
            (source.name, pytest.approx(float(share)), source.frames or 4, source.clips_per_step or 2)
        )
    return rows


SQUARES = Source("squares", SquareClips())


def test_clips_give_single_frames_for_their_share_of_steps() -> None:
    found = drawn(mixture(SQUARES, config=replace(CONFIG, still_share=0.25)))
    assert found == [("squares", 0.75, 4, 2), ("squares, single frames", 0.25, 1, 8)]


def test_mask_prompts_have_no_single_frames() -> None:
    assert drawn(mixture(SQUARES, config=replace(CONFIG, still_share=0.25, mode="masks"))) == [
        ("squares", 1, 4, 2)
    ]


def test_shares_of_sources_stay_when_one_gives_single_frames() -> None:
    images = Source("images", SquareClips(), frames=1)
    found = drawn(mixture(SQUARES, images, config=replace(CONFIG, still_share=0.5)))
    assert found == [
        ("squares", 0.25, 4, 2),
        ("squares, single frames", 0.25, 1, 8),
        ("images", 0.5, 1, 2),
    ]


def test_weights_hold_between_sources() -> None:
    found = drawn(mixture(replace(SQUARES, weight=3.0), Source("other", SquareClips())))
    assert [share for _, share, _, _ in found] == [0.75, 0.25]


def test_images_have_numbers_of_their_own() -> None:
    mixed = mixture(SQUARES, Source("images", SquareClips(), frames=1), image_objects=64, images_per_step=16)
    assert [(source.objects, source.clips_per_step) for source in mixed.sources] == [(None, None), (64, 16)]


def test_images_under_mask_prompts_are_refused() -> None:
    with pytest.raises(TrainingError, match="images gives single images; mask prompts learn nothing"):
        mixture(Source("images", SquareClips(), frames=1), config=replace(CONFIG, mode="masks"))
