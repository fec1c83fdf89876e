"""Learning rates over a run: linear warm-up, a cosine or a reciprocal square root, linear cool-down.

Steps are counted from 0. The cosine follows the fraction of the run that is done (SAM 2's stage 2), the
reciprocal square root follows the steps since warm-up and its timescale (stage 1; SAM 2 paper, tables 13a and 13b).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

Schedule = Literal["cosine", "rsqrt", "constant"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


def rate(
    step: int,
    *,
    steps: int,
    schedule: Schedule = "cosine",
    warmup: int = 0,
    cooldown: int = 0,
    end: float = 0.0,
    timescale: int = 1000,
) -> float:
    """The share of the peak rate at `step` of a run of `steps` steps, 0 to 1.

    During `warmup` steps it rises linearly to the peak, from above zero. Then "cosine" falls to `end`, which the
    step after the last would reach; "rsqrt" falls as 1 / √(1 + t / timescale), t steps after warm-up;
    "constant" stays. Over the last `cooldown` steps the result goes to zero linearly, whatever the schedule.
    """
    cooling = min(1.0, (steps - step) / cooldown) if cooldown else 1.0
    if step < warmup:
        return min(1.0, cooling) * (step + 1) / (warmup + 1)
    since = step - warmup
    if schedule == "cosine":
        done = min(1.0, since / max(1, steps - warmup))
        falling = end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * done))
    elif schedule == "rsqrt":
        falling = 1.0 / math.sqrt(1.0 + since / timescale)
    else:
        falling = 1.0
    return falling * cooling
