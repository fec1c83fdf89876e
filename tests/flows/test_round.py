"""Rounds as flows: every stage in turn, waiting, resuming, retrying, sharing; on stages that do nothing."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import TaskRun
from prefect.states import Failed

from engine.errors import RoundError, SettingsError
from engine.home import EngineHome
from engine.machine import StageOutcome, advance_round, open_round
from engine.stages.base import STAGE_NAMES
from flows import stage
from flows.advance import advance
from flows.results import RoundResult
from flows.round import STAGE_FLOWS, ending, engine_round
from flows.server import run_round
from storage.errors import LeaseLost, ObjectNotFound, StoreError
from tests.flows.stubs import StubStage

pytestmark = pytest.mark.usefixtures("prefect_api")

Stages = dict[str, StubStage]


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "run_shard", stage.run_shard.with_options(retry_delay_seconds=0))


def test_there_is_a_flow_for_every_stage_in_order():
    assert tuple(STAGE_FLOWS) == STAGE_NAMES


def test_a_round_runs_every_stage_and_shows_it_in_the_ui(home: EngineHome, stages: Stages):
    state = engine_round(phase=3, home=str(home.path), return_state=True)
    assert (state.name, state.message) == ("Promoted", "r0001-p3: better")
    assert stages["prelabel"].worked_on == [0, 1]
    with get_client(sync_client=True) as client:
        names = {run.name for run in client.read_flow_runs()}
        keys = {"round-progress", "shard-progress", "stage-plan", "round-report"}
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=list(keys))))
    assert {"r0001-p3", *(f"r0001-p3-{name}" for name in STAGE_NAMES)} <= names
    assert {artifact.key for artifact in found} == keys


@pytest.mark.parametrize(
    ("challenger", "promoted", "state"),
    [("c" * 64, 1, "Promoted"), ("c" * 64, 0, "NotPromoted"), ("", 0, "Closed")],
)
def test_how_a_round_can_end(home: EngineHome, stages: Stages, challenger: str, promoted: int, state: str):
    stages["retrain"].summary["challenger"] = challenger
    stages["close"].summary["promoted"] = promoted
    opening = open_round(home, phase=1)
    advance_round(home, opening.round_id)
    result = ending(home, opening.round_id, StageOutcome("done", "", "close", stages["close"].summary))
    assert (result.state, result.over) == (state, True)


def test_a_round_waits_for_people_and_goes_on_where_it_was(home: EngineHome, stages: Stages):
    stages["annotate"].waits = 1
    state = engine_round(phase=1, home=str(home.path), return_state=True)
    assert state.is_completed(), "a waiting run holds nothing"
    assert (state.name, state.message) == ("AwaitingHumans", "r0001-p1: 3 of 8 masklets done")

    stages["auto"].waits = 1
    heard: list[tuple[str, str]] = []
    run_round(home.path, 1, on_stage=lambda name, outcome: heard.append((name, outcome.state)))
    assert heard == [
        ("plan", "skipped"),
        ("prelabel", "skipped"),
        ("annotate", "done"),
        ("verify", "done"),
        ("auto", "waiting"),
    ]
    assert stages["prelabel"].worked_on == [0, 1]


def test_a_store_that_comes_back_is_tried_again(home: EngineHome, stages: Stages):
    stages["prelabel"].errors = [StoreError("no route to host"), StoreError("no route to host")]
    stages["annotate"].waits = 1
    assert run_round(home.path, 1).state == "AwaitingHumans"
    assert stages["prelabel"].worked_on == [0, 1]


def test_an_error_that_stays_is_raised_and_finished_shards_are_kept(home: EngineHome, stages: Stages):
    stages["prelabel"].errors = [RoundError("bad plan")]
    stages["annotate"].waits = 1
    with pytest.raises(RoundError, match="bad plan"):
        run_round(home.path, 1)
    assert stages["prelabel"].worked_on == [1]
    assert run_round(home.path, 1).state == "AwaitingHumans"
    assert stages["prelabel"].worked_on == [1, 0]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreError("no route to host"), True),
        (LeaseLost("asleep for too long"), True),
        (ObjectNotFound("frames/1.png"), False),
        (RoundError("bad plan"), False),
        (ValueError("a mistake in the code"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, expected: bool):
    run = TaskRun(task_key="shard", dynamic_key="0")
    assert stage.is_transient(stage.run_shard, run, Failed(data=error)) is expected


def test_a_shard_in_another_process_leaves_the_round_busy(home: EngineHome, stages: Stages):
    opening = open_round(home, phase=1)
    lease = home.catalog.lease(opening.round_id, "prelabel", 0, "another", 60.0)
    assert lease is not None
    expected = RoundResult("Busy", "r0001-p1", "1 of 2 shards are in another process")
    assert run_round(home.path, 1) == expected
    assert stages["prelabel"].worked_on == [1]


def test_seed_and_videos_count_when_the_round_is_opened(home: EngineHome, stages: Stages):
    stages["plan"].waits = 1
    run_round(home.path, 1, seed=7, videos=3)
    opening = open_round(home, phase=1)
    assert (opening.seed, opening.settings["round"]["videos"]) == (7, 3)


def test_unknown_people_are_refused(home: EngineHome, stages: Stages):
    with pytest.raises(SettingsError, match="nobody"):
        run_round(home.path, 1, annotators="nobody")


def test_advance_has_nothing_to_do_when_no_round_is_open(home: EngineHome):
    state = advance(home=str(home.path), return_state=True)
    assert (state.name, state.message) == ("Idle", "No round is open.")


def test_advance_takes_the_open_round_on(home: EngineHome, stages: Stages):
    stages["annotate"].waits = 2
    advance_round(home, open_round(home, phase=2).round_id)
    state = advance(home=str(home.path), return_state=True)
    expected = ("AwaitingHumans", "r0001-p2 AwaitingHumans: 3 of 8 masklets done")
    assert (state.name, state.message) == expected
    assert stages["annotate"].waits == 0
