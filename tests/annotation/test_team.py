from __future__ import annotations

from collections import Counter

import pytest
from pydantic import TypeAdapter, ValidationError

from annotation import PeopleError
from annotation.simulated import SimulatedPool, SimulationConfig, TimeModel
from annotation.simulated.team import generator, meet
from annotation.simulated.time_model import SimulatedClock

TEAM = ("ann", "bob", "cleo")


def test_who_takes_a_task_depends_on_seed_and_task_only():
    pool = SimulatedPool(TEAM, seed=1)
    first = [pool.choose(f"task-{n}") for n in range(50)]
    assert first == [SimulatedPool(TEAM[::-1], seed=1).choose(f"task-{n}") for n in range(50)]
    assert first != [SimulatedPool(TEAM, seed=2).choose(f"task-{n}") for n in range(50)]
    assert min(Counter(first).values()) > 5 and len(Counter(first)) == 3


def test_excluded_people_take_nothing():
    pool = SimulatedPool(TEAM)
    assert {pool.choose(f"t{n}", excluded={"ann", "cleo"}) for n in range(20)} == {"bob"}
    with pytest.raises(PeopleError, match="Nobody is left"):
        pool.choose("t", excluded=TEAM)


@pytest.mark.parametrize("names", [(), ("ann", "ann")])
def test_a_team_is_of_different_people(names):
    with pytest.raises(PeopleError, match="team"):
        SimulatedPool(names)


def test_people_stay_themselves():
    config = SimulationConfig()
    assert meet("ann", config, 7) == meet("ann", config, 7)
    people = [meet(name, config, 7) for name in TEAM]
    assert len({person.slowness for person in people}) == 3
    assert all(0.5 <= person.slowness <= 2 for person in people)


def test_generators_are_named():
    assert generator(0, "a", "b").random() == generator(0, "a", "b").random()
    assert generator(0, "a", "b").random() != generator(0, "ab").random()
    assert generator(0, "a").random() != generator(1, "a").random()


def test_times_of_the_paper():
    times = TimeModel()
    assert (times.locate_s, times.click_s, times.examine_s_per_frame * 300) == (1.0, 1.5, 30.0)
    assert times.brush_s(0) == times.brush_base_s < times.brush_s(100)


def test_the_clock_counts_whole_milliseconds():
    clock = SimulatedClock()
    for _ in range(10):
        clock.advance(0.1)
    assert clock.now_s() == 1.0


@pytest.mark.parametrize(
    ("settings", "change", "named"),
    [
        (TimeModel, {"click_s": -1}, "click_s"),
        (TimeModel, {"clikc_s": 1}, "clikc_s"),
        (SimulationConfig, {"click_target_iou": 0.5}, "must rise"),
        (SimulationConfig, {"max_edited_share": 2}, "max_edited_share"),
        (SimulationConfig, {"click_jitter_px": -1}, "click_jitter_px"),
        (SimulationConfig, {"correct": "last"}, "correct"),
    ],
)
def test_settings_are_checked(settings, change, named):
    with pytest.raises(ValidationError, match=named):
        TypeAdapter(settings).validate_python(change)


def test_settings_check_themselves_without_a_reader():
    with pytest.raises(ValueError, match="click_s"):
        TimeModel(click_s=-1)
