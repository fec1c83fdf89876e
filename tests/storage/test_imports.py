"""Masks from elsewhere: every form gives the same masks; what does not fit is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from storage import masks as rles
from storage.errors import ImportProblem
from storage.exports import ExportMasklet, export_davis, export_sav
from storage.folder import FolderStore
from storage.imports import find_masks, read_masks
from storage.videos import Video, VideoLibrary

SIZE = (8, 12)
COUNT = 9


def disc(x: int) -> np.ndarray:
    """A block of 2 × 2 pixels at column `x`."""
    mask = np.zeros(SIZE, dtype=bool)
    mask[3:5, x : x + 2] = True
    return mask


TRUTH = {
    1: {frame: disc(frame // 2) for frame in (0, 4, 8)},
    2: {frame: disc(8) for frame in (4, 8)},  # appears late
}
MASKS = {number: {frame: rles.encode(mask) for frame, mask in of.items()} for number, of in TRUTH.items()}


@pytest.fixture
def library(tmp_path: Path) -> VideoLibrary:
    return VideoLibrary(FolderStore(tmp_path / "store"))


@pytest.fixture
def video(library: VideoLibrary) -> Video:
    """Nine frames of which every fourth is annotated."""
    frames = np.random.default_rng(0).integers(0, 255, (COUNT, *SIZE, 3), dtype=np.uint8)
    outcome = library.ingest_array(frames, name="street", fps=24.0, split="eval", annotate_fps=6.0)
    assert outcome.video is not None and outcome.video.annotated_frames == (0, 4, 8)
    return outcome.video


def save(path: Path, labels: np.ndarray, *, palette: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PIL.Image.fromarray(labels.astype(np.uint8))
    if palette:
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    picture.save(path)


def labels_of(frame: int) -> np.ndarray:
    """The objects' numbers on a frame."""
    labels = np.zeros(SIZE, dtype=np.uint8)
    for number, of in TRUTH.items():
        labels[of.get(frame, np.zeros(SIZE, dtype=bool))] = number
    return labels


def palettes(folder: Path, names: dict[int, str] | None = None) -> Path:
    for frame in (0, 4, 8):
        save(folder / f"{(names or {}).get(frame, f'{frame:05d}')}.png", labels_of(frame))
    return folder


def objects(folder: Path, names: dict[int, str] | None = None, *, late: bool = False) -> Path:
    for number, of in TRUTH.items():
        for frame in (0, 4, 8):
            if frame in of or not late:
                mask = of.get(frame, np.zeros(SIZE, dtype=bool)) * np.uint8(255)
                save(
                    folder / (names or {}).get(number, f"{number:03d}") / f"{frame:05d}.png",
                    mask,
                    palette=False,
                )
    return folder


def sav_file(path: Path, **fields: Any) -> Path:
    absent = rles.empty(*SIZE)
    content = {
        "masklet": [[MASKS[n].get(frame, absent).to_coco() for n in (1, 2)] for frame in (0, 4, 8)],
        "masklet_id": [1, 2],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | fields))
    return path


@pytest.mark.parametrize(
    "make",
    [
        palettes,
        objects,
        lambda folder: objects(folder, late=True),
        lambda folder: objects(folder, {1: "car", 2: "dog"}),
        lambda folder: palettes(folder, {0: "00001", 4: "00002", 8: "00003"}),  # by their order
        lambda folder: palettes(folder, {0: "frame_0", 4: "frame_4", 8: "frame_8"}),
        lambda folder: sav_file(folder / "street_manual.json"),
    ],
    ids=["palette", "objects", "objects-late", "objects-named", "by-order", "prefixed", "sav"],
)
def test_every_form_gives_the_same_masks(make: Callable[[Path], Path], tmp_path: Path, video: Video) -> None:
    assert read_masks(make(tmp_path / "masks"), video) == MASKS


def test_pictures_of_every_source_frame_are_taken_by_number(tmp_path: Path, video: Video) -> None:
    folder = palettes(tmp_path / "masks")
    for frame in set(range(COUNT)) - {0, 4, 8}:
        save(folder / f"{frame:05d}.png", np.full(SIZE, 7))
    assert read_masks(folder, video) == MASKS


def test_pictures_of_every_source_frame_are_taken_by_order_where_numbers_begin_at_one(
    tmp_path: Path, video: Video
) -> None:
    for frame in range(COUNT):
        save(tmp_path / "masks" / f"{frame + 1:05d}.png", labels_of(frame))
    assert read_masks(tmp_path / "masks", video) == MASKS


@pytest.mark.parametrize("form", ["sav", "davis"])
def test_what_was_exported_comes_back(form: str, tmp_path: Path, library: VideoLibrary, video: Video) -> None:
    masklets = [ExportMasklet(video, number, f"m{number}", "manual", MASKS[number]) for number in (1, 2)]
    if form == "sav":
        export_sav(library, masklets, tmp_path / "out", video_frames=False)
    else:
        export_davis(library, masklets, tmp_path / "out")
    (found,) = find_masks(tmp_path / "out")
    assert found.name == "street"
    assert found.video_id == (video.video_id if form == "sav" else "")
    assert list(read_masks(found.path, video).values()) == list(MASKS.values())


