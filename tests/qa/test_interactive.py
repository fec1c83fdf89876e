from __future__ import annotations

import math

import numpy as np
import pytest

from model.network.sam2 import Sam2
from model.video.frame_source import ArrayFrames
from model.video.video_session import VideoSession
from qa.errors import EvaluationError
from qa.evaluation import PLAIN, EvaluationVideo, evaluate, give_clicks
from qa.interactive import (
    InteractiveResult,
    ObjectCurve,
    TimeModel,
    evaluate_interactive,
    evaluate_offline,
    evaluate_online,
)
from qa.metrics import score_masklet
from storage.masks import Rle, decode, empty, encode, iou

HEIGHT, WIDTH = 32, 48
NUMBERS = tuple(range(0, 32, 4))
NOTHING = empty(HEIGHT, WIDTH)


def square(top: int, left: int, side: int = 12) -> Rle:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + side, left : left + side] = True
    return encode(mask)


MOVING = {frame: square(4, 2 + frame // 2) for frame in NUMBERS}
LATE = {8: square(14, 20), 12: square(14, 22), 16: NOTHING, 20: square(10, 22)}  # else absent


def video(truth=None, name: str = "v") -> EvaluationVideo:
    noise = np.random.default_rng(0).integers(0, 255, (len(NUMBERS), HEIGHT, WIDTH, 3), dtype=np.uint8)
    return EvaluationVideo(
        name, ArrayFrames(noise), NUMBERS, {1: MOVING, 2: LATE} if truth is None else truth
    )


class Plain:
    """The protocols in their slowest words: every number of prompted frames is a run of its own, in a new session."""

    def __init__(self, model: Sam2, film: EvaluationVideo, object_id: int, clicks: int) -> None:
        self.model, self.film, self.clicks = model.eval(), film, clicks
        self.masklet = film.truth[object_id]
        self.start = film.starts()[object_id]

    def truth(self, position: int) -> Rle:
        return self.masklet.get(NUMBERS[position], NOTHING)

    def click(self, session: VideoSession, position: int, mask: Rle | None) -> None:
        before = None if mask is None else decode(mask)
        give_clicks(session, position, 7, decode(self.truth(position)), count=self.clicks, prediction=before)

    def score(self, masks: dict[int, Rle]) -> float:
        score = score_masklet({NUMBERS[p]: m for p, m in masks.items()}, self.masklet, frames=NUMBERS)
        assert score is not None
        return score.jf

    def online(self, most: int) -> float:
        session, masks = VideoSession(self.model, self.film.frames, config=PLAIN), {}
        self.click(session, self.start, None)
        given, position = 1, self.start
        while position < len(NUMBERS):
            for result in session.propagate(start=position):
                masks[result.frame] = encode(result.masks[0])
                bad = iou(masks[result.frame], self.truth(result.frame)) < 0.75
                if bad and given < most and result.frame not in session.prompted_frames(7):
                    self.click(session, result.frame, masks[result.frame])
                    given += 1
                    break
                position = result.frame + 1
        return self.score(masks)

    def offline(self, most: int) -> float:
        session, masks = VideoSession(self.model, self.film.frames, config=PLAIN), {}
        self.click(session, self.start, None)
        for given in range(1, most + 1):
            masks = {r.frame: encode(r.masks[0]) for r in session.propagate(start=self.start)}
            open_frames = [p for p in masks if p not in session.prompted_frames(7)]
            if given < most and open_frames:
                worst = min(open_frames, key=lambda p: iou(masks[p], self.truth(p)))
                self.click(session, worst, masks[worst])
        return self.score(masks)


class TestProtocols:
    @pytest.mark.parametrize(("protocol", "object_id"), [("offline", 1), ("online", 2)])
    def test_are_what_the_plain_protocols_give(self, model, protocol, object_id):
        film = video()
        result = evaluate_interactive(model, [film], protocol=protocol, rounds=3, clicks=2)
        (curve,) = (c for c in result.curves if c.object_id == object_id)
        plain = Plain(model, film, object_id, clicks=2)
        run = plain.offline if protocol == "offline" else plain.online
        assert curve.jf == pytest.approx([run(most) for most in (1, 2, 3)], abs=1e-9)
        assert len(set(curve.jf)) > 1  # corrections do something here

    def test_one_round_is_the_semi_supervised_protocol(self, model):
        rows = evaluate(model, [video()], protocol="3-click")
        for result in (
            evaluate_offline(model, [video()], rounds=1),
            evaluate_online(model, [video()], rounds=1),
        ):
            assert [curve.jf[0] for curve in result.curves] == pytest.approx(
                [r.jf for r in rows[:2]], abs=1e-3
            )

    def test_offline_prompts_every_frame_once(self, model):
        curve = evaluate_offline(model, [video({2: LATE})], rounds=8, clicks=1).curves[0]
        assert curve.prompted[0] == 8
        assert len(set(curve.prompted)) == len(curve.prompted) == 6  # frames 8 to 28
        assert curve.j[5] == curve.j[6] == curve.j[7]
        assert curve.seconds[5] == curve.seconds[7]

    def test_online_goes_forward(self, model):
        for curve in evaluate_online(model, [video()], rounds=4, clicks=1).curves:
            assert list(curve.prompted) == sorted(curve.prompted)

    def test_result_has_rows_of_means_over_rounds(self, model):
        seen = []
        result = evaluate_online(
            model, [video(name="a"), video({1: MOVING}, "b")], rounds=2, progress=lambda *n: seen.append(n)
        )
        rows = result.rows()
        assert [(row.video_id, row.object_id, row.protocol) for row in rows] == [
            ("a", 1, "online"),
            ("a", 2, "online"),
            ("b", 1, "online"),
            ("", -1, "online"),
        ]
        assert rows[0].jf == pytest.approx(sum(result.curves[0].jf) / 2)
        assert rows[-1].jf == pytest.approx(result.jf) == pytest.approx(sum(result.jf_by_round) / 2)
        assert seen == [(1, 2), (2, 2)]

    def test_without_objects_means_are_no_numbers(self, model):
        result = evaluate_online(model, [])
        assert math.isnan(result.jf) and math.isnan(result.seconds) and math.isnan(result.seconds_to(80))
        assert not result.rows()[-1].is_number

    @pytest.mark.parametrize(
        ("protocol", "rounds", "clicks"), [("mask", 8, 3), ("online", 0, 3), ("online", 8, 0)]
    )
    def test_what_is_no_protocol_is_refused(self, model, protocol, rounds, clicks):
        with pytest.raises(EvaluationError):
            evaluate_interactive(model, [], protocol=protocol, rounds=rounds, clicks=clicks)


class TestTimeModel:
    def test_is_that_of_the_paper(self):
        assert TimeModel().seconds("offline", frames=300, prompted=8, clicks=3) == (30 + 1 + 4.5) * 8
        assert TimeModel().seconds("online", frames=600, prompted=8, clicks=3) == 60 + (1 + 4.5) * 8

    def test_counts_the_frames_that_are_tracked(self, model):
        offline = evaluate_offline(model, [video({2: LATE})], rounds=2).curves[0]
        assert offline.seconds == pytest.approx([(30 * 6 / 300 + 5.5) * n for n in (1, 2)])
        online = evaluate_online(model, [video({2: LATE})], rounds=2).curves[0]
        assert online.seconds[0] == pytest.approx(30 * 6 / 300 + 5.5)

    def test_seconds_to_a_quality(self):
        curve = ObjectCurve("v", 1, (50.0, 70.0, 90.0), (50.0, 70.0, 90.0), (10.0, 20.0, 30.0), (0, 1, 2), 5)
        assert [curve.seconds_to(jf) for jf in (40, 70, 71, 95)] == [10, 20, 30, 30]
        other = ObjectCurve("v", 2, (80.0,) * 3, (80.0,) * 3, (10.0,) * 3, (0,), 5)
        result = InteractiveResult("offline", 3, 3, (curve, other))
        assert result.seconds_to(75) == 20
        assert result.jf_by_round == (65.0, 75.0, 85.0)
        assert result.seconds == 20
