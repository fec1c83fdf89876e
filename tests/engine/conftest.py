"""A whole engine home in miniature: two short training videos, one for evaluation, and a micro network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.home import EngineHome, create_home, open_home
from model.config import DecoderConfig, MemoryConfig, Sam2Config, TrunkConfig
from model.files.checkpoints import save_checkpoint
from model.network.sam2 import Sam2
from storage.masks import Rle, encode
from storage.videos import Video

FRAMES, SIDE = 4, 64

MICRO = Sam2Config(
    size="nano",
    image_size=64,
    dim=32,
    trunk=TrunkConfig(
        embed_dim=8, heads=1, stages=(1, 1, 1, 1), global_blocks=(2,), windows=(8, 4, 4, 2), drop_path=0.0
    ),
    memory=MemoryConfig(dim=16, layers=1, feedforward=32, dropout=0.0),
    decoder=DecoderConfig(heads=2, feedforward=32),
)

SETTINGS = """
[model]
checkpoint = "{checkpoint}"
threads = 1

[round]
videos = 2
objects_per_video = 1
control_objects = 1
lease_s = 30

[auto]
videos = 1
max_masklets_per_video = 3

[evaluate]
retention_clips = 1
online_objects = 1

[retrain]
steps = 3
frames = 2
objects = 1
clips_per_step = 1
save_every = 1
processes = 0
"""


def discs(seed: int, *, count: int = 3) -> tuple[np.ndarray, dict[int, dict[int, Rle]]]:
    """Bright discs that drift over noise: frames uint8 [T, H, W, 3] and masks by object and frame.

    They stand on a falling line, from seed 5 on a rising one: with those, videos do not look alike.
    """
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 60, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    masks: dict[int, dict[int, Rle]] = {}
    for number in range(1, count + 1):
        x, y = 12 + 18 * (number - 1) + rng.integers(4), 16 + 12 * (number - 1)
        y = y if seed < 5 else SIDE - 8 - y
        for frame in range(FRAMES):
            disc = (columns - x - frame) ** 2 + (rows - y) ** 2 < 64
            frames[frame][disc] = 120 + 40 * number
            masks.setdefault(number, {})[frame] = encode(disc)
    return frames, masks


def add_video(home: EngineHome, name: str, seed: int, *, split: str = "train") -> Video:
    """Ingest a disc video with its references."""
    frames, masks = discs(seed)
    outcome = home.library.ingest_array(frames, name=name, fps=6.0, split=split, group=name)
    assert outcome.video is not None
    home.references.write(outcome.video.video_id, masks)
    home.catalog.record_video(outcome.video)
    return outcome.video


@pytest.fixture(scope="session")
def micro_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    torch.manual_seed(0)
    save_checkpoint(Sam2(MICRO), path)
    return path


@pytest.fixture(scope="session")
def make_home(tmp_path_factory: pytest.TempPathFactory, micro_checkpoint: Path) -> Callable[..., EngineHome]:
    """Makes homes of equal content, each in a folder of its own."""

    def make(name: str, *, store_url: str = "", database_url: str = "") -> EngineHome:
        path = tmp_path_factory.mktemp(name)
        create_home(path, store_url=store_url, database_url=database_url)
        with (path / "engine.toml").open("a") as file:
            file.write(SETTINGS.format(checkpoint=micro_checkpoint))
        home = open_home(path)
        for index in range(2):
            add_video(home, f"train-{index}", index)
        add_video(home, "held-out", 9, split="eval")
        return home

    return make


@pytest.fixture
def home(make_home: Callable[..., EngineHome]) -> EngineHome:
    return make_home("home")