def test_void_is_background_beside_objects_and_the_object_alone(tmp_path: Path, video: Video) -> None:
    for frame in (0, 4, 8):
        labels = labels_of(frame)
        labels[7] = 255
        save(tmp_path / "void" / f"{frame:05d}.png", labels)
        save(tmp_path / "alone" / f"{frame:05d}.png", disc(frame // 2) * np.uint8(255), palette=False)
    assert read_masks(tmp_path / "void", video) == MASKS
    assert read_masks(tmp_path / "alone", video) == {255: MASKS[1]}


class TestWhatDoesNotFit:
    def test_a_missing_frame(self, tmp_path: Path, video: Video) -> None:
        folder = palettes(tmp_path / "masks")
        (folder / "00004.png").unlink()
        with pytest.raises(ImportProblem, match=r"masks: 00004\.png is missing; 'street' has 3 annotated"):
            read_masks(folder, video)

    def test_a_missing_picture_of_an_object(self, tmp_path: Path, video: Video) -> None:
        folder = objects(tmp_path / "masks")
        (folder / "002" / "00008.png").unlink()
        with pytest.raises(ImportProblem, match=r"002: 00008\.png is missing"):
            read_masks(folder, video)

    def test_another_size(self, tmp_path: Path, video: Video) -> None:
        folder = palettes(tmp_path / "masks")
        save(folder / "00008.png", np.zeros((4, 6)))
        with pytest.raises(ImportProblem, match=r"00008\.png is 6x4 pixels, but 'street' is 12x8"):
            read_masks(folder, video)

    def test_a_damaged_picture(self, tmp_path: Path, video: Video) -> None:
        folder = palettes(tmp_path / "masks")
        (folder / "00008.png").write_bytes(b"no picture")
        with pytest.raises(ImportProblem, match=r"00008\.png cannot be read"):
            read_masks(folder, video)

    def test_nothing_but_background(self, tmp_path: Path, video: Video) -> None:
        for frame in (0, 4, 8):
            save(tmp_path / "masks" / f"{frame:05d}.png", np.zeros(SIZE))
        with pytest.raises(ImportProblem, match="shows no object"):
            read_masks(tmp_path / "masks", video)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"masklet": 3}, "no list of frames"),
            ({"masklet": [[], []]}, "has masks of 2 frames, but 'street' has 3 annotated frames"),
            ({"masklet": [[None, None]] * 3}, "annotated frame 0, object 1 has no mask"),
            ({"masklet": [[{"size": [8, 12]}] * 2] * 3}, "annotated frame 0, object 1: not a COCO RLE"),
            ({"masklet": [[rles.empty(4, 4).to_coco()] * 2] * 3}, "object 1 is 4x4 pixels"),
            ({"masklet_id": [1, 1]}, "'masklet_id' is"),
        ],
    )
    def test_json_of_other_content(
        self, fields: dict[str, Any], message: str, tmp_path: Path, video: Video
    ) -> None:
        with pytest.raises(ImportProblem, match=message):
            read_masks(sav_file(tmp_path / "street.json", **fields), video)

    def test_a_damaged_file(self, tmp_path: Path, video: Video) -> None:
        (tmp_path / "street.json").write_text("{")
        with pytest.raises(ImportProblem, match="not valid JSON"):
            read_masks(tmp_path / "street.json", video)


class TestFindMasks:
    @pytest.mark.parametrize("below", ["", "Annotations", "Annotations/480p", "Annotations_6fps"])
    def test_a_folder_a_video(self, below: str, tmp_path: Path) -> None:
        palettes(tmp_path / "set" / below / "bear")
        objects(tmp_path / "set" / below / "dogs")
        assert [found.name for found in find_masks(tmp_path / "set")] == ["bear", "dogs"]

    def test_peoples_files_of_sav_are_found_a_level_down(self, tmp_path: Path) -> None:
        sav_file(tmp_path / "sav_000" / "sav_000001_manual.json")
        sav_file(tmp_path / "sav_000" / "sav_000001_auto.json")
        assert [(one.name, one.path.name) for one in find_masks(tmp_path)] == [
            ("sav_000001", "sav_000001_manual.json")
        ]

    def test_one_video(self, tmp_path: Path) -> None:
        assert [one.name for one in find_masks(palettes(tmp_path / "bear"))] == ["bear"]
        assert [one.name for one in find_masks(sav_file(tmp_path / "dogs_manual.json"))] == ["dogs"]

    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(ImportProblem, match="holds no masks"):
            find_masks(tmp_path)
        with pytest.raises(ImportProblem, match="there is no file or folder"):
            find_masks(tmp_path / "nowhere")
