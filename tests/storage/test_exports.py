"""Exports: SA-V's files field by field and type by type, DAVIS's tree, and folders that are whole or absent."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from storage import masks
from storage.errors import ExportError, StoreError
from storage.exports import ExportMasklet, export_davis, export_sav
from storage.exports.sav import masklet_facts, size_bucket
from storage.masks import Rle
from storage.videos import Video, VideoLibrary

# What the released files hold: the type of each field, and of what is in its lists.
SCALARS = {
    "video_id": str,
    "video_duration": float,
    "video_frame_count": float,
    "video_height": float,
    "video_width": float,
    "video_resolution": float,
    "video_environment": str,
    "video_split": str,
    "masklet_num": int,
}
LISTS = {
    "masklet_id": int,
    "masklet_size_rel": float,
    "masklet_size_abs": float,
    "masklet_size_bucket": str,
    "masklet_visibility_changes": int,
    "masklet_frame_count": int,
    "masklet_edited_frame_count": int,
    "masklet_type": str,
}
FIRST_APPEARED = {"manual": float, "auto": int}
FIELDS = [
    *list(SCALARS)[:-1],
    "masklet",
    *list(LISTS)[:5],
    "masklet_first_appeared_frame",
    *list(LISTS)[5:],
    "masklet_stability_score",
    "masklet_num",
]


def shape_of(content: dict[str, Any]) -> dict[str, Any]:
    """Type of every field and of the things in it, for comparing two files."""

    def kind(value: Any) -> Any:
        if isinstance(value, list):
            return ["list", *sorted({json.dumps(kind(item)) for item in value})]
        if isinstance(value, dict):
            return {name: kind(item) for name, item in value.items()}
        return type(value).__name__

    return {name: kind(value) for name, value in content.items()}


def dot(row: int, column: int) -> Rle:
    mask = np.zeros((6, 8), bool)
    mask[row, column] = True
    return masks.encode(mask)


def square() -> Rle:
    mask = np.zeros((6, 8), bool)
    mask[1:4, 1:4] = True
    return masks.encode(mask)


@pytest.fixture
def masklets(tiny_video: Video) -> list[ExportMasklet]:
    """Three masklets on the annotated frames 0, 4 and 8; two of them overlap."""
    return [
        ExportMasklet(tiny_video, 2, "m2", "manual", {4: square(), 8: dot(0, 0)}, edited_frames=2),
        ExportMasklet(tiny_video, 1, "m1", "manual", {0: dot(2, 2), 4: masks.empty(6, 8), 8: dot(2, 2)}, 1),
        ExportMasklet(tiny_video, 7, "m7", "auto", {0: square(), 4: square()}, 0, {0: 0.96875, 4: 0.5}),
    ]


@pytest.fixture
def sav(library: VideoLibrary, masklets: list[ExportMasklet], tmp_path: Path) -> Path:
    assert export_sav(library, masklets, tmp_path / "out", video_frames=True) == 3
    return tmp_path / "out"


def read(folder: Path, kind: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / f"tiny_{kind}.json").read_text())
    return content


# -- SA-V ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["manual", "auto"])
def test_every_field_has_its_released_type(sav: Path, kind: str):
    content = read(sav, kind)
    assert list(content) == FIELDS
    for name, wanted in SCALARS.items():
        assert type(content[name]) is wanted, name
    for name, wanted in (LISTS | {"masklet_first_appeared_frame": FIRST_APPEARED[kind]}).items():
        assert len(content[name]) == content["masklet_num"]
        assert {type(value) for value in content[name]} == {wanted}, name
    assert {tuple(sorted(rle)) for frame in content["masklet"] for rle in frame} == {("counts", "size")}


def test_manual_masklets_are_described(sav: Path):
    content = read(sav, "manual")
    assert content["video_id"] == "tiny"
    assert (content["video_height"], content["video_width"], content["video_resolution"]) == (6.0, 8.0, 48.0)
    assert (content["video_frame_count"], content["video_duration"]) == (12.0, 0.5)
    assert content["video_split"] == "train"
    assert content["masklet_id"] == [0, 1]  # by object: m1, then m2
    assert content["masklet_size_abs"] == [1.0, 5.0]
    assert content["masklet_size_rel"] == [1 / 48, 5 / 48]
    assert content["masklet_size_bucket"] == ["small", "small"]
    assert content["masklet_visibility_changes"] == [2, 0]
    assert content["masklet_first_appeared_frame"] == [0.0, 1.0]
    assert content["masklet_frame_count"] == [3, 3]
    assert content["masklet_edited_frame_count"] == [1, 2]
    assert content["masklet_type"] == ["manual", "manual"]
    assert content["masklet_stability_score"] == [None, None]
    empty = masks.empty(6, 8).to_coco()
    assert content["masklet"] == [
        [dot(2, 2).to_coco(), empty],
        [empty, square().to_coco()],
        [dot(2, 2).to_coco(), dot(0, 0).to_coco()],
    ]


def test_automatic_masklets_have_a_score_a_frame(sav: Path):
    content = read(sav, "auto")
    assert content["masklet_id"] == [0]
    assert content["masklet_stability_score"] == [[0.96875], [0.5], [1.0]]
    assert content["masklet_visibility_changes"] == [1]


def test_frames_are_named_by_source_index(sav: Path, library: VideoLibrary, tiny_video: Video):
    files = sorted((sav / "JPEGImages" / "tiny").iterdir())
    assert [file.name for file in files] == ["00000.jpg", "00004.jpg", "00008.jpg"]
    with PIL.Image.open(files[1]) as image:
        assert image.size == (8, 6)
    index = json.loads((sav / "videos.json").read_text())
    assert index["tiny"]["annotated_frames"] == [0, 4, 8]
    assert index["tiny"]["video_id"] == tiny_video.video_id
    assert not list(sav.rglob(".*"))


def test_a_video_without_manual_masklets_has_an_empty_manual_file(
    library: VideoLibrary, masklets: list[ExportMasklet], tmp_path: Path
):
    export_sav(library, masklets[2:], tmp_path / "out", video_frames=False)
    content = read(tmp_path / "out", "manual")
    assert (content["masklet"], content["masklet_num"]) == ([[], [], []], 0)
    assert not (tmp_path / "out" / "JPEGImages").exists()
    export_sav(library, masklets[:1], tmp_path / "other", video_frames=False)
    assert not (tmp_path / "other" / "tiny_auto.json").exists()


@pytest.mark.parametrize(
    ("areas", "size", "changes", "first"),
    [
        ([0, 0, 0], 0.0, 0, 0),
        ([4, 4, 4], 4.0, 0, 0),
        ([0, 2, 4], 3.0, 0, 1),
        ([2, 0, 4], 3.0, 2, 0),
        ([0, 1, 0], 1.0, 1, 1),
        ([1, 0, 1, 0, 1], 1.0, 4, 0),
    ],
)
def test_facts_of_a_masklet(areas: list[int], size: float, changes: int, first: int):
    facts = masklet_facts(areas)
    assert (facts.size_abs, facts.visibility_changes, facts.first_appeared) == (size, changes, first)


@pytest.mark.parametrize(
    ("area", "bucket"),
    [(1, "small"), (1023.9, "small"), (1024, "medium"), (9215.9, "medium"), (9216, "large"), (0, "small")],
)
def test_size_buckets(area: float, bucket: str):
    assert size_bucket(area) == bucket


@pytest.mark.parametrize("kind", ["manual", "auto"])
def test_derived_fields_equal_those_of_a_released_file(shared_data: Path, kind: str):
    content = json.loads((shared_data / "sav" / f"sav_000001_{kind}.json").read_text())
    columns = list(zip(*content["masklet"], strict=True))
    facts = [masklet_facts([masks.area(Rle.from_coco(rle)) for rle in column]) for column in columns]
    sizes = [fact.size_abs for fact in facts]
    assert sizes == pytest.approx(content["masklet_size_abs"], rel=1e-9)
    relative = [size / content["video_resolution"] for size in sizes]
    assert relative == pytest.approx(content["masklet_size_rel"], abs=1e-9)
    assert [size_bucket(size) for size in sizes] == content["masklet_size_bucket"]
    assert [fact.visibility_changes for fact in facts] == content["masklet_visibility_changes"]
    assert [fact.first_appeared for fact in facts] == content["masklet_first_appeared_frame"]
    assert content["masklet_frame_count"] == [len(column) for column in columns]


@pytest.mark.parametrize("kind", ["manual", "auto"])
def test_fields_and_types_equal_those_of_a_released_file(shared_data: Path, sav: Path, kind: str):
    released = json.loads((shared_data / "sav" / f"sav_000001_{kind}.json").read_text())
    ours = read(sav, kind)
    assert list(ours) == list(released) == FIELDS
    assert shape_of(ours) == shape_of(released)


@pytest.mark.parametrize("kind", ["manual", "auto"])
def test_a_released_file_survives_the_way_through_our_export(
    shared_data: Path, library: VideoLibrary, tmp_path: Path, kind: str
):
    released = json.loads((shared_data / "sav" / f"sav_000001_{kind}.json").read_text())
    blank = np.zeros((1, 848, 480, 3), np.uint8)
    small = library.ingest_array(blank, name="sav_000001", fps=24, extra={"environment": "Indoor"}).video
    assert small is not None
    times = {"frame_count": 483, "duration_s": 20.125, "pts": tuple(range(483))}
    video = dataclasses.replace(small, **times, annotated_frames=tuple(range(0, 483, 4)))
    scores = released["masklet_stability_score"]
    made = [
        ExportMasklet(
            video,
            number,
            f"m{number}",
            kind,
            {4 * a: Rle.from_coco(frame[number]) for a, frame in enumerate(released["masklet"])},
            released["masklet_edited_frame_count"][number],
            {4 * a: row[number] for a, row in enumerate(scores)} if kind == "auto" else None,
        )
        for number in range(released["masklet_num"])
    ]
    export_sav(library, made, tmp_path / "out", video_frames=False)
    ours = json.loads((tmp_path / "out" / f"sav_000001_{kind}.json").read_text())
    for rounded in ("masklet_size_abs", "masklet_size_rel"):
        assert ours.pop(rounded) == pytest.approx(released.pop(rounded), rel=1e-7)
    assert ours == released


# -- DAVIS --------------------------------------------------------------------------------------------------


def test_davis_folders(library: VideoLibrary, masklets: list[ExportMasklet], tmp_path: Path):
    assert export_davis(library, masklets, tmp_path / "out") == 3
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    frames = ["00000", "00004", "00008"]
    assert files == [
        *(f"Annotations/tiny/{number:03d}/{frame}.png" for number in range(3) for frame in frames),
        "ImageSets/eval.txt",
        "ImageSets/train.txt",
        *(f"JPEGImages/tiny/{frame}.jpg" for frame in frames),
    ]
    assert (tmp_path / "out" / "ImageSets" / "train.txt").read_text() == "tiny\n"
    assert (tmp_path / "out" / "ImageSets" / "eval.txt").read_text() == ""
    with PIL.Image.open(tmp_path / "out" / "Annotations" / "tiny" / "001" / "00004.png") as image:
        assert image.mode == "P"
        assert (np.array(image) == masks.decode(square())).all()
    with PIL.Image.open(tmp_path / "out" / "Annotations" / "tiny" / "001" / "00000.png") as image:
        assert not np.array(image).any()


# -- folders ------------------------------------------------------------------------------------------------


def test_the_output_folder_must_be_new_or_empty(
    library: VideoLibrary, masklets: list[ExportMasklet], tmp_path: Path
):
    (tmp_path / "empty").mkdir()
    export_davis(library, masklets, tmp_path / "empty")
    for occupied in (tmp_path / "empty", Path(__file__)):
        with pytest.raises(ExportError, match="is not an empty folder; choose a new one"):
            export_sav(library, masklets, occupied, video_frames=False)


def test_a_killed_export_leaves_only_a_partial_folder(
    library: VideoLibrary, masklets: list[ExportMasklet], tmp_path: Path, tiny_video: Video, store: Any
):
    key, out = tiny_video.frame_key(8), tmp_path / "out"
    data = store.get(key)
    store.delete(key)
    with pytest.raises(StoreError):
        export_sav(library, masklets, out, video_frames=True)
    assert not out.exists()
    assert (tmp_path / "out.partial").is_dir()
    store.put(key, data)
    export_sav(library, masklets, out, video_frames=True)
    assert out.is_dir()
    assert not (tmp_path / "out.partial").exists()


def test_a_foreign_folder_in_the_way_is_left_alone(
    library: VideoLibrary, masklets: list[ExportMasklet], tmp_path: Path
):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="was not made by an export; move it away"):
        export_sav(library, masklets, tmp_path / "out", video_frames=False)
    assert (tmp_path / "out.partial" / "thesis.txt").read_text() == "mine"


def test_an_export_that_cannot_be_written_says_so(
    library: VideoLibrary, masklets: list[ExportMasklet], tmp_path: Path
):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="cannot write the export"):
        export_sav(library, masklets, tmp_path / "file" / "out", video_frames=False)


# -- what goes in -------------------------------------------------------------------------------------------


def test_two_videos_of_one_name_get_two_names(library: VideoLibrary, tmp_path: Path):
    made = []
    for shade in (1, 2):
        frames = np.full((1, 6, 8, 3), shade, np.uint8)
        video = library.ingest_array(frames, name="my film/1", fps=6).video
        assert video is not None
        made.append(ExportMasklet(video, 1, f"m{shade}", "manual", {0: square()}))
    export_sav(library, made, tmp_path / "out", video_frames=False)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    second = made[1].video.video_id
    assert names == {"my_film_1_manual.json", f"my_film_1-{second}_manual.json", "videos.json"}


def test_masklets_of_a_video_must_come_together(
    library: VideoLibrary, masklets: list[ExportMasklet], tmp_path: Path
):
    other = library.ingest_array(np.zeros((1, 6, 8, 3), np.uint8), name="other", fps=6).video
    assert other is not None
    apart = [masklets[0], ExportMasklet(other, 1, "o", "manual", {}), masklets[1]]
    with pytest.raises(ExportError, match="must come together"):
        export_sav(library, apart, tmp_path / "out", video_frames=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"origin": "machine"}, "not manual or auto"),
        ({"masks": {1: dot(0, 0)}}, "frame 1 is no annotated frame of 'tiny'"),
        ({"masks": {0: masks.empty(8, 6)}}, "the mask of frame 0 is 8x6, its video 6x8"),
    ],
)
def test_masklets_must_fit_their_video(tiny_video: Video, change: dict[str, Any], message: str):
    values: dict[str, Any] = {"origin": "manual", "masks": {}} | change
    with pytest.raises(ExportError, match=message):
        ExportMasklet(tiny_video, 1, "m", **values)
