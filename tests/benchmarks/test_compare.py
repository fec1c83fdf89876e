"""The comparison with other packages: its rows, its file of results, its tables, and our side of it, without clocks."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.compare import report, tasks
from benchmarks.compare.measure import Stages, stopwatch
from benchmarks.compare.ours import Ours
from benchmarks.compare.rows import ROWS, SIDES, Job, Row, choose
from benchmarks.compare.runner import Results, available_sides, jobs_of
from benchmarks.compare.trees import mapped
from benchmarks.compare.video import jpeg_folder, picture, shape_mask
from benchmarks.compare.weights import write_weights
from storage.masks import Rle, empty, encode

ROW = Row(id="small", title="track 2 objects", task="track", size="nano", image_size=128, objects=2)
JOB = Job(row=ROW, side="ours")
MASK = encode(np.eye(4, dtype=bool))


def _result(seconds: float, masks: dict[str, Rle], peak: float = 100.0) -> dict[str, Any]:
    sample = {"cpu": seconds, "wall": seconds / 2, "stages": {"image encoder": seconds / 4}}
    return {
        "samples": [sample, sample, {**sample, "cpu": 99.0}],
        "masks": {name: rle.to_coco() for name, rle in masks.items()},
        "loaded_mib": 50.0,
        "peak_mib": peak,
        "notes": {},
        "versions": {"torch": "2"},
    }


@pytest.fixture
def results(tmp_path: Path) -> Results:
    found = Results(tmp_path / "results.jsonl")
    found.add(JOB, _result(2.0, {"16/0": MASK}))
    found.add(replace(JOB, side="official"), _result(3.0, {"16/0": MASK}, peak=500.0))
    return found


def test_rows_have_names_of_their_own_and_known_sides():
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert all(set(row.sides) <= set(SIDES) and row.task in tasks.TASKS for row in ROWS)


def test_rows_are_chosen_by_how_their_names_begin():
    assert [row.id for row in choose(["auto"], quick=False)] == ["auto-nano", "auto-32"]
    assert [row.id for row in choose(["memory-33"], quick=False)] == ["memory-33"]
    assert all(row.size == "nano" for row in choose(None, quick=True))
    assert choose([], quick=False) == list(ROWS)
    with pytest.raises(ValueError, match="no row begins with slow"):
        choose(["slow"], quick=False)


def test_a_job_survives_json_and_changes_its_key_with_any_number():
    assert Job.from_dict(json.loads(json.dumps(JOB.to_dict()))) == JOB
    others = [replace(JOB, row=replace(ROW, repeats=5)), replace(JOB, side="official")]
    others += [replace(JOB, device="cuda"), replace(JOB, device="cuda", compiled=True)]
    assert len({job.key for job in (JOB, *others)}) == 5


def test_sides_take_turns_and_absent_ones_are_left_out():
    rows = [ROW, replace(ROW, id="other", sides=("ours",))]
    jobs = list(jobs_of(rows, ["ours", "official"], JOB))
    assert [(job.row.id, job.side) for job in jobs] == [
        ("small", "ours"),
        ("small", "official"),
        ("other", "ours"),
    ]
    assert "ours" in available_sides()


def test_results_outlive_the_run(results: Results):
    again = Results(results.path)
    assert again.get(JOB) == results.get(JOB)
    assert again.get(replace(JOB, row=replace(ROW, objects=3))) is None


def test_the_table_has_medians_ratio_and_agreement(results: Results):
    (line,) = report.lines([replace(ROW, reach=1.15, stretch=1.35)], results, JOB)
    assert line.values == {"ours": 2.0, "official": 3.0}
    assert report.cells(line) == [
        "track 2 objects", "s CPU", "2", "3", "", "1.5×", "1.15×, 1.35×", "1.00000",
    ]  # fmt: skip
    assert report.markdown([line]).splitlines()[2].count("|") == 9
    assert report.value_of(replace(ROW, unit="memory"), results.get(JOB) or {}) == 100.0
    assert report.lines([replace(ROW, objects=5)], results, JOB) == []


def test_the_stages_and_notes_name_every_side(results: Results):
    table = report.stage_table([ROW], results, JOB).splitlines()
    assert table[0] == "| row | side | image encoder | rest |"
    assert table[2:] == [
        "| track 2 objects | ours | 0.5 | 1.5 |",
        "| track 2 objects | official | 0.75 | 2.25 |",
    ]
    assert "50 MiB with the network loaded, 500 at most" in report.notes([ROW], results, JOB)
    assert "torch 2" in report.machine(results, [ROW], JOB)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"1/0": MASK}, {"1/0": MASK}, 1.0),
        ({"1/0": MASK}, {"1/0": empty(4, 4)}, 0.0),
        ({"1/0": MASK}, {"1/1": MASK}, 0.0),
        ({"any/0": MASK, "any/1": empty(4, 4)}, {"any/0": empty(4, 4), "any/1": MASK}, 1.0),
        ({"any/0": MASK}, {}, 0.0),
    ],
)
def test_agreement_is_that_of_the_worst_mask(ours: dict[str, Rle], theirs: dict[str, Rle], expected: float):
    assert report.agreement(ours, theirs) == expected


def test_tables_replace_what_the_page_had(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- measured: speed -->\nold\n<!-- end measured -->\nb\n", encoding="utf-8")
    report.write_page(page, {"speed": "new"})
    report.write_page(page, {"speed": "newer"})
    assert (
        page.read_text(encoding="utf-8") == "a\n<!-- measured: speed -->\nnewer\n<!-- end measured -->\nb\n"
    )


@dataclass(frozen=True)
class _Pair:
    left: Any
    right: Any


def test_structures_of_tensors_keep_their_form():
    value = _Pair([torch.zeros(2, 3)], {"x": (torch.zeros(1), "text")})
    assert mapped(value, lambda tensor: tuple(tensor.shape)) == _Pair([(2, 3)], {"x": ((1,), "text")})


class _Network:
    def encode(self, value: int) -> int:
        return value + 1


def test_a_stage_can_be_timed_replaced_and_restored():
    network = _Network()
    stages = Stages(network, {"image encoder": "encode"})
    with stopwatch(stages) as sample:
        assert network.encode(1) == 2
    assert sample.stages["image encoder"] <= sample.cpu + 0.05
    stages.stand_in("image encoder", lambda original: lambda value: original(value) * 10)
    assert network.encode(1) == 20
    stages.restore()
    assert network.encode(1) == 2


def test_videos_are_the_same_everywhere(tmp_path: Path):
    assert picture(3, 64, 48).shape == (48, 64, 3)
    assert np.array_equal(picture(3, 64, 48), picture(3, 64, 48))
    assert not np.array_equal(picture(3, 64, 48), picture(4, 64, 48))
    assert all(shape_mask(shape, 0, 64, 48).any() for shape in range(8))
    folder = jpeg_folder(tmp_path, 50, 64, 48)
    assert len(list(folder.glob("*.jpg"))) == 50
    assert (folder / "00049.jpg").read_bytes() == (folder / "00001.jpg").read_bytes()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "nano.pt"
    write_weights("nano", path)
    return path


@pytest.mark.parametrize(
    ("task", "changes", "masks"),
    [
        ("track", {"first": 3, "repeats": 2}, 4),
        ("track", {"first": 3, "repeats": 1, "warm_up": "stand-ins"}, 2),
        ("click", {"first": 3}, 4),
        ("first_mask", {"repeats": 1}, 1),
        ("open", {"repeats": 1}, 0),
        ("encode", {"repeats": 1}, 0),
        ("memory", {"frames": 5, "unit": "memory"}, 2),
    ],
)
def test_our_side_of_every_task(
    task: str,
    changes: dict[str, Any],
    masks: int,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(tasks, "set_threads", lambda count: None)
    row = replace(ROW, **{"task": task, "frames": 6, **changes})
    job = Job(row=row, side="ours")
    outcome = tasks.run(Ours(job, weights), job, jpeg_folder(tmp_path, row.frames, *row.picture))
    assert len(outcome.masks) == masks
    assert len(outcome.samples) == {"memory": 0, "click": row.objects}.get(task, row.repeats)
    assert all(sample.cpu >= 0 for sample in outcome.samples)
    assert json.loads(json.dumps(outcome.to_dict()))["peak_mib"] > 0


def test_masks_of_random_weights_are_no_noise(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An untrained network would answer with everything, nothing, or dots; then run lengths would say little."""
    monkeypatch.setattr(tasks, "set_threads", lambda count: None)
    row = replace(ROW, first=3, repeats=1)
    job = Job(row=row, side="ours")
    outcome = tasks.run(Ours(job, weights), job, jpeg_folder(tmp_path, 6, *row.picture))
    from storage.masks import area, runs

    for mask in outcome.masks.values():
        assert 0.05 < area(mask) / (mask.height * mask.width) < 0.95
        assert len(runs(mask)) < 6 * mask.width
