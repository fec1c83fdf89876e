"""What training processes say, in the log of the flow run that started them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

TRAINING_LOGGER = "engine.training"


class _ToRun(logging.Handler):
    """Hands records on to the logger of a run."""

    def __init__(self, run: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        super().__init__(logging.INFO)
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        """Say it there as it was said here."""
        self._run.log(record.levelno, record.getMessage())


@contextmanager
def training_in_run_log() -> Iterator[None]:
    """Inside, lines of training processes are lines of the present run; outside of any run nothing changes."""
    try:
        run = get_run_logger()
    except MissingContextError:
        yield
        return
    logger = logging.getLogger(TRAINING_LOGGER)
    handler, level = _ToRun(run), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
