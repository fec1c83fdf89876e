"""The gate's evidence in a round's record and report."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engine.home import EngineHome
from engine.judging.pinned import reference_set
from engine.judging.sets import judged_names
from engine.machine import advance_round, open_round
from engine.promotion import promote
from engine.reporting import write_reports
from engine.stages.base import Row, StageContext, read_parts
from engine.stages.evaluate import evaluate_weights
from model.files.checkpoints import save_checkpoint
from model.network.sam2 import Sam2
from storage.commits import Commit, list_rounds, read_commit
from tests.engine.conftest import MICRO


@pytest.fixture(scope="module")
def home(make_home: Callable[..., EngineHome], tmp_path_factory: pytest.TempPathFactory) -> EngineHome:
    """A home after a round of phase 2 and a decision by hand."""
    home = make_home("judging")
    for phase in (1, 2):
        assert advance_round(home, open_round(home, phase=phase).round_id).state == "done"
    other = tmp_path_factory.mktemp("weights") / "other.safetensors"
    torch.manual_seed(5)
    save_checkpoint(Sam2(MICRO), other)
    promote(home, str(other), reason="to compare by eye")
    return home


def evaluated(home: EngineHome) -> Commit:
    commit = read_commit(home.store, "r0002-p2", "evaluate")
    assert commit is not None
    return commit


def metrics(home: EngineHome, role: str) -> list[Row]:
    rows = read_parts(home, evaluated(home).files, "metrics").to_pylist()
    return [row for row in rows if row["role"] == role]


def test_both_models_are_scored_on_both_sets_and_timed(home: EngineHome) -> None:
    for role in ("champion", "challenger"):
        rows = [row for row in metrics(home, role) if row["object_id"] >= 0]
        found = {(row["suite"] or "", row["video_id"]) for row in rows}
        assert found == judged_names(reference_set(home), home.settings.evaluate)
        timed = [row for row in rows if row["seconds"] is not None]
        assert {(row["suite"], row["protocol"]) for row in timed} == {
            (None, "online"),
            ("retention", "online"),
        }


def test_the_gates_rows_hold_its_intervals_and_verdicts(home: EngineHome) -> None:
    rows = {(row["suite"] or "", row["protocol"]): row for row in metrics(home, "gate")}
    assert set(rows) == {
        (suite, name) for suite in ("", "retention") for name in ("mask", "3-click", "online")
    }
    summary = evaluated(home).summary
    main = rows["", "mask"]
    assert round(main["jf"], 4) == summary["delta"]
    assert (main["low"], main["high"]) == (None, None)  # three objects are too few
    assert "delta_low" not in summary and not summary["sure"]
    assert all(row["verdict"].startswith(("passed", "failed")) for row in rows.values())
    assert all(row["verdict"].startswith("passed") for row in rows.values()) == bool(summary["promote"])


def test_the_catalog_holds_scores_of_the_frozen_set_alone(home: EngineHome) -> None:
    rows = home.catalog.rows("metrics", round_id="r0002-p2")
    assert {row["role"] for row in rows} == {"base", "champion", "challenger"}
    assert not any(row["video_id"].startswith("drawn") for row in rows)


def test_the_homes_first_weights_are_the_floor_and_scored_once(
    home: EngineHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In rounds that begin with others; where they are the champion, its rows are theirs."""
    first = list_rounds(home.store)[0].checkpoint_hash
    known = read_commit(home.store, "r0001-p1", "evaluate")
    assert known is not None
    before = read_parts(home, known.files, "metrics").to_pylist()
    scored: list[str] = []

    def noted(context: StageContext, role: str, digest: str) -> list[Row]:
        scored.append(role)
        return evaluate_weights(context, role, digest)

    monkeypatch.setattr("engine.stages.evaluate.evaluate_weights", noted)
    opening = open_round(home, phase=1)
    assert opening.checkpoint_hash != first
    assert advance_round(home, opening.round_id).state == "done"
    assert scored == ["champion", "challenger"]
    commit = read_commit(home.store, opening.round_id, "evaluate")
    assert commit is not None
    rows = read_parts(home, commit.files, "metrics").to_pylist()
    start = [row for row in rows if row["role"] == "start"]
    champion = [row for row in before if row["checkpoint_hash"] == first and row["role"] == "champion"]
    kept = [row for row in champion if row["suite"] == "retention" and row["seconds"] is None]
    assert {row["checkpoint_hash"] for row in start} == {first}
    assert [row | {"round_id": "", "role": ""} for row in start] == [
        row | {"round_id": "", "role": ""} for row in kept
    ]
    floor = [row for row in rows if row["role"] == "floor"]
    assert {(row["suite"], row["protocol"], row["allowed"]) for row in floor} == {
        ("retention", "mask", 2.0),
        ("retention", "3-click", 2.0),
    }
    page = write_reports(home, round_id=opening.round_id)[0].read_text(encoding="utf-8")
    assert "first weights" in page and "since start" in page


def test_reports_show_the_comparisons_and_decisions(home: EngineHome) -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in write_reports(home)}
    assert "The gate: challenger minus champion" in pages["r0002-p2.html"]
    assert "time per masklet" in pages["r0002-p2.html"]
    assert "drawn-00" not in pages["r0002-p2.html"]
    assert "Decided by hand" in pages["report.html"] and "to compare by eye" in pages["report.html"]
