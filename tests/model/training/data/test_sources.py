"""Sources named by a text: what is understood, and what is said where it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.errors import ClipError, TrainingError
from model.training.augment import AUGMENTATIONS
from model.training.data.sources import KINDS, check_mix, parse_source, read_text
from model.training.data.videos import IndexedClips
from model.training.loader import SkippedClips
from model.training.mixture import Mixture
from model.training.recipe import load_recipe
from model.training.synthetic import SyntheticClips
from storage.videos import IngestLimits
from tests.model.training.data.folders import write_davis, write_sa1b, write_sav, write_sav_val


@pytest.mark.parametrize(
    ("text", "kind", "place", "options", "weight"),
    [
        ("sav:/data/sav", "sav", "/data/sav", {}, None),
        ("sav:/data/sav=2", "sav", "/data/sav", {}, 2.0),
        ("sav:/data/run=7=0.5", "sav", "/data/run=7", {}, 0.5),
        ("sav:/data?masklets=auto", "sav", "/data", {"masklets": "auto"}, None),
        ("sav:/data?masklets=auto&names=/a b.txt=1e-1", "sav", "/data", {"masklets": "auto", "names": "/a b.txt"}, 0.1),
        ("sa1b:/data?area=0.9", "sa1b", "/data", {"area": "0.9"}, None),
        ("sa1b:/data?area=0.9=3", "sa1b", "/data", {"area": "0.9"}, 3.0),
        ("drawn:=0.2", "drawn", "", {}, 0.2),
        ("drawn=0.2", "drawn", "", {}, 0.2),
        ("davis:C:/data", "davis", "C:/data", {}, None),
    ],
)  # fmt: skip
def test_texts_are_taken_apart(
    text: str, kind: str, place: str, options: dict[str, str], weight: float | None
) -> None:
    read = read_text(text, KINDS)
    assert (read.kind, read.place, dict(read.options), read.weight) == (kind, place, options, weight)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/data/sav", r"'/data/sav': it must be KIND:PLACE with one of sav, davis"),
        ("savv:/data", r"the kind 'savv' is unknown \(did you mean sav\?\); known: sav, davis"),
        ("sav:/data?masklet=auto", r"the option 'masklet' is unknown \(did you mean masklets\?\)"),
        ("sav:/data?masklets", "the option 'masklets' needs a value"),
        ("sav:/data=0", "the weight must be above 0, got 0"),
        ("sav:/data=-1", "the weight must be above 0"),
        ("sav:/data=nan", "the weight must be above 0"),
        ("sav:", "a folder is missing: sav:/path"),
        ("sav:/nowhere", "'sav:/nowhere': there is no folder /nowhere"),
        ("drawn:/data", "drawn clips have no place"),
        ("drawn:?cells=many", "cells must be a number of at least 0, not 'many'"),
        ("drawn:?plot=asway", "plot must be one of any, plain, .*, not 'asway'"),
        ("drawn:?stride=1.5", "stride must be a whole number of at least 1, not '1.5'"),
        ("sav:{folder}?masklets=human", "masklets must be one of manual, auto, both, not 'human'"),
        ("sav:{folder}", r"holds no <video>_manual.json"),
        ("mose:{folder}", "holds no folder of frames"),
        ("mose:{folder}?every=0.5", "every must be a whole number of at least 1, not '0.5'"),
        ("sa1b:{folder}", "holds no <image>.json"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(TrainingError, match=why):
        parse_source(text.format(folder=tmp_path))


def test_every_kind_opens_what_it_is_for(tmp_path: Path) -> None:
    write_sav(tmp_path / "sav")
    write_sav_val(tmp_path / "val")
    write_davis(tmp_path / "davis")
    write_sa1b(tmp_path / "sa1b")
    texts = [
        f"sav:{tmp_path}/sav=2",
        f"sav:{tmp_path}/val",
        f"davis:{tmp_path}/davis",
        f"sa1b:{tmp_path}/sa1b",
    ]
    sources = [parse_source(text) for text in [*texts, "drawn:=0.5"]]
    assert [source.weight for source in sources] == [2.0, None, None, None, 0.5]
    assert [(source.frames, source.objects) for source in sources[2:4]] == [(None, None), (1, 64)]
    for source in sources:
        batch = Mixture([source], frames=3, objects=2, clips_per_step=1, size=32, seed=0).draw(0)
        assert batch.frames == (source.frames or 3)
        assert not batch.skipped


def test_augmentations_are_sam_2s_or_those_given(tmp_path: Path) -> None:
    write_davis(tmp_path / "davis")
    write_sa1b(tmp_path / "sa1b")
    small = AUGMENTATIONS["small"]
    for text, given, expected in (
        ("davis", None, AUGMENTATIONS["video"]),
        ("davis", small, small),
        ("sa1b", None, AUGMENTATIONS["image"]),
        ("sa1b", small, AUGMENTATIONS["image"]),
    ):
        source = parse_source(f"{text}:{tmp_path}/{text}", augmentation=given)
        assert isinstance(source.clips, IndexedClips)
        assert source.clips.augmentation == expected


def test_drawn_clips_beside_others_need_a_weight() -> None:
    with pytest.raises(TrainingError, match=r"'drawn:': drawn clips have no number; say how often"):
        check_mix(["drawn:", "sav:/data"])
    check_mix(["drawn:"])
    check_mix(["drawn:=0.2", "sav:/data"])


def test_drawn_clips_take_their_share_of_cells() -> None:
    clips = parse_source("drawn:?cells=1").clips
    names = [clips.clip(i, np.random.default_rng(i), frames=1, objects=1, size=32).name for i in range(3)]
    assert all(name.startswith("cells") for name in names)


def test_a_damaged_video_among_good_ones_is_named_counted_and_passed_over(tmp_path: Path) -> None:
    for name in ("bear", "cow", "dog"):
        write_davis(tmp_path, name)
    for frame in (tmp_path / "JPEGImages/480p/cow").iterdir():
        frame.write_bytes(b"nothing")
    mixture = Mixture(
        [parse_source(f"davis:{tmp_path}")], frames=2, objects=2, clips_per_step=2, size=32, seed=0
    )
    batches = [mixture.draw(step) for step in range(8)]
    assert {name for batch in batches for name in batch.names} == {"bear", "dog"}
    skipped = [clip for batch in batches for clip in batch.skipped]
    assert skipped == [clip for step in range(8) for clip in mixture.draw(step).skipped]
    counted = SkippedClips(most=len(skipped) - 1, share=0.01)
    with pytest.raises(
        TrainingError, match=r"could not be read.*clip 1 of davis:.*cow/\d+.jpg: .*cannot be read"
    ):
        for batch in batches:
            counted.note(len(batch.names), batch.skipped)


@pytest.mark.parametrize("limits", [IngestLimits(max_pixels=100), IngestLimits(max_frames=3)])
def test_pictures_beyond_the_limits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: IngestLimits
) -> None:
    monkeypatch.setattr("model.training.data.files.LIMITS", limits)
    write_sav(tmp_path / "sav")
    write_davis(tmp_path / "davis")
    write_sa1b(tmp_path / "sa1b")
    why = "frames of 64x48 pixels; the limit is 100" if limits.max_pixels == 100 else "more than 3 frames"
    for kind in ("sav", "davis", "sa1b") if limits.max_pixels == 100 else ("davis",):
        source = parse_source(f"{kind}:{tmp_path}/{kind}")
        with pytest.raises(ClipError, match=why):
            source.clips.clip(0, np.random.default_rng(0), frames=1, objects=1, size=16)


def test_drawn_clips_show_what_was_asked_for() -> None:
    source = parse_source("drawn:?plot=away&cells=0&stride=3").clips
    assert source == SyntheticClips(cells=0.0, plot="away", stride=3)
    assert parse_source("drawn:").clips == SyntheticClips()


def test_drawn_clips_are_tiled_where_the_recipe_wants_mosaics() -> None:
    recipe = load_recipe("nano-long")
    assert recipe.augmentation is not None
    plain, some = (
        parse_source("drawn:", augmentation=wanted).clips for wanted in (None, recipe.augmentation)
    )
    tiled = 0
    for seed in range(40):
        whole, made = (
            source.clip(seed, np.random.default_rng(seed), frames=1, objects=2, size=32)
            for source in (plain, some)
        )
        upper, lower = np.array_split(made.images[0], 2)
        if np.array_equal(upper, lower):
            tiled += 1
            assert 0 < made.masks.sum() < whole.masks.sum()
        else:
            assert np.array_equal(made.images, whole.images) and np.array_equal(made.masks, whole.masks)
    assert 0 < tiled < 12


def test_a_mosaic_of_drawn_clips_labels_one_tile_on_every_frame() -> None:
    always = replace(AUGMENTATIONS["none"], mosaic_probability=1.0)
    source = parse_source("drawn:?plot=close&cells=0", augmentation=always).clips
    for seed in range(4):
        clip = source.clip(0, np.random.default_rng(seed), frames=3, objects=3, size=64)
        tiles = clip.masks.any(axis=(0, 1)).reshape(2, 32, 2, 32).any(axis=(1, 3))
        assert tiles.sum() == 1
        assert clip.masks[0].any(axis=(1, 2)).all()
