"""The comparison with SA-V's evaluation tool: its rows and our side of them, without clocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.evaluator.__main__ import Line, Row, measure, rows


def test_every_row_of_a_set_gives_the_same_scores(tmp_path: Path):
    found = {}
    for row in rows(tmp_path, None, None, frames=4):
        found.setdefault(row.title, []).append(row)
        if len(found) == 5:
            break
    three = [row.ours() for row in found["480p, three objects"]]
    of_folders, of_bits, of_pictures, of_arrays, of_runs = three
    assert of_folders == of_bits == of_arrays
    assert of_runs == {name: pytest.approx(score) for name, score in of_arrays.items()}
    assert list(of_pictures.values()) == [pytest.approx(score) for score in of_arrays.values()]


def test_a_different_score_ends_the_run():
    same = Row("set", "folders", 4, lambda: {"a": (50.0, 60.0)}, lambda: {"a": (50.0, 60.0 + 1e-12)})
    line = measure(same, repeats=2)
    assert line.difference == pytest.approx(1e-12, rel=1e-2)
    other = Row("set", "folders", 4, lambda: {"a": (50.0, 60.0)}, lambda: {"a": (50.0, 60.1)})
    with pytest.raises(SystemExit, match="differs by"):
        measure(other, repeats=1)


def test_a_line_tells_the_ratio():
    row = Row("set", "folders", 4, dict, dict)
    assert Line(row, 2.0, 20.0, 0.0).cells() == ["set", "folders", "2.00 ms", "20.00 ms", "10.0×", "0e+00"]
    assert Line(row, 2.0, None, None).cells()[3:] == ["", "", ""]
