"""Lines of training processes arrive in the log of the flow run, and only there while it runs."""

from __future__ import annotations

import logging

import pytest

from flows import logs


def test_lines_go_to_the_run_while_it_lasts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = logging.getLogger("tests.run")
    run.setLevel(logging.INFO)
    monkeypatch.setattr(logs, "get_run_logger", lambda: run)
    training = logging.getLogger(logs.TRAINING_LOGGER)
    with logs.training_in_run_log():
        training.info("step %d: loss 3", 1)
    training.warning("too late")
    assert [record.getMessage() for record in caplog.records if record.name == "tests.run"] == [
        "step 1: loss 3"
    ]


def test_without_a_run_nothing_changes() -> None:
    training = logging.getLogger(logs.TRAINING_LOGGER)
    before = list(training.handlers)
    with logs.training_in_run_log():
        assert training.handlers == before
