"""Memory does not grow with the video."""

from __future__ import annotations

import sys

import pytest

from benchmarks.flat_memory import measure


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_the_peak_is_the_same_at_300_and_at_5000_frames() -> None:
    (short, _), (long, _) = measure(300), measure(5000)
    assert long == pytest.approx(short, rel=0.05)
