from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import SettingsError
from engine.settings import Settings, known_keys, load_settings


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "engine.toml"
    path.write_text("[round]\nvideos = 5\nseed = 7\n")
    return path


def test_flags_win_over_the_environment_and_that_over_the_file(toml: Path) -> None:
    environ = {"ENGINE_ROUND__VIDEOS": "6", "ENGINE_ROUND__SEED": "8", "HOME": "/"}
    settings = load_settings(toml, environ=environ, flags={"round.seed": 9, "round.videos": None})
    assert (settings.round.videos, settings.round.seed) == (6, 9)
    assert settings.round.objects_per_video == Settings().round.objects_per_video


@pytest.mark.parametrize(
    ("source", "near"),
    [("file", "round.videos"), ("environment", "round.objects_per_video"), ("flag", "retrain.steps")],
)
def test_an_unknown_key_names_the_nearest_known_one(toml: Path, source: str, near: str) -> None:
    environ, flags = {}, {}
    if source == "file":
        toml.write_text("[round]\nvidoes = 5\n")
    elif source == "environment":
        environ = {"ENGINE_ROUND__OBJECT_PER_VIDEO": "1"}
    else:
        flags = {"retrain.step": 3}
    with pytest.raises(SettingsError, match=f"nearest known one is `{near}`"):
        load_settings(toml, environ=environ, flags=flags)


def test_the_home_variable_is_not_a_setting(toml: Path) -> None:
    load_settings(toml, environ={"ENGINE_HOME": "/somewhere"})


@pytest.mark.parametrize("text", ["[round]\nvideos = 0\n", "[round]\nvideos = 'many'\n"])
def test_a_bad_value_is_named_with_its_key(toml: Path, text: str) -> None:
    toml.write_text(text)
    with pytest.raises(SettingsError, match=r"`round\.videos` is"):
        load_settings(toml, environ={})


def test_a_broken_file_is_named(toml: Path) -> None:
    toml.write_text("[round\n")
    with pytest.raises(SettingsError, match=r"engine\.toml is not valid TOML"):
        load_settings(toml, environ={})


def test_where_things_are_stored_changes_no_hash_and_enters_no_snapshot() -> None:
    elsewhere = load_settings(environ={}, flags={"storage.database_url": "postgresql://me:secret@db/x"})
    assert elsewhere.hash() == load_settings(environ={}).hash()
    assert "secret" not in str(elsewhere.snapshot())
    assert load_settings(environ={}, flags={"round.seed": 3}).hash() != elsewhere.hash()


def test_what_computes_changes_no_hash_but_precision_does() -> None:
    plain = load_settings(environ={})
    on_gpu = load_settings(
        environ={}, flags={"model.device": "cuda:1", "model.compile": True, "model.threads": 3}
    )
    assert on_gpu.hash() == plain.hash()
    assert load_settings(environ={}, flags={"model.precision": "bfloat16"}).hash() != plain.hash()


@pytest.mark.parametrize(("key", "value"), [("model.device", "gpu"), ("model.precision", "float16")])
def test_odd_devices_and_precisions_are_refused(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=key):
        load_settings(environ={}, flags={key: value})


def test_a_snapshot_gives_the_same_settings_back() -> None:
    settings = load_settings(environ={}, flags={"round.seed": 3, "gate.tolerance": 0.5})
    again = Settings(**settings.snapshot())
    assert again.hash() == settings.hash()


def test_an_override_is_validated() -> None:
    assert Settings().overridden({"round.videos": 9, "round.seed": None}).round.videos == 9
    with pytest.raises(SettingsError):
        Settings().overridden({"round.videos": -1})


def test_every_section_is_reachable() -> None:
    sections = {key.split(".")[0] for key in known_keys()}
    assert sections == set(Settings.model_fields)
