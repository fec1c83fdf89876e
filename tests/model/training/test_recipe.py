"""Recipe files: what is packaged, what the paper says, what is refused, and what is written out again."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from model.config import SIZES
from model.errors import ModelError, TrainingError
from model.training.augment import AUGMENTATIONS
from model.training.recipe import RECIPES, Recipe, Stage, TrainConfig, load_recipe

MINE = """
size = "nano"
data = ["drawn"]

[train]
steps = 30
lr = 1e-3

[[stages]]
name = "one"
steps = 10

[[stages]]
name = "two"
image_size = 64
lr = 2e-3
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    return path


def test_the_packaged_recipes_are_those_that_are_listed() -> None:
    found = {
        item.name.removesuffix(".toml") for item in files("model.training").joinpath("recipes").iterdir()
    }
    assert found == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_packaged_recipes_say_what_they_are_and_read_back(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.title and recipe.origin and recipe.needs
    shown = tmp_path / "shown.toml"
    shown.write_text(recipe.to_toml())
    assert load_recipe(shown) == recipe


@pytest.mark.parametrize("name", [name for name in RECIPES if not name.startswith("nano")])
def test_each_large_recipe_has_a_nano_variant_of_the_same_kind(name: str) -> None:
    large, small = load_recipe(name), load_recipe(f"nano-{name}")
    assert (large.size, small.size) == ("base_plus", "nano")
    assert large.what == small.what and large.stages[0].config.mode == small.stages[0].config.mode


@pytest.mark.parametrize("name", [name for name in RECIPES if not name.startswith("nano")])
@pytest.mark.parametrize("size", [size for size in SIZES if size != "nano"])
def test_large_recipes_are_there_for_every_published_size(name: str, size: str) -> None:
    assert load_recipe(name, [f"size={size}"]).size == size


def test_stage_1_has_the_numbers_of_table_13a() -> None:
    config = load_recipe("images").stages[0].config
    assert (config.steps, config.lr, config.schedule, config.timescale) == (90_000, 4e-4, "rsqrt", 1000)
    assert (config.warmup, config.cooldown, config.clips_per_step, config.objects) == (1000, 5000, 256, 64)
    assert (config.weight_decay, config.clip_norm, config.correction_clicks) == (0.1, 0.1, 7)
    assert (config.layer_decay, config.drop_path, config.betas) == (0.9, 0.2, (0.9, 0.999))
    large = load_recipe("images", ["size=large"]).stages[0].config
    assert (large.layer_decay, large.drop_path) == (0.925, 0.3)


def test_stage_2_has_the_numbers_of_table_13b() -> None:
    recipe = load_recipe("full")
    config = recipe.stages[0].config
    assert (config.lr, config.encoder_lr, config.schedule, config.warmup) == (3e-4, 6e-5, "cosine", 15_000)
    assert (config.frames, config.objects, recipe.image_objects, config.corrected_frames) == (8, 3, 64, 2)
    prompts = config.recipe()
    assert (prompts.point_probability, prompts.box_probability, prompts.truth_click_probability) == (
        0.5,
        0.5,
        0.1,
    )


def test_fine_tuning_has_the_published_numbers() -> None:
    config = load_recipe("finetune").stages[0].config
    optimiser = config.optimiser()
    assert (optimiser.lr, optimiser.encoder_lr, optimiser.lr_end, optimiser.warmup) == (5e-6, 3e-6, 0.1, 0)
    assert (optimiser.weight_decay, optimiser.layer_decay, optimiser.clip_norm) == (0.1, 0.9, 0.1)
    assert (config.drop_path, config.seed, config.frames, config.objects) == (0.1, 123, 8, 3)


def test_the_long_stage_halves_rates_and_freezes_the_encoder() -> None:
    recipe = load_recipe("long")
    config = recipe.stages[0].config
    assert (config.frames, config.freeze_encoder, config.steps) == (16, True, 50_000)
    assert config.lr == load_recipe("full").stages[0].config.lr / 2
    assert recipe.augmentation == replace(AUGMENTATIONS["video"], mosaic_probability=0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('preset = "vidio"', "preset 'vidio' is unknown; use one of none, small, video, image"),
        ("flip = 0.5", "Unknown key `flip` in .*augmentation.*The nearest known one is `flip_probability`"),
        ("flip_probability = 2.0", "flip_probability must be between 0 and 1, got 2.0"),
    ],
)
def test_augmentations_that_cannot_be_are_refused(mine: Path, text: str, message: str) -> None:
    mine.write_text(f"[augmentation]\n{text}")
    with pytest.raises(TrainingError, match=message):
        load_recipe(mine)


