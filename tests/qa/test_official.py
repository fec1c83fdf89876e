from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import PIL.Image
import pytest

from qa.errors import EvaluationError
from qa.metrics import score_masklet
from qa.official import FolderScores, score_folders, write_results

HEIGHT, WIDTH = 40, 70
FRAMES = 7


def block(top: int, left: int, side: int = 14) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + side, left : left + side] = True
    return mask


NOTHING = np.zeros((HEIGHT, WIDTH), bool)
# object name → its mask on each frame, of the truth and of the prediction
TRUTH = {
    "000": [block(4, 3 + 4 * n) for n in range(FRAMES)],
    "001": [NOTHING, NOTHING, NOTHING, *(block(22, 20 + n) for n in range(3)), NOTHING],
}
GUESS = {
    "000": [block(5, 2 + 4 * n) for n in range(FRAMES)],
    "001": [NOTHING, NOTHING, block(25, 50), *(block(22, 24 + n) for n in range(4))],
}


def save(labels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PIL.Image.fromarray(labels.astype(np.uint8))
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    picture.save(path)


def sav_video(root: Path, masklets: dict[str, list[np.ndarray]], video: str = "sav_000001") -> Path:
    for name, masks in masklets.items():
        for number, mask in enumerate(masks):
            save(mask, root / video / name / f"{4 * number:05}.png")
    return root


def palette_video(root: Path, masklets: dict[str, list[np.ndarray]], video: str = "car") -> Path:
    for number, masks in enumerate(zip(*masklets.values(), strict=True)):
        labels = sum(mask * value for value, mask in enumerate(masks, start=1))
        save(labels, root / video / f"{number:05}.png")
    return root


def expected(name: str) -> tuple[float, float]:
    score = score_masklet(dict(enumerate(GUESS[name])), dict(enumerate(TRUTH[name])))
    assert score is not None
    return score.j, score.f


def by_name(scores: FolderScores) -> dict[tuple[str, str], tuple[float, float]]:
    return {(each.video, each.name): (each.score.j, each.score.f) for each in scores.objects}


@pytest.fixture
def sav(tmp_path: Path) -> tuple[Path, Path]:
    return sav_video(tmp_path / "truth", TRUTH), sav_video(tmp_path / "guess", GUESS)


class TestScoreFolders:
    def test_of_an_object_a_folder(self, sav):
        found = by_name(score_folders(*sav))
        assert found == {("sav_000001", name): pytest.approx(expected(name)) for name in TRUTH}

    def test_of_all_objects_in_one_picture(self, tmp_path):
        truth, guess = palette_video(tmp_path / "t", TRUTH), palette_video(tmp_path / "p", GUESS)
        found = by_name(score_folders(truth, guess))
        assert found == {
            ("car", "001"): pytest.approx(expected("000")),
            ("car", "002"): pytest.approx(expected("001")),
        }

    def test_the_mean_is_over_objects_and_not_videos(self, tmp_path):
        truth, guess = tmp_path / "t", tmp_path / "p"
        for root, masklets in ((truth, TRUTH), (guess, GUESS)):
            sav_video(root, masklets, "a")
            sav_video(root, {"000": masklets["000"]}, "b")
        mean = score_folders(truth, guess).mean
        assert mean.count == 3
        assert mean.j == pytest.approx((2 * expected("000")[0] + expected("001")[0]) / 3)

    def test_several_processes_give_the_same(self, tmp_path):
        for root, masklets in ((tmp_path / "t", TRUTH), (tmp_path / "p", GUESS)):
            sav_video(root, masklets, "a")
            palette_video(root, masklets, "b")
        told = []
        alone = score_folders(tmp_path / "t", tmp_path / "p")
        shared = score_folders(
            tmp_path / "t", tmp_path / "p", processes=2, progress=lambda *at: told.append(at)
        )
        assert shared == alone
        assert told == [(1, 2), (2, 2)]

    def test_the_ends_can_be_scored_too(self, sav):
        (first, _) = score_folders(*sav, skip_ends=False).objects
        assert first.score.count == FRAMES

    def test_frames_of_the_prediction_alone_are_not_looked_at(self, sav):
        save(NOTHING, sav[1] / "sav_000001" / "000" / "00001.png")
        assert score_folders(*sav).objects[0].score.count == FRAMES - 2

    def test_ends_need_no_prediction(self, sav):
        (sav[1] / "sav_000001" / "000" / "00000.png").unlink()
        assert len(score_folders(*sav).objects) == 2

    def test_objects_that_are_never_seen_have_no_score(self, tmp_path):
        absent = {"000": TRUTH["000"], "001": [NOTHING] * FRAMES}
        for make in (sav_video, palette_video):
            root = tmp_path / make.__name__
            scores = score_folders(make(root / "t", absent), make(root / "p", GUESS))
            assert (len(scores.objects), scores.unseen) == (1, 1)

    def test_a_data_set_has_its_masks_in_a_folder(self, tmp_path, sav):
        (tmp_path / "set").mkdir()
        shutil.move(sav[0], tmp_path / "set" / "Annotations_6fps")
        assert len(score_folders(tmp_path / "set", sav[1]).objects) == 2


class TestGolden:
    """What the released tool gives for these folders."""

    golden: ClassVar = {
        "000": (75.7847533632287, 98.21428571428571),
        "001": (41.66666666666667, 34.82142857142857),
    }

    def test_of_an_object_a_folder(self, sav):
        found = by_name(score_folders(*sav))
        assert found == {
            ("sav_000001", name): pytest.approx(score, abs=1e-9) for name, score in self.golden.items()
        }

    def test_of_all_objects_in_one_picture(self, tmp_path):
        found = score_folders(palette_video(tmp_path / "t", TRUTH), palette_video(tmp_path / "p", GUESS))
        scores = [(each.score.j, each.score.f) for each in found.objects]
        assert scores == [pytest.approx(score, abs=1e-9) for score in self.golden.values()]
        assert found.mean.jf == pytest.approx(62.621783578902416, abs=1e-9)


class TestVideos:
    def test_without_predictions_are_left_out_and_told(self, sav):
        sav_video(sav[0], TRUTH, "other")
        scores = score_folders(*sav)
        assert scores.unpredicted == ("other",)
        assert {each.video for each in scores.objects} == {"sav_000001"}

    @pytest.mark.parametrize(("side", "told"), [(0, "no predictions of other"), (1, "of other, unknown to")])
    def test_must_be_the_same_if_strict(self, sav, side, told):
        sav_video(sav[side], TRUTH, "other")
        with pytest.raises(EvaluationError, match=told):
            score_folders(*sav, strict=True)


class TestErrors:
    def test_a_missing_prediction_is_named(self, sav):
        (sav[1] / "sav_000001" / "001" / "00008.png").unlink()
        with pytest.raises(EvaluationError, match=r"guess/sav_000001/001/00008\.png is missing"):
            score_folders(*sav)

    def test_so_it_is_from_another_process(self, sav):
        for root, masklets in zip(sav, (TRUTH, GUESS), strict=True):
            sav_video(root, masklets, "b")
        shutil.rmtree(sav[1] / "b" / "001")
        with pytest.raises(EvaluationError, match=r"guess/b/001/00004\.png is missing"):
            score_folders(*sav, processes=2)

    def test_another_size(self, sav):
        save(NOTHING[:-1], sav[1] / "sav_000001" / "001" / "00008.png")
        with pytest.raises(
            EvaluationError, match=r"00008\.png has 39 rows and 70 columns, its truth .* 40 and 70"
        ):
            score_folders(*sav)

    def test_several_objects_in_an_object_s_folder(self, sav):
        save(block(0, 0) * 1 + block(20, 20) * 2, sav[1] / "sav_000001" / "001" / "00008.png")
        with pytest.raises(EvaluationError, match=r"00008\.png shows several objects"):
            score_folders(*sav)

    def test_a_damaged_picture(self, sav):
        (sav[0] / "sav_000001" / "001" / "00008.png").write_bytes(b"no picture")
        with pytest.raises(EvaluationError, match=r"truth/sav_000001/001/00008\.png cannot be read"):
            score_folders(*sav)

    def test_folders_that_are_not_there_or_have_nothing_in_common(self, tmp_path, sav):
        with pytest.raises(EvaluationError, match=r"there is no folder .*nowhere"):
            score_folders(tmp_path / "nowhere", sav[1])
        (tmp_path / "empty").mkdir()
        with pytest.raises(EvaluationError, match="no video in common"):
            score_folders(sav[0], tmp_path / "empty")


def test_the_table_of_results(tmp_path):
    for make, video in ((sav_video, "a-long-video-name"), (palette_video, "b")):
        make(tmp_path / "t", TRUTH, video)
        make(tmp_path / "p", TRUTH if video == "b" else {**TRUTH, "001": [NOTHING] * FRAMES}, video)
    write_results(score_folders(tmp_path / "t", tmp_path / "p"), tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_text() == (
        "sequence         ,obj,  J&F,    J,    F\n"
        "Global score     ,   , 75.0, 75.0, 75.0\n"
        "a-long-video-name,000, 100.0, 100.0, 100.0\n"
        "a-long-video-name,001,  0.0,  0.0,  0.0\n"
        "b                ,001, 100.0, 100.0, 100.0\n"
        "b                ,002, 100.0, 100.0, 100.0\n"
    )
    with pytest.raises(EvaluationError, match="cannot be written"):
        write_results(FolderScores(()), tmp_path / "nowhere" / "results.csv")
