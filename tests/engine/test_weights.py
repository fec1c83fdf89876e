"""Weights come from the store to the device of the settings, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import RoundError
from engine.home import create_home, open_home
from engine.rounds import base_checkpoint, weights_path
from engine.settings import ModelSettings
from engine.weights import load_file, load_weights
from model.errors import ModelError
from model.files.checkpoints import default_checkpoint
from model.files.download import cache_folder


def test_weights_are_loaded_once(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    digest = base_checkpoint(home)
    model = load_weights(home, digest)
    assert load_weights(open_home(home.path), digest) is model
    assert not model.training and model.image_size == 256


def test_weights_are_named_by_path_or_by_the_name_they_were_pulled_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_path(str(default_checkpoint()), "model.checkpoint") == default_checkpoint()
    with pytest.raises(RoundError, match=r"Run `engine model pull sam2\.1_hiera_tiny`"):
        weights_path("sam2.1_hiera_tiny", "model.checkpoint")
    with pytest.raises(RoundError, match=r"nowhere\.pt .*does not exist"):
        weights_path("nowhere.pt", "model.checkpoint")
    pulled = cache_folder() / "sam2.1_hiera_tiny.pt"
    pulled.parent.mkdir(parents=True)
    pulled.touch()
    assert weights_path("sam2.1_hiera_tiny", "model.checkpoint") == pulled


def test_the_settings_say_where_and_how_large() -> None:
    model = load_file(default_checkpoint(), ModelSettings(device="cpu", image_size=128))
    assert model.device.type == "cpu" and model.image_size == 128
    with pytest.raises(ModelError, match="cuda:77"):
        load_file(default_checkpoint(), ModelSettings(device="cuda:77"))


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script_method. is deprecated:DeprecationWarning"
)  # torch._inductor
def test_a_compiled_network_is_still_a_checkpoint() -> None:
    plain = load_file(default_checkpoint(), ModelSettings(device="cpu"))
    compiled = load_file(default_checkpoint(), ModelSettings(device="cpu", compile=True))
    assert compiled.state_dict().keys() == plain.state_dict().keys()