def test_sam2_mask_takes_masks_only_and_corrects_nothing() -> None:
    prompts = load_recipe("sam2-mask").stages[0].config.recipe()
    assert (prompts.point_probability, prompts.corrected_frames, prompts.correction_clicks) == (0.0, 1, 0)


def test_stages_take_what_all_say_and_change_it(mine: Path) -> None:
    recipe = load_recipe(mine)
    assert recipe.name == "mine"
    one, two = recipe.stages
    assert (one.config.steps, one.config.lr, recipe.side(one)) == (10, 1e-3, 256)
    assert (two.config.steps, two.config.lr, recipe.side(two)) == (30, 2e-3, 64)


def test_a_stage_may_have_data_of_its_own_until_a_user_says_other_data(mine: Path, tmp_path: Path) -> None:
    recipe = load_recipe(mine, ['two.data=["sav:/data", "home:"]'])
    assert [recipe.data_of(stage) for stage in recipe.stages] == [("drawn",), ("sav:/data", "home:")]
    assert recipe.texts == ("drawn", "sav:/data", "home:")
    written = tmp_path / "mine.toml"
    written.write_text(recipe.to_toml())
    assert load_recipe(written) == recipe
    for other in (recipe.on("davis:/data"), load_recipe(written, ['data=["davis:/data"]'])):
        assert other.texts == ("davis:/data",)


def test_a_setting_holds_for_all_stages_or_for_one(mine: Path) -> None:
    recipe = load_recipe(mine, ["lr=0.5", "one.warmup=3", "image_size=96", "start=packaged"])
    assert [stage.config.lr for stage in recipe.stages] == [0.5, 0.5]
    assert [stage.config.warmup for stage in recipe.stages] == [3, 20]
    assert [recipe.side(stage) for stage in recipe.stages] == [96, 96]
    assert recipe.start == "packaged"
    assert load_recipe("nano-mae", ["mae.mask_ratio=0.75"]).mae.mask_ratio == 0.75  # type: ignore[union-attr]


def test_a_setting_of_train_holds_over_what_stages_say(mine: Path) -> None:
    recipe = load_recipe(mine, ["train.lr=3", "train.image_size=32"])
    assert [stage.config.lr for stage in recipe.stages] == [3, 3]
    assert [recipe.side(stage) for stage in recipe.stages] == [32, 32]
    assert load_recipe("nano", ["train.steps=70"]).steps == 70 * len(load_recipe("nano").stages)


