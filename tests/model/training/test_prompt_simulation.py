"""Which frames are prompted, how and in which order; and what every answer is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model import clicks
from model.errors import TrainingError
from model.losses import frame_losses
from model.network import memory_bank
from model.network.sam2 import Sam2
from model.training import prompt_simulation
from model.training.batch import Batch
from model.training.prompt_simulation import PromptKind, PromptPlan, PromptRecipe, draw_plan, simulate

from .conftest import SquareClips, build_micro


def batch_of(source: SquareClips, *, clips: int = 2, frames: int = 3) -> Batch:
    rng = np.random.default_rng(0)
    return Batch.from_clips([source.clip(i, rng, frames=frames, objects=1, size=64) for i in range(clips)])


def plans(recipe: PromptRecipe, *, frames: int, count: int = 400) -> list[PromptPlan]:
    rng = np.random.default_rng(0)
    return [draw_plan(frames, recipe, rng) for _ in range(count)]


def test_prompts_are_masks_half_boxes_a_quarter_and_clicks_a_quarter() -> None:
    kinds = Counter(plan.kinds[0] for plan in plans(PromptRecipe(), frames=8, count=1000))
    assert abs(kinds["mask"] - 500) < 60
    assert abs(kinds["box"] - 250) < 50
    assert abs(kinds["click"] - 250) < 50


def test_one_or_two_frames_are_prompted_and_the_first_always_is() -> None:
    drawn = plans(PromptRecipe(), frames=8)
    assert {len(plan.initial) for plan in drawn} == {1, 2}
    assert all(plan.initial[0] == 0 for plan in drawn)
    assert {frame for plan in drawn for frame in plan.initial} == set(range(8))


def test_every_number_of_prompted_and_corrected_frames_is_as_frequent_as_it_should_be() -> None:
    drawn = plans(PromptRecipe(), frames=8, count=6000)
    initial = Counter(len(plan.initial) for plan in drawn)
    assert abs(initial[1] - 3000) < 3 * 39  # three standard deviations of a fair coin
    clicked = [plan for plan in drawn if plan.corrected]
    corrected = Counter((len(plan.initial), len(plan.corrected)) for plan in clicked)
    assert abs(corrected[1, 1] - corrected[1, 2]) < 3 * 39
    assert corrected[2, 1] == 0
    others = np.array(
        [[plan.initial[1] == frame for frame in range(1, 8)] for plan in drawn if len(plan.initial) == 2]
    )
    expected = len(others) / 7
    assert ((others.sum(axis=0) - expected) ** 2 / expected).sum() < 18.5  # chi-square, 6 degrees, 0.5 %
    kinds = Counter(plan.kinds for plan in clicked if len(plan.initial) == 2)
    assert len(kinds) == 4  # box or click is drawn for each prompted frame
    sources = np.array([click for plan in clicked for row in plan.from_truth for click in row])
    assert abs(sources.mean() - 0.1) < 3 * np.sqrt(0.09 / sources.size)


def test_numbers_of_frames_may_be_fixed() -> None:
    recipe = PromptRecipe(
        point_probability=1.0,
        initial_frames=2,
        corrected_frames=3,
        random_initial_frames=False,
        random_corrected_frames=False,
    )
    assert all((len(p.initial), len(p.corrected)) == (2, 3) for p in plans(recipe, frames=8, count=50))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"point_probability": 1.5}, "point_probability is a probability"),
        ({"initial_frames": 0}, "initial_frames must be at least 1"),
        ({"correction_clicks": -1}, "correction_clicks must not be negative"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        PromptRecipe(**values)  # type: ignore[arg-type]


def test_clips_with_seeds_get_the_same_clicks_in_any_batch(micro: Sam2, squares: SquareClips) -> None:
    plan, recipe = PromptPlan(("click",), (0,), (0,)), PromptRecipe(correction_clicks=2)
    both = replace(batch_of(squares), seeds=(11, 12))
    alone = Batch(
        both.images[:, 1:], both.masks[:, 1:], torch.zeros(1, dtype=torch.int64), both.names[1:], (12,)
    )
    with torch.no_grad():
        joint, single = (simulate(micro.eval(), batch, plan, recipe) for batch in (both, alone))
    assert torch.allclose(joint[2][0].logits[1:], single[2][0].logits, atol=1e-4)


def test_a_batch_without_seeds_needs_a_generator(micro: Sam2, squares: SquareClips) -> None:
    with pytest.raises(TrainingError, match="no seeds"):
        simulate(micro, batch_of(squares), PromptPlan(("mask",), (0,)), PromptRecipe())


def test_clicks_from_the_object_are_all_positive(
    micro: Sam2, squares: SquareClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool]] = []

    def error_clicks(truth: Any, prediction: Any, rng: Any) -> Any:
        seen.append((len(truth), prediction is None))
        return clicks.error_clicks(truth, prediction, rng)

    monkeypatch.setattr(prompt_simulation, "error_clicks", error_clicks)
    plan = PromptPlan(("box",), (0,), (0, 1), ((True, False), (False, True)))
    simulate(micro, batch_of(squares), plan, PromptRecipe(correction_clicks=2), np.random.default_rng(0))
    assert seen == [(2, True), (2, False), (2, False), (2, True)]


@pytest.mark.parametrize("as_conditioning", [True, False])
def test_a_corrected_frame_is_remembered_like_a_prompted_one_if_asked(
    micro: Sam2, squares: SquareClips, monkeypatch: pytest.MonkeyPatch, as_conditioning: bool
) -> None:
    seen: list[tuple[int, set[int], set[int]]] = []

    def plan_memory(conditioning: Any, recent: Any, *, frame: int, **options: Any) -> Any:
        assert options["future_pointers"]
        seen.append((frame, set(conditioning), set(recent)))
        return memory_bank.plan_memory(conditioning, recent, frame=frame, **options)

    monkeypatch.setattr(prompt_simulation, "plan_memory", plan_memory)
    recipe = PromptRecipe(correction_clicks=1, corrected_as_conditioning=as_conditioning)
    plan = PromptPlan(("click", "box"), (0, 3), (0, 3, 1))
    simulate(micro, batch_of(squares, frames=4), plan, recipe, np.random.default_rng(0))
    assert seen[0] == (1, {0, 3}, set())  # later prompts inform earlier frames
    assert seen[1] == ((2, {0, 1, 3}, set()) if as_conditioning else (2, {0, 3}, {1}))


def test_saving_activations_changes_no_gradient(squares: SquareClips) -> None:
    gradients = []
    for saving in (False, True):
        recipe = PromptRecipe(correction_clicks=2, checkpoint_activations=saving)
        micro = build_micro().train()
        batch = replace(batch_of(squares), seeds=(3, 4))
        answers = simulate(micro, batch, PromptPlan(("click",), (0,), (0, 2)), recipe)
        terms = [frame_losses(answers[frame], batch.masks[frame][:, None]) for frame in range(3)]
        sum((term.total() for term in terms), torch.zeros(())).backward()
        gradients.append({name: p.grad for name, p in micro.named_parameters()})
    for name, plain in gradients[0].items():
        saved = gradients[1][name]
        assert (plain is None) == (saved is None)
        if plain is not None and saved is not None:
            assert torch.allclose(saved, plain, rtol=1e-3, atol=1e-5 * float(plain.abs().max()) + 1e-7), name


def test_only_points_are_corrected_on_the_prompted_frames_and_perhaps_one_more() -> None:
    for plan in plans(PromptRecipe(), frames=8):
        if "mask" in plan.kinds:
            assert plan.corrected == ()
        else:
            assert set(plan.initial) <= set(plan.corrected)
            assert 1 <= len(plan.corrected) <= 2


def test_single_frames_always_get_points() -> None:
    for plan in plans(PromptRecipe(), frames=1):
        assert "mask" not in plan.kinds
        assert plan.initial == plan.corrected == (0,)


def test_mask_only_training_leaves_a_frame_to_track() -> None:
    for plan in plans(PromptRecipe.masks_only(), frames=2):
        assert plan == PromptPlan(("mask",), (0,))


def test_prompted_frames_come_first_then_the_others_in_time_order() -> None:
    assert PromptPlan(("mask", "mask"), (0, 4)).order(6) == [0, 4, 1, 2, 3, 5]


def test_every_frame_is_answered_and_corrected_frames_once_more_per_click(
    micro: Sam2, squares: SquareClips
) -> None:
    recipe = PromptRecipe(correction_clicks=2)
    plan = PromptPlan(("click",), (0,), (0, 2))
    answers = simulate(micro, batch_of(squares), plan, recipe, np.random.default_rng(0))
    assert {frame: len(steps) for frame, steps in answers.items()} == {0: 3, 1: 1, 2: 3}
    candidates = {frame: [step.logits.shape[1] for step in steps] for frame, steps in answers.items()}
    # a click more: frame 0 then has two; frame 2 had none before its first correction
    assert candidates == {0: [3, 1, 1], 1: [3], 2: [3, 3, 1]}
    assert answers[0][1].logits.shape == (2, 1, 64, 64)
    assert answers[1][0].logits.shape == (2, 3, 16, 16)  # candidates stay as small as they were drawn
    assert answers[1][0].ious.shape == (2, 3)
    assert answers[1][0].object_score.shape == (2, 1)


def test_a_mask_prompt_is_its_own_answer(micro: Sam2, squares: SquareClips) -> None:
    batch = batch_of(squares)
    plan = PromptPlan(("mask",), (0,))
    answers = simulate(micro, batch, plan, PromptRecipe.masks_only(), np.random.default_rng(0))
    assert torch.equal(answers[0][0].logits[:, 0] > 0, batch.masks[0])


@pytest.mark.parametrize("kind", ["box", "click"])
def test_an_object_absent_from_its_prompted_frame_gets_a_background_click(
    micro: Sam2, squares: SquareClips, kind: str
) -> None:
    batch = batch_of(squares)
    masks = batch.masks.clone()
    masks[1, 0] = False
    absent = Batch(batch.images, masks, batch.clip_of_object, batch.names)
    kinds: tuple[PromptKind, ...] = ("box", "box") if kind == "box" else ("click", "click")
    plan = PromptPlan(kinds, (0, 1), (0, 1))
    answers = simulate(micro, absent, plan, PromptRecipe(correction_clicks=1), np.random.default_rng(0))
    assert all(torch.isfinite(step.logits).all() for steps in answers.values() for step in steps)


def test_memory_carries_gradients_from_later_frames_to_the_prompt(micro: Sam2, squares: SquareClips) -> None:
    answers = simulate(
        micro.train(),
        batch_of(squares),
        PromptPlan(("mask",), (0,)),
        PromptRecipe.masks_only(),
        np.random.default_rng(0),
    )
    answers[2][0].logits.sum().backward()
    touched = {
        name for name, child in micro.named_children() for p in child.parameters() if p.grad is not None
    }
    assert {"memory_encoder", "memory_attention", "image_encoder", "mask_downsample"} <= touched


def test_objects_of_one_clip_do_not_depend_on_other_clips(micro: Sam2, squares: SquareClips) -> None:
    plan, recipe = PromptPlan(("mask",), (0,)), PromptRecipe.masks_only()
    both = batch_of(squares)
    alone = Batch(both.images[:, 1:], both.masks[:, 1:], torch.zeros(1, dtype=torch.int64), both.names[1:])
    with torch.no_grad():
        joint = simulate(micro.eval(), both, plan, recipe, np.random.default_rng(0))
        single = simulate(micro.eval(), alone, plan, recipe, np.random.default_rng(0))
    assert torch.allclose(joint[2][0].logits[1:], single[2][0].logits, atol=1e-4)
