"""All golden numbers: those of the network, and those that other modules compute (losses, clicks, J and F).

What they prove is told in docs/model.md, "Golden values".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.clicks import centre_click
from model.golden import GoldenResult, check, golden_data, golden_groups
from model.losses import StepPrediction, frame_losses
from qa.metrics import score_masklet

BoolMask = NDArray[np.bool_]

DESCRIPTION = "about"
"""The key of a golden record that only describes it."""


def check_all(golden: Mapping[str, Any] | None = None) -> Iterator[GoldenResult]:
    """Recompute every key of a golden record, the packaged one by default; one result a key, as it is known."""
    record = golden_data() if golden is None else golden
    done = {DESCRIPTION}
    for result in _in_groups(record):
        done.add(result.key)
        yield result
    for key in record:
        if key not in done:
            yield GoldenResult(key, math.inf, 0.0, "nothing here computes this key")


def _in_groups(record: Mapping[str, Any]) -> Iterator[GoldenResult]:
    yield from check(record, groups=(), extra=EXTRA)
    for group in golden_groups():
        yield from check(record, groups=(group,))


def loss_values() -> dict[str, float]:
    """Key `loss`: two prediction steps on one present and one absent object."""
    noise = np.random.RandomState(7).standard_normal((2, 3, 16, 16))
    logits = torch.from_numpy((3 * noise).astype(np.float32))
    target = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    target[0, :, 4:12, 4:12] = True
    ious = torch.tensor([[0.2, 0.5, 0.7], [0.1, 0.3, 0.6]])
    score = torch.tensor([[1.5], [-0.5]])
    steps = [StepPrediction(logits, ious, score), StepPrediction(logits[:, :1], ious[:, :1], score)]
    terms = frame_losses(steps, target)
    return {
        "loss_mask": float(terms.mask),
        "loss_dice": float(terms.dice),
        "loss_iou": float(terms.iou),
        "loss_class": float(terms.presence),
        "core_loss": float(terms.total()),
    }


def centre_click_values() -> dict[str, object]:
    """Key `extra.centre_click`: the click that corrects a half and a stray patch."""
    return _click(_truth(), _half() | _rectangle((90, 110), (10, 60)))


def first_click_values() -> dict[str, object]:
    """Key `extra.centre_click_first`: the click on the object's centre."""
    return _click(_truth(), None)


def jf_values() -> dict[str, tuple[float, float]]:
    """Key `jf`: J and F of wrong, empty and perfect predictions."""
    truth, nothing = _truth(), np.zeros((120, 160), dtype=bool)
    grown = cv2.dilate(truth.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return {
        "shift5": _score([np.roll(truth, (5, 5), axis=(0, 1))], [truth]),
        "half": _score([_half()], [truth]),
        "empty": _score([nothing], [truth]),
        "dilate1": _score([grown], [truth]),
        "gt_then_both_empty": _score([truth, nothing], [truth, nothing]),
        "gt_then_false_positive": _score([truth, truth], [truth, nothing]),
    }


EXTRA: Mapping[str, Callable[[], object]] = MappingProxyType(
    {
        "loss": loss_values,
        "extra.centre_click": centre_click_values,
        "extra.centre_click_first": first_click_values,
        "jf": jf_values,
    }
)
"""Golden keys that are not the network's."""


def _rectangle(rows: tuple[int, int], columns: tuple[int, int]) -> BoolMask:
    mask = np.zeros((120, 160), dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def _truth() -> BoolMask:
    return _rectangle((20, 80), (30, 110))


def _half() -> BoolMask:
    return _rectangle((20, 80), (30, 70))


def _click(truth: BoolMask, prediction: BoolMask | None) -> dict[str, object]:
    click = centre_click(truth, prediction)
    return {"point_xy": [click.x, click.y], "label": int(click.positive)}


def _score(predictions: list[BoolMask], truths: list[BoolMask]) -> tuple[float, float]:
    score = score_masklet(dict(enumerate(predictions)), dict(enumerate(truths)), skip_ends=False)
    assert score is not None, "the truth shows the object"
    return score.j, score.f