def test_the_usual_warm_up_is_no_longer_than_its_stage(mine: Path) -> None:
    assert [stage.config.warmup for stage in load_recipe(mine).stages] == [10, 20]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("fulll", [], "no recipe 'fulll'; the nearest known one is `full`"),
        ("nano", ["warm_up=3"], "Unknown key `warm_up` in a --set. The nearest known one is `warmup`"),
        ("nano", ["lr"], "--set wants key=value, got 'lr'"),
        ("nano", ["3-click.lr=1"], "no stage '3-click' to set lr of; the nearest known one is `3-clicks`"),
        ("nano", ["3-clicks.lrr=1"], "Unknown key `lrr` in recipe nano, stage 3-clicks. The nearest known one is `lr`"),
        ("nano", ["steps=0"], "steps must be at least 1, got 0"),
        ("nano", ["layer_decay=1.5"], "layer_decay must be from 0 to 1, got 1.5"),
        ("nano", ["betas=[0.9, 1.5]"], "betas must be from 0 to 1, got 1.5"),
        ("nano", ["betas=[0.9, 1.0]"], "betas must be below 1, got 1.0"),
        ("nano", ["lr=inf"], "stage .*: lr must be a finite number, got inf"),
        ("nano", ["encoder_lr=inf"], "encoder_lr must be a finite number, got inf"),
        ("nano", ["lr=nan"], "lr must be at least 0, got nan"),
        ("nano", ["3-clicks.warmup=9000"], "3-clicks: warmup must be at most the stage's steps .*got 9000. Lower"),
        ("nano-images", ["cooldown=601"], "cooldown must be at most the stage's steps .600., got 601"),
        ("nano", ["train.lrr=1"], "Unknown key `lrr` in recipe nano, .train.. The nearest known one is `lr`"),
        ("nano", ["steps=many"], "steps must be a whole number, got 'many'"),
        ("nano", ["multimask=1"], "multimask must be true or false, got 1"),
        ("nano", ["frames=true"], "frames must be a whole number, got True"),
        ("nano", ["schedule=linear"], "schedule 'linear' is unknown; use one of cosine, rsqrt, constant"),
        ("nano", ["data=drawn"], "data must be a list, got 'drawn'"),
        ("nano-mae", ["mae.mask_ratio=1.0"], "mask_ratio must be above 0 and below 1, got 1.0"),
        ("nano-mae", ["mae.ratio=0.5"], "Unknown key `ratio` in recipe nano-mae, .mae.. The nearest .* `mask_ratio`"),
        ("images", ["size=nano"], "says layer_decay of tiny, small, base_plus, large, not of nano"),
        ("missing.toml", [], "Cannot read the recipe missing.toml"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_said(name: str, settings: list[str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        load_recipe(name, settings)


@pytest.mark.parametrize("setting", ["size=huge", "image_size=100", "3-clicks.image_size=100"])
def test_networks_that_cannot_be_are_refused(setting: str) -> None:
    with pytest.raises(ModelError, match=r"huge|multiple of 32"):
        load_recipe("nano", [setting])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = ", "is not valid TOML"),
        ("[trian]\nsteps = 1", "Unknown key `trian` in .*mine.toml. The nearest known one is `train`"),
        ('[[stages]]\nname = "a"\n[[stages]]\nname = "a"', "stages need names of their own, got 'a'"),
        ("[[stages]]\nsteps = 3", "does not say its `name`"),
        ("[train.steps]\nnan = 3", "Unknown key `nan` in .*steps by size. The nearest known one is `nano`"),
        ('what = "sam"', "what 'sam' is unknown; use one of mae, segment"),
    ],
)
def test_files_that_say_something_else_are_refused(mine: Path, text: str, message: str) -> None:
    mine.write_text(text)
    with pytest.raises(TrainingError, match=message):
        load_recipe(mine)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ('[stages]\nname = "a"', [], r"mine.toml: stages must be a list of tables, each \[\[stages\]\], got"),
        ("stages = 3", ["steps=3"], "stages must be a list of tables"),
        ("stages = [3]", [], "stages must be a list of tables"),
        ("train = 3", ["steps=3"], r"mine.toml: train must be a table, \[train\], got 3"),
        ("[[train]]\nsteps = 1", [], r"train must be a table, \[train\], got \[{'steps': 1}\]"),
        ("augmentation = 3", [], "augmentation must be a table"),
        ("mae = 3", ["mae.mask_ratio=0.5"], "mae must be a table"),
        ("", ["mae=3", "mae.mask_ratio=0.5"], "mae must be a table"),
        ('[augmentation]\npreset = ["a"]', [], r"preset \['a'\] is unknown; use one of none, small, video, image"),
        ("[[stages]]\nname = 3", ["foo.steps=3"], "There is no stage 'foo' to set steps of"),
    ],
)  # fmt: skip
def test_keys_of_another_shape_are_refused(mine: Path, text: str, settings: list[str], message: str) -> None:
    mine.write_text(text)
    with pytest.raises(TrainingError, match=message):
        load_recipe(mine, settings)


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/tmp/a", "a\\u0000b", "a\\nb"])
def test_names_of_stages_are_plain_file_names(mine: Path, name: str) -> None:
    mine.write_text(f'[[stages]]\nname = "{name}"')
    with pytest.raises(TrainingError, match="the name of a stage must be a plain file name"):
        load_recipe(mine)


def test_a_shorter_run_keeps_its_proportions() -> None:
    short = load_recipe("images").shortened(900)
    assert (short.steps, short.stages[0].config.warmup, short.stages[0].config.timescale) == (900, 10, 10)
    assert short.stages[0].config.cooldown == 50


@pytest.mark.parametrize("steps", [12, 13, 20, 100, 4480, 9000])
def test_a_shorter_run_of_several_stages_has_exactly_so_many_steps(steps: int) -> None:
    short = load_recipe("nano").shortened(steps)
    assert short.steps == steps
    assert all(stage.config.warmup < stage.config.steps for stage in short.stages)


def test_fewer_steps_than_stages_are_refused() -> None:
    with pytest.raises(TrainingError, match="has 12 stages and needs at least as many steps, got 11"):
        load_recipe("nano").shortened(11)


def test_a_recipe_needs_a_stage() -> None:
    with pytest.raises(TrainingError, match="has no stage"):
        Recipe(name="empty", stages=())
    assert Recipe(name="one", stages=(Stage("one", None, TrainConfig()),)).steps == 200


def test_the_recipe_of_the_page_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    path = tmp_path / "page.toml"
    path.write_text(page.split("```toml\n")[1].split("```")[0])
    recipe = load_recipe(path)
    assert [stage.name for stage in recipe.stages] == ["masks", "clicks"] and recipe.steps == 600
    assert all(f"| `{name}` |" in page for name in RECIPES if not name.startswith("nano-"))
