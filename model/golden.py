"""Proof that the network computes what the published one computes, without any downloaded weights.

`check` fills networks with reproducible random weights, runs them on reproducible random images and compares
sampled values of every intermediate result with the recorded ones (`data/sam2-golden.json`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.config import sam2_config
from model.network.memory_bank import FrameMemory, MemoryBank, MemorySequence, assemble, plan_memory
from model.network.position import rotary_table, rotate, sine_1d, sine_2d
from model.network.sam2 import HeadsOutput, ImageFeatures, Sam2, StepOutput, StepPrompt

__all__ = ["GoldenResult", "check", "fill_weights", "golden_data", "golden_groups", "reference_image"]

Values = Iterator[tuple[str, Tensor]]
_TOLERANCE = 2e-3
_FRAME_COUNT = 8
_LOGIT_LIMIT = 32.0


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """One recorded value and how far ours is from it."""

    key: str
    error: float  # largest absolute difference of the sampled values
    tolerance: float
    problem: str = ""  # a wrong shape, or no computation for this key

    @property
    def passed(self) -> bool:
        """Whether the value was computed and lies within the tolerance."""
        return not self.problem and self.error <= self.tolerance


def golden_data() -> dict[str, Any]:
    """Return the packaged record: key → shape, statistics, flat indices and values."""
    text = files("model").joinpath("data/sam2-golden.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


def golden_groups() -> Mapping[str, Callable[[], Values]]:
    """Return the groups of values that can be computed on their own; each yields (key, value)."""
    return {
        "position": _position_values,
        "tiny": _tiny_values,
        "tiny-2.0": _version_2_0_values,
        "small": lambda: _encoder_values("s", "small"),
        "base_plus": lambda: _encoder_values("b+", "base_plus"),
        "large": lambda: _encoder_values("l", "large"),
    }


def check(
    golden: Mapping[str, Any],
    *,
    groups: Collection[str] | None = None,
    extra: Mapping[str, Callable[[], object]] | None = None,
) -> list[GoldenResult]:
    """Compare everything that `golden` records; one network is in memory at a time.

    `groups` limits the work to some of `golden_groups` (then only their keys are reported). `extra` maps
    a key that other packages compute (losses, click samplers, metrics) to a function that returns the
    recorded structure of numbers.
    """
    results = []
    for name, compute in golden_groups().items():
        if groups is None or name in groups:
            with torch.inference_mode():
                results += [
                    _compare_tensor(key, golden[key], value) for key, value in compute() if key in golden
                ]
    for key, function in (extra or {}).items():
        if key in golden:
            results.append(_compare_numbers(key, golden[key], function()))
    if groups is None:
        done = {r.key for r in results} | {"about"}
        results += [GoldenResult(key, np.inf, 0.0, "not computed") for key in golden if key not in done]
    return results


def _compare_tensor(key: str, record: Mapping[str, Any], value: Tensor) -> GoldenResult:
    tolerance = _TOLERANCE * max(1.0, float(record["std"]))
    if list(value.shape) != record["shape"]:
        return GoldenResult(key, np.inf, tolerance, f"shape {list(value.shape)}, not {record['shape']}")
    flat = value.reshape(-1).double().numpy()
    errors = np.abs(flat[record["idx"]] - np.asarray(record["val"]))
    mean_error = abs(float(flat.mean()) - record["mean"])
    return GoldenResult(key, max(float(errors.max()), mean_error), tolerance)


def _compare_numbers(key: str, record: object, value: object) -> GoldenResult:
    """Compare nested mappings and lists; text in the record describes inputs and is not compared."""
    errors = list(_number_errors(record, value))
    wrong = [place for place, error in errors if not np.isfinite(error)]
    largest = max((error for _, error in errors), default=0.0)
    return GoldenResult(key, largest, 1e-4, f"missing or odd: {', '.join(wrong)}" if wrong else "")


def _number_errors(record: object, value: object, place: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(record, Mapping):
        for name, part in record.items():
            other = value.get(name) if isinstance(value, Mapping) else None
            yield from _number_errors(part, other, f"{place}.{name}")
    elif isinstance(record, list):
        fits = isinstance(value, Sequence) and len(value) == len(record)
        others = list(value) if fits and isinstance(value, Sequence) else [None] * len(record)
        for index, (part, other) in enumerate(zip(record, others, strict=True)):
            yield from _number_errors(part, other, f"{place}[{index}]")
    elif not isinstance(record, str):
        numeric = isinstance(record, (int, float)) and isinstance(value, (int, float, np.number))
        yield place, abs(float(record) - float(value)) if numeric else np.inf  # type: ignore[arg-type]


def fill_weights(model: Sam2) -> Sam2:
    """Fill every entry of the state dict from a generator seeded with the CRC-32 of its name."""
    state = model.state_dict()
    weights = {key: _weight(key, tuple(value.shape)) for key, value in state.items()}
    model.load_state_dict(weights, assign=True)
    return model


def _weight(key: str, shape: tuple[int, ...]) -> Tensor:
    values = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if len(shape) >= 2 and not key.endswith("gaussian_matrix"):
        values /= np.sqrt(values.size / shape[0])
    elif len(shape) == 1:
        is_scale = key.endswith((".weight", ".gamma"))
        values = 1 + 0.1 * values if is_scale else 0.1 * values
    return torch.from_numpy(values.astype(np.float32))


def reference_image(seed: int, side: int = 1024) -> Tensor:
    """Return the normalised random image float32 [1, 3, side, side] of a seed."""
    values = np.random.RandomState(seed).standard_normal((1, 3, side, side))
    return torch.from_numpy(values.astype(np.float32))


def _reference_model(size: str, version: str = "2.1") -> Sam2:
    config = sam2_config(size, version=version)
    plain = replace(config, decoder=replace(config.decoder, dynamic_multimask=False))
    with torch.device("meta"):  # every value is filled in, so none is drawn first
        model = Sam2(plain)
    return fill_weights(model.eval())


def _position_values() -> Values:
    yield "extra.pe1d", sine_1d(torch.tensor([0.0, 1.0, -3.0, 15.0]) / 15, 256)
    table = rotary_table(256, 64, 64, theta=10000.0)
    yield "extra.rope.cos", table[0]
    yield "extra.rope.sin", table[1]
    for key, seed, length in (("q", 1, 4096), ("k", 2, 8192)):
        values = np.random.RandomState(seed).standard_normal((1, 1, length, 256)).astype(np.float32)
        yield f"extra.rope.{key}", rotate(torch.from_numpy(values), table)
    for level, side in enumerate((256, 128, 64)):
        yield f"neck_pos.{level}", sine_2d(256, side, side)


def _encoder_values(prefix: str, size: str) -> Values:
    encoder = _reference_model(size).image_encoder
    maps = encoder.trunk(reference_image(0))
    for level, value in enumerate(maps):
        yield f"extra.{prefix}.trunk.{level}", value
    for level, value in enumerate(encoder.neck(maps)):
        yield f"extra.{prefix}.fpn.{level}", value


def _tiny_values() -> Values:
    model = _reference_model("tiny")
    maps = model.image_encoder.trunk(reference_image(0))
    for level, value in enumerate(maps):
        yield f"trunk.{level}", value
    pyramid = model.image_encoder.neck(maps)
    for level, value in enumerate(pyramid):
        yield f"fpn.{level}", value
    features = [model.image_features(pyramid)]
    features += [model.encode_images(reference_image(seed)) for seed in (1, 2, 3)]
    yield "s0", features[0].high_res[0]
    yield "s1", features[0].high_res[1]
    yield "dense_pe", model.sam_prompt_encoder.dense_position(64, 64)
    two_points = _points((300, 200, 1), (700.5, 900, 0))
    yield "prompt.sparse_two_points", model.sam_prompt_encoder.points(*two_points)
    yield from _heads_values(model, features[0])
    yield from _track_values(model, features)
    yield from _reverse_values(model, features)


def _points(*points: tuple[float, float, int]) -> tuple[Tensor, Tensor]:
    coords = torch.tensor([[[x, y] for x, y, _ in points]], dtype=torch.float32)
    return coords, torch.tensor([[label for *_, label in points]])


def _disk_mask() -> Tensor:
    y, x = torch.meshgrid(torch.arange(1024), torch.arange(1024), indexing="ij")
    return ((x - 500) ** 2 + (y - 450) ** 2 < 200**2).float()[None, None]


def _heads_values(model: Sam2, features: ImageFeatures) -> Values:
    embedding = model.condition(features, None)

    def ask(*points: tuple[float, float, int], mask: Tensor | None = None, many: bool = False) -> HeadsOutput:
        prompt = _points(*points)
        return model.sam_heads(embedding, features.high_res, points=prompt, mask_logits=mask, multimask=many)

    many = ask((512, 400, 1), many=True)
    yield "sam.one_click.low_res_multimasks", many.low_res_multimasks
    yield "sam.one_click.ious", many.ious
    yield "sam.one_click.object_score", many.object_score
    single = ask((512, 400, 1))
    yield "sam.one_click_single.low_res", single.low_res
    yield "sam.one_click_single.ious", single.ious
    box = ask((100, 150, 2), (620, 700, 3))
    yield "sam.box.low_res", box.low_res
    yield "sam.box.ious", box.ious
    # the recorded call refines the best of the three candidates, not the single mask
    previous = many.low_res.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
    refined = ask((512, 400, 1), (200, 300, 0), mask=previous)
    yield "sam.two_click_with_prev_mask.low_res", refined.low_res


def _step_values(model: Sam2, prefix: str, step: StepOutput) -> Values:
    yield f"{prefix}.pred_masks", step.heads.low_res
    yield f"{prefix}.obj_ptr", step.heads.pointer
    yield f"{prefix}.object_score_logits", step.heads.object_score
    if step.memory is not None:
        maskmem = step.memory.maskmem
        yield f"{prefix}.maskmem_features", maskmem
        yield f"{prefix}.maskmem_pos_enc", sine_2d(maskmem.shape[1], *maskmem.shape[-2:])


def _memory(model: Sam2, bank: MemoryBank, frame: int, *, reverse: bool = False) -> MemorySequence:
    plan = plan_memory(
        bank.conditioning,
        bank.recent,
        frame=frame,
        frame_count=_FRAME_COUNT,
        config=model.config.memory,
        reverse=reverse,
    )
    return assemble(model, plan, bank)


def _kept(step: StepOutput) -> FrameMemory:
    if step.memory is None:
        raise ValueError("the step was not asked to remember")
    return step.memory


def _track_values(model: Sam2, features: Sequence[ImageFeatures]) -> Values:
    step = model.track_step(features[0], None, StepPrompt(mask=_disk_mask()))
    yield from _step_values(model, "track.f0_mask", step)
    recent: dict[int, FrameMemory] = {}
    bank = MemoryBank({0: _kept(step)}, recent)
    for frame in (1, 2, 3):
        step = model.track_step(features[frame], _memory(model, bank, frame), StepPrompt())
        yield from _step_values(model, f"track.f{frame}", step)
        recent[frame] = _kept(step)
    if step.conditioned is not None:
        yield "track.f3.memory_conditioned", step.conditioned
    yield from _correction_values(model, features[3], bank, step)
    empty = model.track_step(features[0], None, StepPrompt(mask=torch.zeros(1, 1, 1024, 1024)))
    yield from _step_values(model, "track.f0_empty_mask", empty)


def _correction_values(model: Sam2, features: ImageFeatures, bank: MemoryBank, last: StepOutput) -> Values:
    previous = last.heads.low_res.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
    prompt = StepPrompt(points=_points((600, 500, 1)), mask_logits=previous)
    corrected = model.track_step(features, _memory(model, bank, 3), prompt, remember=False)
    yield from _step_values(model, "track.f3_corrected", corrected)


def _reverse_values(model: Sam2, features: Sequence[ImageFeatures]) -> Values:
    step = model.track_step(features[3], None, StepPrompt(mask=_disk_mask()))
    bank = MemoryBank({3: _kept(step)}, {})
    back = model.track_step(features[2], _memory(model, bank, 2, reverse=True), StepPrompt())
    yield from _step_values(model, "reverse.f2", back)


def _version_2_0_values() -> Values:
    model = _reference_model("tiny", version="2.0")
    features = [model.encode_images(reference_image(seed)) for seed in range(3)]
    step = model.track_step(features[0], None, StepPrompt(mask=_disk_mask()))
    prefix = "extra.v2.0t.track"
    yield f"{prefix}.f0.maskmem_features", _kept(step).maskmem
    recent: dict[int, FrameMemory] = {}
    bank = MemoryBank({0: _kept(step)}, recent)
    for frame in (1, 2):
        step = model.track_step(features[frame], _memory(model, bank, frame), StepPrompt())
        recent[frame] = _kept(step)
        yield f"{prefix}.f{frame}.pred_masks", step.heads.low_res
        yield f"{prefix}.f{frame}.obj_ptr", step.heads.pointer
        yield f"{prefix}.f{frame}.maskmem_features", _kept(step).maskmem
