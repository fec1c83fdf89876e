from __future__ import annotations

import math

import pandas as pd
import pytest

from qa.effort import by_person, by_phase, by_role, summarise
from qa.errors import MetricError
from storage.schemas import SCHEMAS


def event(
    masklet, kind, duration_s, *, frame=None, role="annotator", actor="ann", revision=1, round_id="r0001"
):
    return {
        "event_id": "e", "round_id": round_id, "masklet_id": masklet, "revision": revision, "actor": actor,
        "role": role, "kind": kind, "frame": frame, "x": None, "y": None, "positive": None, "at_s": 0.0,
        "duration_s": duration_s,
    }  # fmt: skip


def frames(masklet, edited, *, phase=1, revision=1):
    """Annotated frames 0, 1, …: one row a letter of `edited`, `e` if a person edited that frame."""
    return [
        {"masklet_id": masklet, "revision": revision, "frame": n, "edited": letter == "e", "phase": phase}
        for n, letter in enumerate(edited)
    ]


# Phase 1: masklet a of 2 frames, both edited, 40 s; selected in 6 s, verified by two people in 3 + 5 s.
# Phase 3: masklet b of 4 frames in two revisions (frame 1, then frames 1 and 3 edited), 6 s + 2 s;
#          masklet c of 6 frames, none edited, 2 s.
EFFORT = [
    event("", "locate", 6.0, role="selector", actor="sel"),
    event("a", "click", 10.0, frame=0),
    event("a", "click", 10.0, frame=0),
    event("a", "click", 10.0, frame=1),
    event("a", "brush", 10.0, frame=1),
    event("a", "verdict", 3.0, role="verifier", actor="vic"),
    event("a", "verdict", 5.0, role="verifier", actor="vera"),
    event("b", "click", 6.0, frame=1, round_id="r0002"),
    event("b", "click", 1.5, frame=1, revision=2, actor="bob", round_id="r0002"),
    event("b", "click", 0.5, frame=3, revision=2, actor="bob", round_id="r0002"),
    event("c", "examine", 2.0, actor="bob", round_id="r0002"),
    event("b", "verdict", 1.0, role="verifier", actor="vic", round_id="r0002"),
    event("b", "verdict", 2.0, role="verifier", actor="vic", revision=2, round_id="r0002"),
    event("d", "verdict", 3.0, role="verifier", actor="vic", round_id="r0002"),  # an automatic masklet
]
ANNOTATIONS = [
    *frames("a", "ee"),
    *frames("b", "-e--", phase=3),
    *frames("b", "-e-e", phase=3, revision=2),
    *frames("c", "------", phase=3),
    *frames("imported", "----", phase=3),  # nobody worked on it
]


class TestSummarise:
    def test_on_a_table_checked_by_hand(self):
        summary = summarise(EFFORT, ANNOTATIONS)
        assert (summary.masklets, summary.frames) == (3, 12)
        assert summary.annotation_s == 40 + 8 + 2
        assert summary.seconds_per_frame == pytest.approx(50 / 12)
        assert summary.edited_percent == pytest.approx((100 + 50 + 0) / 3)
        assert (summary.clicks, summary.clicked_frames) == (6, 4)
        assert summary.clicks_per_clicked_frame == 1.5
        assert summary.selection_s == 6
        assert summary.verification_s == 14
        assert (summary.verified_masklets, summary.verdicts) == (3, 5)
        assert summary.verify_seconds_per_masklet == pytest.approx(14 / 3)
        assert summary.frames_per_hour == pytest.approx(3600 * 12 / 50)
        assert summary.masklets_per_hour == pytest.approx(3600 * 3 / 70)

    def test_idle_time_is_no_work(self):
        paused = [event("a", "idle", 0.0), event("e", "idle", 0.0, actor="idler")]
        assert summarise([*EFFORT, *paused], ANNOTATIONS) == summarise(EFFORT, ANNOTATIONS)
        assert by_role([*EFFORT, *paused]).equals(by_role(EFFORT))

    def test_frames_are_counted_once_whatever_the_number_of_revisions(self):
        only_b = [row for row in EFFORT if row["masklet_id"] == "b"]
        assert summarise(only_b, ANNOTATIONS).frames == 4
        assert summarise(only_b, ANNOTATIONS).edited_percent == 50

    def test_takes_pandas_tables(self):
        assert summarise(pd.DataFrame(EFFORT), pd.DataFrame(ANNOTATIONS)) == summarise(EFFORT, ANNOTATIONS)

    @pytest.mark.parametrize("empty", [lambda _: [], lambda name: SCHEMAS[name].empty_table().to_pandas()])
    def test_no_work_costs_nothing_and_has_no_ratio(self, empty):
        summary = summarise(empty("effort"), empty("annotations"))
        assert (summary.masklets, summary.frames, summary.annotation_s) == (0, 0, 0)
        assert all(
            math.isnan(ratio)
            for ratio in (
                summary.seconds_per_frame,
                summary.edited_percent,
                summary.clicks_per_clicked_frame,
                summary.verify_seconds_per_masklet,
                summary.frames_per_hour,
                summary.masklets_per_hour,
            )
        )

    def test_a_missing_column_is_named(self):
        with pytest.raises(MetricError, match="effort events lacks the column\\(s\\) kind, duration_s"):
            summarise(pd.DataFrame(EFFORT).drop(columns=["kind", "duration_s"]), ANNOTATIONS)


class TestByPhase:
    def test_one_row_a_phase_with_the_speed_up(self):
        table = by_phase(EFFORT, ANNOTATIONS).set_index("phase")
        assert list(table.index) == [1, 3]
        assert table["seconds_per_frame"].tolist() == [20.0, 1.0]
        assert table["speed_up"].tolist() == [1.0, 20.0]
        assert table["edited_percent"].tolist() == [100.0, 25.0]
        assert table["clicks_per_clicked_frame"].tolist() == [1.5, 1.5]

    def test_work_without_frames_belongs_to_the_phase_of_its_round(self):
        table = by_phase(EFFORT, ANNOTATIONS).set_index("phase")
        assert table.loc[1, "selection_s"] == 6
        assert table["verification_s"].tolist() == [8.0, 6.0]
        assert table["verified_masklets"].tolist() == [1, 2]

    def test_no_speed_up_without_phase_1(self):
        later = [row for row in EFFORT if row["round_id"] == "r0002"]
        assert math.isnan(by_phase(later, ANNOTATIONS)["speed_up"].item())

    def test_nothing(self):
        table = by_phase([], [])
        assert len(table) == 0
        assert {"phase", "seconds_per_frame", "speed_up"} <= set(table.columns)


class TestByPersonAndRole:
    def test_one_row_a_person(self):
        table = by_person(EFFORT, ANNOTATIONS).set_index("actor")
        assert list(table.index) == ["ann", "bob", "sel", "vera", "vic"]
        assert table.loc["ann", "frames"] == 6  # masklets a and b
        assert table.loc["ann", "annotation_s"] == 46
        assert table.loc["bob", "clicks"] == 2
        assert table.loc["vic", "verify_seconds_per_masklet"] == 3  # 9 s, masklets a, b and d
        assert math.isnan(table.loc["sel", "seconds_per_frame"])

    def test_one_row_a_role(self):
        table = by_role(EFFORT).set_index("role")
        assert table.loc["annotator"].to_dict() == {
            "people": 2,
            "masklets": 3,
            "events": 8,
            "duration_s": 50.0,
            "seconds_per_masklet": pytest.approx(50 / 3),
        }
        assert table.loc["verifier", "people"] == 2

    def test_nothing(self):
        assert by_person([], []).empty
        assert by_role([]).empty
