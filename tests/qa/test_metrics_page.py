from __future__ import annotations

from pathlib import Path

import pytest

from qa.alignment import ALIGNED_IOU
from qa.gate import GateConfig
from qa.metrics import BOUNDARY_TOLERANCE
from qa.verifier_config import VerifierConfig

GATE, VERIFIER = GateConfig(), VerifierConfig()


@pytest.mark.parametrize(
    "sentence",
    [
        f"r = ⌈{BOUNDARY_TOLERANCE} · √(height² + width²)⌉",
        f"`tolerance`: {GATE.tolerance:g} points",
        f"`retention_tolerance`: {GATE.retention_tolerance:g} point |",
        f"`floor_tolerance`: {GATE.floor_tolerance:g} points |",
        f"`seconds_tolerance`: {GATE.seconds_tolerance:g} % of the champion's",
        f"drawn again with replacement {GATE.resamples} times",
        f"the middle {GATE.confidence:.0%}".replace("%", " %"),
        f"is **above {ALIGNED_IOU}**",
        f"(at most {VERIFIER.reach_px:g} pixels away)",
        f"with IoU ≥ {VERIFIER.match_iou}",
        f"wrong pixels not within {VERIFIER.slack_px} pixel of the true contour",
        f"unless it has at most {VERIFIER.unseen_px} pixels",
        f"A frame below {VERIFIER.min_iou} is bad; one bad frame, or a mean below {VERIFIER.mean_iou}",
        f"{VERIFIER.error_rate:.0%} of verdicts are slips".replace("%", " %"),
        f"It takes {VERIFIER.examine_s_per_frame} s a frame and {VERIFIER.decide_s:g} s to decide",
    ],
)
def test_the_page_on_metrics_tells_the_defaults(sentence):
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert sentence in " ".join(page.read_text(encoding="utf-8").split())
