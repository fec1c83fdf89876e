"""The quick experiments as the command runs them, with their page, and one in miniature, killed and resumed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine.errors import RoundError
from engine.experiments.base import Experiment, ExperimentError, pending, results, run_pending
from engine.experiments.catalogue import EXPERIMENTS, Request, open_experiment
from engine.experiments.colonies import ColonyClips
from engine.experiments.data import TRAINED, DataExperiment
from engine.experiments.footage import DRAWN_SEEDS, Reel, sample_windows, take_drawn
from engine.experiments.lessons import Lesson, teach
from engine.experiments.phases import PhasesExperiment
from engine.experiments.protocol import groups_of_people, targets
from engine.experiments.rounds import LOOP, STILL, ColoniesExperiment, RoundsExperiment
from engine.home import EngineHome
from engine.rounds import store_checkpoint
from model.errors import LeakError
from model.training.clips import TrainingVideo
from storage.masks import area, decode

ROOT = Path(__file__).parents[3]
BUSY_S = 1800
"""What a minute and a half of computing may take where other programs have most of the machine."""

QUICK_S = 300
"""What a quick variant may be expected to take of one core."""

Run = Callable[..., tuple[Experiment, dict[str, Any]]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Experiments that the command has run to their end as people run it, and what it said."""
    root = tmp_path_factory.mktemp("experiments")

    def run(name: str, *options: str) -> tuple[Experiment, dict[str, Any]]:
        program = Path(sys.executable).with_name("engine")
        command = [program, "--home", root, "experiment", name, "--quick", "--json", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        experiment = open_experiment(Request(name, root, "quick"))
        assert sum(unit.cost for unit in experiment.units()) < QUICK_S
        return experiment, said

    return run


def test_drawn_videos_go_in_as_files_with_their_exact_truth(home: EngineHome):
    reel = Reel(frames=3, side=64, objects=2)
    (video,) = take_drawn(home, "measure", 1, reel)
    assert (video.codec, video.frame_count, video.annotated_frames) == ("h264", 3, (0, 1, 2))
    assert take_drawn(home, "measure", 1, reel) == (video,)
    (other,) = take_drawn(home, "evaluate", 1, reel)
    assert (video.split, other.split) == ("train", "eval") and video.video_id != other.video_id
    truth = home.references.read(video.video_id)
    assert all(area(rle) > 0 for masks in truth.values() for rle in masks.values())
    assert len(set(DRAWN_SEEDS.values())) == len(DRAWN_SEEDS)


def test_colonies_grow_and_keep_their_rods_apart():
    draw = partial(ColonyClips().clip, 3, frames=6, objects=3, size=96)
    clip = draw(np.random.default_rng(5))
    assert clip.images.shape == (6, 96, 96, 3) and clip.masks.shape == (6, 3, 96, 96)
    assert np.array_equal(clip.images, draw(np.random.default_rng(5)).images)
    assert not np.array_equal(clip.images, draw(np.random.default_rng(6)).images)
    assert clip.masks.sum(axis=1).max() == 1, "a pixel belongs to one rod"
    areas = clip.masks.sum(axis=(2, 3))
    assert (areas[0] > 0).all() and areas[-1].sum() > areas[0].sum()
    ground = ~clip.masks.any(axis=1)
    assert clip.images[..., 0][clip.masks.any(axis=1)].mean() < clip.images[..., 0][ground].mean(), (
        "rods are dark"
    )


def test_a_reel_of_colonies_goes_in_like_any_other(home: EngineHome):
    (video,) = take_drawn(home, "annotate", 1, Reel(frames=3, side=96, objects=2, kind="colonies"))
    assert len(home.references.read(video.video_id)) == 2


def test_without_samples_there_are_only_drawn_videos(tmp_path: Path):
    assert sample_windows(tmp_path / "nothing", offline=True) == []


def test_people_are_dealt_to_protocols_by_chance_and_anew_for_every_video():
    def dealt(**other: Any) -> dict[str, tuple[str, ...]]:
        return groups_of_people(["a", "b", "c"], each=4, **({"seed": 0, "video": "one"} | other))

    groups = dealt()
    people = [name for group in groups.values() for name in group]
    assert len(people) == len(set(people)) == 12
    assert groups == dealt()
    assert groups != dealt(seed=1)
    assert groups != dealt(video="two")


@pytest.mark.slow
@pytest.mark.timeout(BUSY_S)
def test_phases_measure_every_object_by_every_protocol(ran: Run):
    experiment, values = ran("phases")
    assert isinstance(experiment, PhasesExperiment)
    done = results(experiment)
    assert set(experiment.measured.by_kind) == {"drawn", "colonies"}, "without samples there are no cells"
    assert len(experiment.measured.all) == experiment.size.drawn + experiment.size.colonies
    for video in experiment.measured.all:
        wanted = {
            each.number for each in targets(experiment.home, video, most=experiment.size.objects, seed=0)
        }
        for arm in experiment.arms:
            masklets = done[f"{arm.name}/seed-0/{video.name}"].values["masklets"]
            assert {masklet["object_id"] for masklet in masklets} == wanted
            assert all(masklet["annotation_s"] > 0 for masklet in masklets)
        first = done[f"phase-1/seed-0/{video.name}"].values["masklets"]
        assert {masklet["edited_percent"] for masklet in first} == {100.0}, "phase 1 makes every frame"
    assert values["arms"]["phase-1"]["speed_up"]["value"] == 1.0
    text = Path(values["report"]).read_text(encoding="utf-8")
    assert "37.80" in text and "simulated" in text and "data:image/svg" in text and "data:image/jpeg" in text


@pytest.mark.slow
@pytest.mark.timeout(BUSY_S)
def test_data_adds_up_and_scores_videos_that_nobody_trained_on(ran: Run):
    experiment, values = ran("data", "--no-prefect")
    assert isinstance(experiment, DataExperiment)
    sizes = [len(experiment.rows_of(name)) for name in TRAINED]
    assert sizes == sorted(sizes) and sizes[0] == 0 < sizes[3]
    used = {row["video_id"] for row in experiment.rows_of("auto")}
    assert not used & {video.video_id for video in experiment.held_out.all}
    done = results(experiment)
    assert len({done[f"train/{name}/seed-0"].values["weights"] for name in ("base", "phase-3")}) == 2
    assert {"drawn/mask", "colonies/3-click"} <= set(values["rows"]["base"]["jf"])
    assert values["rows"]["base"]["jf_over_base"]["drawn/mask"]["value"] == 0.0
    assert set(values["rows"]) == {"start", *TRAINED}


@pytest.mark.slow
@pytest.mark.timeout(BUSY_S)
def test_rounds_are_alike_until_something_was_retrained(ran: Run):
    experiment, values = ran("rounds", "--no-prefect")
    assert isinstance(experiment, RoundsExperiment)
    done = {name: result.values for name, result in results(experiment).items()}
    first, same = done[f"{LOOP}/seed-0/round-1"], done[f"{STILL}/seed-0/round-1"]
    assert first["videos"] == same["videos"] and first["weights_before"] == same["weights_before"]
    still = done[f"{STILL}/seed-0/round-2"]
    assert still["weights_after"] == still["weights_before"] == first["weights_before"]
    assert {score["role"] for score in still["scores"]} == {"champion", "base"}
    assert Path(values["report"]).with_name("rounds.png").stat().st_size > 10_000
    assert (
        json.loads(Path(values["report"]).with_name("rounds.json").read_text())["verdict"]
        == values["verdict"]
    )


@pytest.mark.slow
@pytest.mark.timeout(BUSY_S)
def test_rounds_turn_on_a_kind_of_video_that_is_new(ran: Run):
    experiment, values = ran("colonies", "--no-prefect")
    assert isinstance(experiment, ColoniesExperiment)
    assert all(video.name.startswith("colonies-") for video in experiment.arm_home(LOOP, 0).library.videos())
    page = Path(values["report"])
    assert "new to the weights" in page.read_text(encoding="utf-8")
    assert page.with_name("colonies.png").is_file()
    assert json.loads(page.with_name("colonies.json").read_text())["verdict"] == values["verdict"]


@pytest.mark.slow
def test_a_killed_experiment_goes_on_at_the_unit(tmp_path: Path, micro_checkpoint: Path):
    """With helpers that are trained first, on videos that are not measured."""
    whole = open_experiment(Request("phases", tmp_path / "whole", "tiny", str(micro_checkpoint)))
    run_pending(whole)
    undisturbed = results(whole)
    assert isinstance(whole, PhasesExperiment)
    assert not {video.video_id for video in whole.measured.all} & {
        video.video_id for video in whole.lessons.all
    }
    killer = [sys.executable, "-m", "tests.engine.experiments.killer"]
    command = [*killer, str(tmp_path), "phases", str(micro_checkpoint), "4"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    killed = open_experiment(Request("phases", tmp_path, "tiny", str(micro_checkpoint)))
    open_units = [unit.name for unit in pending(killed)]
    assert len(open_units) == len(killed.units()) - 4
    with pytest.raises(ExperimentError, match=re.escape(open_units[0])):
        results(killed)
    ran: list[str] = []
    run_pending(killed, on_unit=lambda unit: ran.append(unit.name))
    assert ran == open_units
    resumed = results(killed)
    assert {name: one.values for name, one in resumed.items()} == {
        name: one.values for name, one in undisturbed.items()
    }
    assert {name: one.files for name, one in resumed.items()} == {
        name: one.files for name, one in undisturbed.items()
    }


def test_a_lesson_refuses_a_video_that_judges(home: EngineHome, micro_checkpoint: Path, tmp_path: Path):
    (video,) = take_drawn(home, "evaluate", 1, Reel(frames=2, side=64, objects=1))
    truth = home.references.read(video.video_id)
    leaked = TrainingVideo(video.name, home.library.frames(video), list(truth.values()), group=video.group)
    lesson = Lesson(steps=1, frames=2, objects=1, image_size=0, drawn_share=0.0)
    start = store_checkpoint(home, micro_checkpoint)
    with pytest.raises(LeakError, match=video.group):
        teach(home, start, [leaked], lesson, folder=tmp_path, forbidden={video.group})


def test_units_have_different_keys_and_name_what_they_build_on(tmp_path: Path, micro_checkpoint: Path):
    experiment = open_experiment(Request("phases", tmp_path, "tiny", str(micro_checkpoint)))
    units = experiment.units()
    assert len({unit.key for unit in units}) == len({unit.name for unit in units}) == len(units)
    by_name = {unit.name: unit for unit in units}
    assert by_name["train/all"].inputs["lessons"] == [by_name["lesson/drawn-annotate-000"].key]
    assert by_name["phase-3/seed-0/drawn-measure-000"].inputs["weights"] == by_name["train/all"].key


def test_other_weights_in_the_same_folder_are_refused(tmp_path: Path, micro_checkpoint: Path):
    asked = Request("phases", tmp_path, "tiny", str(micro_checkpoint))
    begun = open_experiment(asked)
    other = tmp_path / "other.safetensors"
    state = load_file(micro_checkpoint)
    with safe_open(micro_checkpoint, "pt") as file:
        save_file({name: values + 1 for name, values in state.items()}, other, file.metadata())
    with pytest.raises(ExperimentError, match="start"):
        open_experiment(replace(asked, checkpoint=str(other)))
    with pytest.raises(RoundError, match="nowhere"):
        open_experiment(replace(asked, checkpoint="nowhere.safetensors"))
    unsaid = open_experiment(replace(asked, checkpoint=""))
    assert [unit.key for unit in unsaid.units()] == [unit.key for unit in begun.units()]


def test_every_experiment_has_every_scale():
    assert set(EXPERIMENTS) == {"phases", "data", "rounds", "colonies"}
    assert all({"full", "quick"} <= set(sizes) for _, sizes in EXPERIMENTS.values())


def test_targets_lie_on_their_objects(home: EngineHome):
    (video,) = take_drawn(home, "annotate", 1, Reel(frames=2, side=64, objects=2))
    found = targets(home, video, most=2, seed=0)
    truth = home.references.read(video.video_id)
    assert found == targets(home, video, most=2, seed=0) and found
    for target in found:
        mask = decode(truth[target.number][target.first_frame])
        assert mask[round(target.point[1]), round(target.point[0])]
        assert (target.box.x1 - target.box.x0) * (target.box.y1 - target.box.y0) >= mask.sum()
