from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.errors import PromptError
from model.prompts import Click
from model.video.video_session import SessionConfig
from qa.errors import EvaluationError
from qa.evaluation import COPY_FIRST_MASK, EvaluationVideo, evaluate, evaluate_copy, prompter
from qa.metric_rows import MEAN_OBJECT, MetricRow
from storage.masks import Rle, empty, encode

HEIGHT, WIDTH = 32, 48
NUMBERS = (0, 4, 8, 12, 16, 20)


class Frames:
    """Noise, and a count of how often each frame was read."""

    height, width = HEIGHT, WIDTH

    def __init__(self, count: int = len(NUMBERS)) -> None:
        self._frames = np.random.default_rng(0).integers(0, 255, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)
        self.reads = [0] * count

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        self.reads[index] += 1
        return self._frames[index]


def square(top: int, left: int, side: int = 8) -> Rle:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + side, left : left + side] = True
    return encode(mask)


NOTHING = empty(HEIGHT, WIDTH)
FIRST = {frame: square(4, 4 + frame // 2) for frame in NUMBERS}
LATE = {8: square(18, 20), 12: square(18, 22), 16: NOTHING}  # frames 0 and 20 are missing, so absent too
TRUTH = {1: FIRST, 2: LATE}


def video(truth=None, *, name: str = "v", **changes) -> EvaluationVideo:
    return replace(EvaluationVideo(name, Frames(), NUMBERS, TRUTH if truth is None else truth), **changes)


class TestEvaluate:
    @pytest.mark.parametrize("protocol", ["mask", "box", "1-click", "3-click"])
    def test_gives_a_row_an_object_and_the_mean(self, model, protocol):
        rows = evaluate(model, [video()], protocol=protocol)
        assert [(row.video_id, row.object_id, row.frames) for row in rows] == [
            ("v", 1, 4),
            ("v", 2, 3),
            ("", MEAN_OBJECT, 7),
        ]
        assert {row.protocol for row in rows} == {protocol}
        assert rows[-1].is_mean and rows[-1].is_number
        for name in ("j", "f", "jf"):
            assert getattr(rows[-1], name) == pytest.approx(
                (getattr(rows[0], name) + getattr(rows[1], name)) / 2
            )

    def test_is_deterministic(self, model):
        assert evaluate(model, [video()], protocol="3-click") == evaluate(
            model, [video()], protocol="3-click"
        )

    @pytest.mark.parametrize("protocol", ["mask", "3-click"])
    def test_objects_do_not_disturb_each_other(self, model, protocol):
        together = evaluate(model, [video()], protocol=protocol)
        for number, alone in ((1, {1: FIRST}), (2, {2: LATE})):
            row = evaluate(model, [video(alone)], protocol=protocol)[0]
            other = together[number - 1]
            assert (row.j, row.f) == pytest.approx((other.j, other.f), abs=1e-3)

    def test_a_late_object_is_tracked_as_if_its_video_began_there(self, model):
        whole = evaluate(model, [video({2: LATE})], protocol="mask")[0]
        frames = Frames()
        tail = EvaluationVideo("tail", _Tail(frames, 2), NUMBERS[2:], {2: LATE}, scored_frames=NUMBERS[2:])
        # scored are 12 and 16 of the tail, and of the whole also 8, where the given mask is perfect
        part = evaluate(model, [tail], protocol="mask")[0]
        assert whole.frames == 3
        assert whole.j == pytest.approx((100 + 2 * part.j) / 3, abs=1.0)

    def test_reads_each_frame_once_and_none_before_the_first_object(self, model):
        film = video({2: LATE})
        evaluate(model, [film], protocol="3-click")
        assert film.frames.reads == [0, 0, 1, 1, 1, 1]

    def test_objects_of_all_videos_weigh_the_same(self, model):
        rows = evaluate(model, [video(), video({1: FIRST}, name="w")], protocol="mask")
        assert [row.video_id for row in rows] == ["v", "v", "w", ""]
        assert rows[-1].j == pytest.approx(np.mean([row.j for row in rows[:3]]))

    def test_tells_its_progress(self, model):
        told = []
        evaluate(model, [video(), video(name="w")], protocol="mask", progress=lambda *at: told.append(at))
        assert told == [(1, 2), (2, 2)]

    def test_leaves_the_model_in_the_mode_it_was_in(self, model):
        model.train()
        evaluate(model, [video()], protocol="mask")
        assert model.training
        model.eval()

    def test_a_model_for_masks_refuses_clicks(self, model):
        config = SessionConfig(mask_prompts_only=True)
        assert evaluate(model, [video()], protocol="mask", session_config=config)
        with pytest.raises(PromptError, match="masks"):
            evaluate(model, [video()], protocol="1-click", session_config=config)


class _Tail:
    """The frames of a video from one position on."""

    height, width = HEIGHT, WIDTH

    def __init__(self, frames: Frames, first: int) -> None:
        self._frames, self._first = frames, first

    def __len__(self) -> int:
        return len(self._frames) - self._first

    def __getitem__(self, index: int) -> np.ndarray:
        return self._frames[self._first + index]


class TestWhatIsScored:
    @pytest.mark.parametrize(
        "masks", [{}, {0: square(0, 0)}, {20: square(0, 0)}, {8: NOTHING}, {3: square(0, 0), 0: square(0, 0)}]
    )
    def test_an_object_not_seen_between_the_ends_is_not(self, model, masks):
        rows = evaluate(model, [video({1: FIRST, 9: masks})], protocol="mask")
        assert [row.object_id for row in rows] == [1, MEAN_OBJECT]

    def test_the_mean_of_nothing_is_no_number(self, model):
        (mean,) = evaluate(model, [video({})], protocol="mask")
        assert mean.is_mean and not mean.is_number and mean.frames == 0

    def test_only_frames_with_a_known_truth(self, model):
        rows = evaluate(model, [video({1: FIRST}, scored_frames=(0, 8, 12, 16))], protocol="mask")
        assert rows[0].frames == 2


class TestCopy:
    def test_repeats_the_first_mask(self):
        truth = {1: {frame: square(4, 4 if frame < 12 else 8) for frame in NUMBERS}}
        row, mean = evaluate_copy([video(truth)])
        # J: frames 4 and 8 are right, on 12 and 16 half of the square is: 32 / 96
        assert row.j == pytest.approx((100 + 100 + 2 * 100 / 3) / 4)
        assert (row.protocol, row.frames, mean.j) == (COPY_FIRST_MASK, 4, row.j)

    def test_before_the_first_mask_there_is_nothing(self):
        row, _ = evaluate_copy([video({1: {12: square(0, 0), 16: square(0, 0), 20: square(0, 0)}})])
        assert (row.j, row.f, row.frames) == (100, 100, 2)

    def test_an_object_that_leaves_is_copied_on(self):
        row, _ = evaluate_copy([video({2: LATE})])
        assert row.j == pytest.approx((100 + 100 * 48 / 80 + 0) / 3)


class RecordingSession:
    """Answers prompts with masks it was given, and records the prompts."""

    def __init__(self, *answers: np.ndarray) -> None:
        self._answers = list(answers)
        self.clicks: list[Click] = []
        self.boxes: list[tuple[float, ...]] = []

    def add_points(self, frame, object_id, clicks, *, box=None):
        assert (frame, object_id) == (3, 7)
        self.clicks += clicks
        self.boxes += [] if box is None else [(box.x0, box.y0, box.x1, box.y1)]
        return type("Result", (), {"masks": self._answers.pop(0)[None]})


class TestPrompts:
    truth = np.zeros((9, 20), bool)
    truth[2:7, 3:8] = True  # a square with its middle at (5, 4)
    missing = np.zeros_like(truth)
    spilt = truth.copy()
    spilt[0:9, 11:20] = True  # and a large false region with its middle at (15, 4)

    def test_clicks_go_to_the_middle_of_the_object_then_of_the_largest_error(self):
        session = RecordingSession(self.spilt, self.missing, self.truth)
        prompter("3-click")(session, 3, 7, self.truth)
        assert session.clicks == [Click(5, 4, True), Click(15, 4, False), Click(5, 4, True)]

    def test_there_is_no_click_without_an_error(self):
        session = RecordingSession(self.truth)
        prompter("5-click")(session, 3, 7, self.truth)
        assert session.clicks == [Click(5, 4, True)]

    def test_a_box_has_the_outermost_pixels_as_corners(self):
        session = RecordingSession(self.truth)
        prompter("box")(session, 3, 7, self.truth)
        assert session.boxes == [(3, 2, 7, 6)]

    @pytest.mark.parametrize("protocol", ["0-click", "click", "3 click", "masks", "", "copy-first-mask"])
    def test_unknown_protocols_are_refused(self, protocol):
        with pytest.raises(EvaluationError, match="use mask, box or a number of clicks"):
            prompter(protocol)


class TestVideo:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"frame_numbers": (0, 4)}, "6 frames need as many frame numbers"),
            ({"frame_numbers": (4, 0, 8, 12, 16, 20)}, "ascending"),
            ({"scored_frames": (0, 5)}, "frames are to be scored that it does not have"),
            ({"truth": {1: {1: square(0, 0), 2: square(0, 0)}}}, "numbered differently"),
            ({"truth": {1: {0: empty(5, 5)}}}, "another size than its frames"),
        ],
    )
    def test_must_fit_its_truth(self, changes, message):
        with pytest.raises(EvaluationError, match=f"video v cannot be evaluated: .*{message}"):
            video(**changes)

    def test_is_evaluated_once(self):
        with pytest.raises(EvaluationError, match="twice"):
            evaluate_copy([video(), video()])


def test_a_row_becomes_a_row_of_the_manifest():
    row = MetricRow("mask", "v", 1, 50.0, 60.0, 55.0, 7)
    assert row.to_row(round_id="r0001", role="champion", checkpoint_hash="abc") == {
        "round_id": "r0001",
        "role": "champion",
        "checkpoint_hash": "abc",
        "protocol": "mask",
        "video_id": "v",
        "object_id": 1,
        "j": 50.0,
        "f": 60.0,
        "jf": 55.0,
        "frames": 7,
        "suite": None,
        "seconds": None,
    }
