"""SA-V's folders: which frame belongs to which mask, people's masklets and the model's, and damaged files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.errors import ClipError, TrainingError
from model.training.augment import AUGMENTATIONS
from model.training.data.sav import SavFolder
from model.training.data.videos import IndexedClips, OpenedVideo
from tests.model.training.data.folders import FRAMES, mask_of, sav_annotation, write_frames, write_sav
from tests.storage.films import number_of


def opened(root: Path, **how: object) -> OpenedVideo:
    return SavFolder(root, **how).open(0)  # type: ignore[arg-type]


def film(root: Path) -> None:
    write_sav(root)


def pictures(numbers: dict[str, int], place: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (write_sav(root) / "sav_000001.mp4").unlink()
        write_frames(root / place, numbers)

    return write


ALL = {f"{number:05d}": number for number in range(FRAMES)}
EVERY_FOURTH = {f"{number:05d}": number for number in range(0, FRAMES, 4)}
RENUMBERED = {f"{entry:05d}": 4 * entry for entry in range(11)}


@pytest.mark.parametrize(
    "write",
    [
        film,
        pictures(ALL, "sav_000/sav_000001"),
        pictures(EVERY_FOURTH, "JPEGImages_6fps/sav_000001"),
        pictures(RENUMBERED, "JPEGImages/sav_000001"),
    ],
    ids=["film", "24 frames a second", "6 frames a second", "6 frames a second, renumbered"],
)
def test_annotated_frame_a_is_video_frame_4a(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    video = opened(tmp_path)
    assert len(video) == 11
    for position in (3, 0, 10, 9):
        assert number_of(video.image(position)) == 4 * position
        for row in range(2):
            assert np.array_equal(video.mask(row, position), mask_of(position, row))


@pytest.mark.parametrize("reverse", [0.0, 1.0])
def test_a_clip_holds_contiguous_annotated_frames_and_their_masks(tmp_path: Path, reverse: float) -> None:
    write_sav(tmp_path)
    still = AUGMENTATIONS["none"]
    source = IndexedClips(
        SavFolder(tmp_path), type(still)(**as_dict(still) | {"reverse_probability": reverse})
    )
    for seed in range(5):
        rng = np.random.default_rng(seed)
        clip = source.clip(0, rng, frames=8, objects=3, size=64)
        numbers = [number_of(image) for image in clip.images]
        assert np.diff(numbers).tolist() == [-4 if reverse else 4] * 7
        for time, number in enumerate(numbers):
            assert np.flatnonzero(clip.masks[time, 0].any(axis=0))[0] == number // 4
    assert (clip.name, clip.group) == ("sav_000001", "sav_000001")


def as_dict(augmentation: object) -> dict[str, float]:
    return {name: getattr(augmentation, name) for name in augmentation.__slots__}  # type: ignore[attr-defined]


def test_people_and_model_stay_apart(tmp_path: Path) -> None:
    write_sav(tmp_path, manual=sav_annotation(objects=(0,)), auto=sav_annotation(objects=(1, 2)))
    write_sav(tmp_path, "sav_000002", manual=sav_annotation(objects=(0, 1, 2)))
    assert [len(SavFolder(tmp_path, masklets=kind)) for kind in ("manual", "auto", "both")] == [2, 1, 2]
    assert opened(tmp_path).visible(0) == [0]
    assert opened(tmp_path, masklets="auto").visible(0) == [0, 1]
    both = opened(tmp_path, masklets="both")
    assert [np.array_equal(both.mask(row, 3), mask_of(3, row)) for row in both.visible(3)] == [True] * 3
    with pytest.raises(TrainingError, match="use one of manual, auto, both"):
        SavFolder(tmp_path, masklets="human")


def test_frames_with_a_null_object_count_as_unannotated(tmp_path: Path) -> None:
    annotation = sav_annotation()
    annotation["masklet"][2][1] = None
    annotation["masklet"][5] = None
    write_sav(tmp_path, manual=annotation)
    video = opened(tmp_path)
    assert [number_of(video.image(position)) for position in range(len(video))] == [
        4 * entry for entry in range(11) if entry not in (2, 5)
    ]
    everything = opened(tmp_path, rm_unannotated=False)
    assert len(everything) == FRAMES
    assert everything.visible(4) == [0, 1]
    assert everything.visible(5) == everything.visible(8) == []


def test_other_spellings_of_an_annotation_are_read(tmp_path: Path) -> None:
    masklet = sav_annotation(21)["masklet"]
    for number, content in enumerate(
        [masklet[:11], {"masks": masklet[:11]}, {"masklet": masklet, "fps": [12]}]
    ):
        write_sav(tmp_path / str(number), manual=content)
        video = opened(tmp_path / str(number))
        step = 2 if number == 2 else 4
        assert number_of(video.image(5)) == 5 * step


def test_a_list_of_names_chooses_the_videos(tmp_path: Path) -> None:
    write_sav(tmp_path)
    write_sav(tmp_path, "sav_000002")
    names = tmp_path / "train.txt"
    names.write_text("sav_000002\n\n")
    assert opened(tmp_path, names=names).name == "sav_000002"
    names.write_text("../../secret\n")
    with pytest.raises(TrainingError, match=r"train.txt: '../../secret' is no name of a video"):
        SavFolder(tmp_path, names=names)
    with pytest.raises(TrainingError, match=r"holds no <video>_auto\.json"):
        SavFolder(tmp_path, masklets="auto")


def cut_film(folder: Path) -> None:
    film = folder / "sav_000001.mp4"
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])


def short_film(folder: Path) -> None:
    annotation = sav_annotation(entries=12)
    (folder / "sav_000001_manual.json").write_text(json.dumps(annotation))


def no_film(folder: Path) -> None:
    (folder / "sav_000001.mp4").unlink()


def missing_frame(folder: Path) -> None:
    no_film(folder)
    write_frames(folder / "sav_000001", {name: number for name, number in ALL.items() if number != 8})


def missing_json(folder: Path) -> None:
    (folder / "sav_000001_manual.json").unlink()


def cut_json(folder: Path) -> None:
    path = folder / "sav_000001_manual.json"
    path.write_bytes(path.read_bytes()[:-5])


def other(**changes: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "sav_000001_manual.json").write_text(json.dumps(sav_annotation() | changes))

    return write


def damaged_mask(folder: Path) -> None:
    annotation = sav_annotation()
    for frame in annotation["masklet"]:
        frame[1]["counts"] = "garbage"
    other(**annotation)(folder)


def huge_mask(folder: Path) -> None:
    annotation = sav_annotation()
    for frame in annotation["masklet"]:
        frame[0] = {"size": [1_000_000, 1_000_000], "counts": [10**12 - 1, 1]}
    other(**annotation)(folder)


def other_size(folder: Path) -> None:
    annotation = sav_annotation()
    for frame in annotation["masklet"]:
        frame[0] = {"size": [10, 10], "counts": [0, 100]}
    other(**annotation)(folder)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut_film, r"sav_000001.mp4: .*(not a readable video|corrupt)"),
        (
            short_film,
            r"sav_000001.mp4: it has 41 frames, but sav_000001_manual.json has masks up to frame 44",
        ),
        (no_film, r"_manual.json: there are no frames for it; looked for .*JPEGImages_24fps/sav_000001"),
        (missing_frame, r"sav_000001: 00008.jpg is missing \(annotated frame 2 of"),
        (missing_json, r"sav_000001_manual.json: cannot be read \(No such file"),
        (cut_json, r"sav_000001_manual.json: is not valid JSON"),
        (other(masklet=[]), r"sav_000001_manual.json: there is no list of frames"),
        (other(fps="fast"), r"sav_000001_manual.json: 'fps' must divide 24, got 'fast'"),
        (other(masklet=[None]), r"sav_000001_manual.json: no frame is annotated"),
        (damaged_mask, r"sav_000001_manual.json: annotated frame \d+, object 1: damaged RLE"),
        (huge_mask, r"annotated frame \d+, object 0: frames of 1000000x1000000 pixels; the limit"),
        (other_size, r"sav_000001: frames and masks differ in size: .*10x10"),
    ],
)
def test_damaged_videos_are_named(tmp_path: Path, damage: Callable[[Path], None], why: str) -> None:
    folder = write_sav(tmp_path)
    source = IndexedClips(SavFolder(tmp_path), AUGMENTATIONS["none"])
    damage(folder)
    with pytest.raises(ClipError, match=why):
        source.clip(0, np.random.default_rng(0), frames=4, objects=3, size=32)
