"""What a frame attends to: the rules against a plain restatement of them, and the tokens they become."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import MemoryConfig
from model.network.memory_bank import (
    FrameMemory,
    MemoryBank,
    MemoryPlan,
    assemble,
    assemble_batch,
    plan_memory,
)
from model.network.sam2 import Sam2

CONFIG = MemoryConfig()


def _oracle(
    conditioning: list[int], recent: list[int], frame: int, count: int, config: MemoryConfig, reverse: bool
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The rules step by step: (frame, slot) of maps and (frame, age) of pointers."""
    chosen = list(conditioning)
    limit = config.max_conditioning
    if limit is not None and len(chosen) > limit:
        before = max((t for t in conditioning if t < frame), default=None)
        after = min((t for t in conditioning if t >= frame), default=None)
        chosen = [t for t in (before, after) if t is not None]
        others = sorted((t for t in conditioning if t not in chosen), key=lambda t: abs(t - frame))
        while others and len(chosen) < limit:
            chosen.append(others.pop(0))
    available = set(recent) | (set(conditioning) - set(chosen))
    maps = [(t, 0) for t in chosen]
    r = config.stride
    for slot in range(1, config.slots):
        d = config.slots - slot
        if d == 1:
            t = frame + 1 if reverse else frame - 1
        elif reverse:
            t = -(-(frame + 2) // r) * r + (d - 2) * r
        else:
            t = ((frame - 2) // r) * r - (d - 2) * r
        if t in available:
            maps.append((t, slot))
    sign = -1 if reverse else 1
    pointers = [(t, (frame - t) * sign) for t in chosen if (t >= frame if reverse else t <= frame)]
    for d in range(1, min(count, config.max_pointers)):
        t = frame - d * sign
        if t < 0 or t >= count:
            break
        if t in available:
            pointers.append((t, d))
    return maps, pointers


frames = st.integers(0, 29)


@given(
    conditioning=st.sets(frames, min_size=1, max_size=6),
    recent=st.sets(frames, max_size=25),
    frame=frames,
    stride=st.integers(1, 3),
    limit=st.none() | st.integers(2, 4),
    reverse=st.booleans(),
)
def test_selection_follows_the_rules(
    conditioning: set[int], recent: set[int], frame: int, stride: int, limit: int | None, reverse: bool
) -> None:
    config = replace(CONFIG, stride=stride, max_conditioning=limit)
    tracked = recent - conditioning
    given_order = sorted(conditioning)
    plan = plan_memory(given_order, tracked, frame=frame, frame_count=30, config=config, reverse=reverse)
    maps, pointers = _oracle(given_order, sorted(tracked), frame, 30, config, reverse)
    assert [(m.frame, m.slot) for m in plan.maps] == maps
    assert [(p.frame, p.age) for p in plan.pointers] == pointers


@pytest.mark.parametrize(
    ("frame", "maps"),
    [
        (3, [(0, 0), (1, 5), (2, 6)]),
        (9, [(0, 0), (3, 1), (4, 2), (5, 3), (6, 4), (7, 5), (8, 6)]),
    ],
)
def test_ordinary_tracking(frame: int, maps: list[tuple[int, int]]) -> None:
    plan = plan_memory([0], range(1, frame), frame=frame, frame_count=30, config=CONFIG)
    assert [(m.frame, m.slot) for m in plan.maps] == maps
    assert [p.frame for p in plan.pointers] == [0, *range(frame - 1, 0, -1)]


def test_training_also_reads_pointers_of_later_prompts() -> None:
    plan = plan_memory([0, 5], [], frame=2, frame_count=8, config=CONFIG, future_pointers=True)
    assert [(p.frame, p.age) for p in plan.pointers] == [(0, 2), (5, -3)]


def _memory(seed: int, count: int = 1) -> FrameMemory:
    generator = torch.Generator().manual_seed(seed)
    maskmem = torch.randn(count, 16, 4, 4, generator=generator).to(torch.bfloat16)
    return FrameMemory(maskmem, torch.randn(count, 32, generator=generator))


def _bank(seed: int, count: int = 1) -> MemoryBank:
    return MemoryBank({0: _memory(seed, count)}, {t: _memory(seed + t, count) for t in (1, 2)})


def _plan(frame: int = 3) -> MemoryPlan:
    return plan_memory([0], [1, 2], frame=frame, frame_count=8, config=replace(CONFIG, dim=16))


def test_tokens_are_maps_then_pointers_in_the_weights_dtype(micro_model: Sam2) -> None:
    sequence = assemble(micro_model, _plan(), _bank(7, count=2))
    assert sequence.tokens.shape == (2, 3 * 16 + 3 * 2, 16)
    assert sequence.position.shape == (1, 54, 16)
    assert sequence.pointer_tokens == 6
    assert sequence.tokens.dtype == torch.float32
    pointer = _bank(7, count=2).conditioning[0].pointer
    assert torch.equal(sequence.tokens[:, 48:50].flatten(1), pointer)


def test_the_prompted_map_carries_the_last_time_code(micro_model: Sam2) -> None:
    sequence = assemble(micro_model, _plan(), _bank(7))
    difference = sequence.position[:, 0:16] - sequence.position[:, 32:48]
    codes = micro_model.maskmem_tpos_enc
    assert torch.allclose(difference, (codes[6] - codes[0])[0, 0].expand(1, 16, 16), atol=1e-6)


def test_pointers_carry_no_age_in_2_0(micro_v20: Sam2) -> None:
    sequence = assemble(micro_v20, _plan(), _bank(7))
    assert (sequence.position[:, 48:] == 0).all()


def test_a_batch_of_banks_equals_each_bank_alone(micro_model: Sam2) -> None:
    later = plan_memory([1], [2, 3], frame=5, frame_count=8, config=micro_model.config.memory)
    other = MemoryBank({1: _memory(1)}, {2: _memory(2), 3: _memory(3)})
    assert later.layout == _plan().layout and later.timing != _plan().timing
    both = assemble_batch(micro_model, [_plan(), later], [_bank(7), other])
    for row, (plan, bank) in enumerate(((_plan(), _bank(7)), (later, other))):
        alone = assemble(micro_model, plan, bank)
        assert torch.equal(both.tokens[row], alone.tokens[0])
        assert torch.equal(both.position[row], alone.position[0])


def test_different_layouts_do_not_share_a_batch(micro_model: Sam2) -> None:
    short = plan_memory([0], [], frame=3, frame_count=8, config=micro_model.config.memory)
    with pytest.raises(ValueError, match="different layouts"):
        assemble_batch(micro_model, [_plan(), short], [_bank(1), _bank(2)])
