from __future__ import annotations

import pytest

from qa.report import RunReportData
from tests.qa.report.history import make_run


@pytest.fixture(scope="session")
def run() -> RunReportData:
    """Two rounds, phases 1 and 3; tests do not change it."""
    return make_run((1, 3))
