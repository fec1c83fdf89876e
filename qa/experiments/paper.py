"""What the SAM 2 paper (arXiv 2408.00714) found in the experiments that are repeated here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WORTH: Mapping[str, tuple[str, float, float]] = MappingProxyType(
    {
        "base": ("VOS + SA-1B", 50.0, 62.5),
        "phase-1": ("+ phase 1", 53.0, 66.9),
        "phase-2": ("+ phase 2", 58.8, 70.9),
        "phase-3": ("+ phase 3", 62.5, 71.2),
        "auto": ("+ auto", 63.2, 71.5),
    }
)
"""Table 2: training data, and 3-click J&F on SA-V val and on nine other sets, after equal numbers of steps."""

WORTH_CITATION = (
    "Paper: SAM 2 (arXiv 2408.00714), table 2: models trained for equal numbers of steps (as far as can be told the "
    "ablation setting: 512 px, 200k steps, batches of 128), scored with 3 clicks on the first frame."
)
