"""The log of answers: what changed, how much, and within which bounds."""

from __future__ import annotations

import numpy as np
import pytest

from model.video.frame_rows import FrameRows
from model.video.revision_log import RevisionLog


def _mask(*columns: int) -> np.ndarray:
    mask = np.zeros((8, 8), dtype=bool)
    mask[:, list(columns)] = True
    return mask


def test_changes_are_compared_with_the_answer_before() -> None:
    log = RevisionLog(10**6)
    assert log.write(1, 5, _mask(0, 1), edit=1) == 1
    assert log.write(1, 6, _mask(3), edit=1) == 1
    assert log.changes(1, since=0) == []
    assert log.write(1, 5, _mask(1, 2), edit=2) == 2
    assert log.write(1, 6, _mask(3), edit=2) == 2
    assert log.changes(1, since=2) == [(5, 2, pytest.approx(1 / 3))]
    assert log.changes(1, since=3) == [] and log.changes(2, since=0) == []
    assert (log.revision(1, 5), log.revision(1, 9), log.revision(3, 5)) == (2, 0, 0)
    log.forget(1)
    assert log.changes(1, since=0) == [] and log.write(1, 5, _mask(0), edit=9) == 1


def test_without_capacity_only_revisions_are_counted() -> None:
    log = RevisionLog(0)
    assert [log.write(0, 0, _mask(n), edit=0) for n in range(3)] == [1, 2, 3]
    assert log.changes(0, since=0) == []


def test_the_log_is_bounded_and_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.video.revision_log._IN_MEMORY", 1000)
    log = RevisionLog(4000)
    generator = np.random.default_rng(0)
    for frame in range(2000):
        log.write(frame % 3, frame, generator.random((8, 8)) > 0.5, edit=0)
        assert log._end <= 4100
    for frame in (0, 1999):
        log.write(frame % 3, frame, _mask(), edit=1)
    (_, _, unknown), (_, _, known) = log.changes(0, since=1) + log.changes(1, since=1)
    assert np.isnan(unknown) and known == 0
    for frame in range(1990, 1999):
        log.write(frame % 3, frame, _mask(), edit=2)
    assert all(iou == 0 for owner in range(3) for *_, iou in log.changes(owner, since=2))


def test_rewriting_loses_nothing_that_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.video.revision_log._IN_MEMORY", 200)
    log = RevisionLog(10**6)
    for edit in range(1, 60):
        for frame in range(5):
            log.write(0, frame, _mask(edit % 8, frame), edit=edit)
        assert log._end <= max(200, 4 * log._live) + 40
    changes = log.changes(0, since=59)
    assert [frame for frame, *_ in changes] == list(range(5))
    for frame, _, iou in changes:
        now, before = _mask(59 % 8, frame), _mask(58 % 8, frame)
        assert iou == pytest.approx((now & before).sum() / (now | before).sum())


def test_rows_grow_and_are_forgotten() -> None:
    rows = FrameRows(np.dtype([("value", "i4")]))
    rows.set(1000, value=7)
    assert rows.get(1000)["value"] == 7 and rows.get(5)["value"] == 0 and rows.get(10**6)["value"] == 0
    rows.forget_before(990)
    assert rows.first == 990 and rows.get(1000)["value"] == 7 and rows.get(5)["value"] == 0
    rows.set(3, value=1)
    assert rows.get(3)["value"] == 0
    rows.set(991, value=2)
    assert rows.column("value")[rows.between(991, 992)].tolist() == [2]
