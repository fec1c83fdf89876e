"""Units: keys say what a result depends on, results are written once, designs do not change."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import SettingsError
from engine.experiments.base import ExperimentError, Place, fix_design, make_home, only_runner
from engine.experiments.units import Unit, UnitResult, read_result, record_result
from engine.home import EngineHome, create_home
from storage.errors import ManifestError
from storage.manifests import FileRef


@pytest.fixture
def home(tmp_path: Path) -> EngineHome:
    return make_home(tmp_path / "phases", "[round]\nvideos = 3\n")


def test_a_key_changes_with_every_input_and_with_nothing_else():
    unit = Unit("train/all", {"start": "a", "steps": 3}, cost=2.0)
    assert unit.key == Unit("train/all", {"steps": 3, "start": "a"}, cost=9.0).key
    others = [Unit("train/all", {"start": "a", "steps": 4}), Unit("train/masks", {"start": "a", "steps": 3})]
    assert len({unit.key, *(other.key for other in others)}) == 3
    assert unit.key.startswith("experiments/train/all-")


def test_the_first_result_stands(home: EngineHome):
    unit = Unit("a/b", {})
    assert read_result(home.store, unit) is None
    file = FileRef(name="weights", key="checkpoints/x", sha256="x")
    first = record_result(home.store, unit, UnitResult({"jf": 1.5}, (file,), {"cpu_s": 3.0}))
    second = record_result(home.store, unit, UnitResult({"jf": 2.5}))
    assert second == first == read_result(home.store, unit)
    assert first.values == {"jf": 1.5} and first.file("weights") == file and first.code_version
    with pytest.raises(ManifestError, match="no file 'masks'"):
        first.file("masks")


def test_a_damaged_record_says_what_to_do(home: EngineHome):
    unit = Unit("a/b", {})
    home.store.put(unit.key, b'{"values": {}')
    with pytest.raises(ManifestError, match="damaged"):
        read_result(home.store, unit)


def test_a_design_is_fixed_once_and_its_differences_are_named(home: EngineHome):
    design = {"size": {"seeds": 1, "frames": 8}, "start": "abc"}
    assert fix_design(home, design) == design == fix_design(home, design)
    with pytest.raises(ExperimentError, match=r"another design \(size.seeds 1 instead of 3\)"):
        fix_design(home, {"size": {"seeds": 3, "frames": 8}, "start": "abc"})


def test_a_home_keeps_its_settings(home: EngineHome):
    assert home.settings.round.videos == 3
    assert make_home(home.path, "[round]\nvideos = 9\n").settings.round.videos == 3


def test_an_engine_home_is_no_place_for_experiments(tmp_path: Path):
    create_home(tmp_path / "mine")
    with pytest.raises(SettingsError, match="is an engine home"):
        Place.at(tmp_path / "mine", scale="quick")
    place = Place.at(tmp_path / "other", scale="quick")
    assert place.home("data") == tmp_path / "other" / "quick" / "data"
    assert place.samples == tmp_path / "other" / "samples"


def test_a_folder_has_one_runner(tmp_path: Path):
    with (
        only_runner(tmp_path),
        pytest.raises(ExperimentError, match="Another process"),
        only_runner(tmp_path),
    ):
        pass
    with only_runner(tmp_path):
        pass
