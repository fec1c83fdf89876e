"""Weights on disk: exact round trips and messages that say what is wrong."""

from __future__ import annotations

import os
import pickle
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.config import Sam2Config
from model.errors import CheckpointError
from model.files.checkpoints import checkpoint_hash, load_checkpoint, read_info, read_state, save_checkpoint
from model.network.sam2 import Sam2


def _same(a: Sam2, b: Sam2) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_saved_network_loads_by_itself(micro_model: Sam2, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "micro.safetensors"
    save_checkpoint(micro_model, path, {"round": "r1"})
    loaded = load_checkpoint(path)
    assert loaded.config == micro_model.config
    assert _same(loaded, micro_model) and not loaded.training
    assert [p.name for p in path.parent.iterdir()] == ["micro.safetensors"]
    info = read_info(path)
    assert info is not None and info.extra == {"round": "r1"}


def test_equal_content_gives_equal_bytes(micro_model: Sam2, tmp_path: Path) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path in paths:
        save_checkpoint(micro_model, path, {"b": "2", "a": "1", "c": "3"})
    assert len({checkpoint_hash(path) for path in paths}) == 1


def test_a_file_loads_at_another_image_size(micro_model: Sam2, tmp_path: Path) -> None:
    path = tmp_path / "micro.safetensors"
    save_checkpoint(micro_model, path)
    assert load_checkpoint(path, image_size=96).image_size == 96


def test_trained_weights_keep_their_gradients(micro_model: Sam2, tmp_path: Path) -> None:
    path = tmp_path / "micro.safetensors"
    save_checkpoint(micro_model.train(), path)
    loaded = load_checkpoint(path)
    frozen = [name for name, p in loaded.named_parameters() if not p.requires_grad]
    assert frozen == ["no_mem_pos_enc"]


@pytest.fixture(scope="module")
def nano() -> Sam2:
    from model.network.builder import build_sam2

    return build_sam2("nano")


@pytest.mark.parametrize("bare", [False, True])
def test_published_files_are_recognised(nano: Sam2, tmp_path: Path, bare: bool) -> None:
    path = tmp_path / "official.pt"
    state = nano.state_dict()
    torch.save(state if bare else {"model": state, "epoch": 3}, path)
    loaded = load_checkpoint(path)
    assert loaded.config.size == "nano" and _same(loaded, nano)
    assert read_info(path) is None


def test_foreign_keys_are_named(nano: Sam2, tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in nano.state_dict().items()}
    del state["no_obj_ptr"]
    state["surprise"] = torch.zeros(1)
    state["no_mem_embed"] = torch.zeros(2)
    path = tmp_path / "odd.safetensors"
    save_file(state, path)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    for part in ("1 missing: no_obj_ptr", "1 unexpected: surprise", "no_mem_embed (2,) not (1, 1, 128)"):
        assert part in message


def test_the_nearest_size_is_suggested(nano: Sam2, tmp_path: Path) -> None:
    path = tmp_path / "nano.pt"
    torch.save({"model": nano.state_dict()}, path)
    with pytest.raises(CheckpointError, match="nearest size is 'nano'"):
        load_checkpoint(path, "tiny")


def test_a_size_is_insisted_on(micro_model: Sam2, tmp_path: Path) -> None:
    path = tmp_path / "micro.safetensors"
    save_checkpoint(micro_model, path)
    with pytest.raises(CheckpointError, match="holds size 'micro', not 'tiny'"):
        load_checkpoint(path, "tiny")


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pt"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_says_so(micro_model: Sam2, tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save({"model": micro_model.state_dict()}, path)
    else:
        save_checkpoint(micro_model, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="cut short"):
        load_checkpoint(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file_of_the_old_format_says_so(micro_model: Sam2, tmp_path: Path, share: float) -> None:
    path = tmp_path / "old.pt"
    torch.save(micro_model.state_dict(), path, _use_new_zipfile_serialization=False)
    assert load_state_names(path) == set(micro_model.state_dict())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="cut short"):
        load_checkpoint(path)


def load_state_names(path: Path) -> set[str]:
    return set(read_state(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><title>404</title>", "is a web page"),
        (b"\n <html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{not a header..", "damaged"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff{}", "damaged"),
        (b"PK\x03\x04 no archive", "damaged"),
        (b"nonsense", "damaged"),
    ],
)
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_what_is_no_weights_file_says_so(tmp_path: Path, content: bytes, message: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_safetensors_header_of_any_length_is_no_pickle(micro_model: Sam2, tmp_path: Path) -> None:
    path = tmp_path / "micro.safetensors"
    state = micro_model.state_dict()
    for filler in range(0, 2048, 8):
        save_file(state, path, metadata={"filler": "x" * filler})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert load_state_names(path) == set(state)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("bare", [False, True])
def test_pickled_code_is_not_run(tmp_path: Path, protocol: int, bare: bool) -> None:
    path, trace = tmp_path / "evil.pt", tmp_path / "trace"
    if bare:
        path.write_bytes(pickle.dumps({"model": Trap(trace)}, protocol=protocol))
    else:
        torch.save({"model": Trap(trace)}, path, pickle_protocol=protocol)
    with pytest.raises(CheckpointError, match="nothing in it was run"):
        load_checkpoint(path)
    assert not trace.exists()


def test_a_training_checkpoint_gives_its_network(nano: Sam2, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    optimizer = torch.optim.AdamW(nano.parameters())
    content = {
        "model": nano.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 40,
        "loss": {"all": 0.25},
        "steps": {"train": 900},
        "time_elapsed": 12.5,
        "best_meter_values": {},
        "scaler": {"scale": 65536.0, "_growth_tracker": 7},
    }
    torch.save(content, path)
    assert _same(load_checkpoint(path), nano)


def test_weights_outlive_their_file(nano: Sam2, tmp_path: Path) -> None:
    path = tmp_path / "official.pt"
    torch.save({"model": nano.state_dict()}, path)
    loaded = load_checkpoint(path)
    path.write_bytes(b"")
    assert _same(loaded, nano)


def test_the_layout_of_another_library_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"vision_encoder.backbone.pos_embed": torch.zeros(1, 96, 7, 7)}, path)
    with pytest.raises(CheckpointError, match="transformers library"):
        load_checkpoint(path)


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.pt"
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="no state dict"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(tmp_path / "absent.pt")
    with pytest.raises(CheckpointError, match="cannot read"):
        checkpoint_hash(tmp_path / "absent.pt")


def test_a_write_that_fails_halfway_is_an_error(micro_model: Sam2, tmp_path: Path) -> None:
    """A full disk, here a limit on the size of files: safetensors tells of it by an error of its own."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="cannot write"):
            save_checkpoint(micro_model, tmp_path / "weights.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_folder_that_cannot_be_written_is_an_error(micro_model: Sam2, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(micro_model, tmp_path / "file" / "micro.safetensors")


def test_the_description_of_a_file_is_checked(
    micro_model: Sam2, micro_config: Sam2Config, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.safetensors"
    save_file(micro_model.state_dict(), path, metadata={"sam2": '{"config": {}, "extra": {}}'})
    with pytest.raises(CheckpointError, match="describes itself wrongly"):
        load_checkpoint(path)
    wider = Sam2(replace(micro_config, trunk=replace(micro_config.trunk, embed_dim=16)))
    save_checkpoint(wider, path)
    assert load_checkpoint(path).config.trunk.embed_dim == 16
