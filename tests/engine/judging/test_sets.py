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
from engine.stages.base import Row, read_parts
from model.files.checkpoints import save_checkpoint
from model.network.sam2 import Sam2
from storage.commits import Commit, read_commit
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


def test_reports_show_the_comparisons_and_decisions(home: EngineHome) -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in write_reports(home)}
    assert "The gate: challenger minus champion" in pages["r0002-p2.html"]
    assert "time per masklet" in pages["r0002-p2.html"]
    assert "drawn-00" not in pages["r0002-p2.html"]
    assert "Decided by hand" in pages["report.html"] and "to compare by eye" in pages["report.html"]
