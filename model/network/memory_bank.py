"""The memory bank: what of earlier (and prompted) frames a frame attends to.

Selection is plain arithmetic on frame numbers (`plan_memory`), so that objects with equally long plans can
share one batch; `assemble` turns a plan into tokens for memory attention.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.config import MemoryConfig
from model.network.position import sine_1d

if TYPE_CHECKING:
    from model.network.sam2 import Sam2

__all__ = [
    "FrameMemory",
    "MemoryBank",
    "MemoryPlan",
    "MemorySequence",
    "assemble",
    "assemble_batch",
    "plan_memory",
]


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class FrameMemory:
    """What the bank keeps of one frame, for N objects."""

    maskmem: Tensor  # [N, Cm, h, w], any floating dtype: it is cast when read
    pointer: Tensor  # [N, C]


@dataclass(frozen=True, slots=True)
class MemorySequence:
    """Tokens that memory attention reads: maps first, object pointers last."""

    tokens: Tensor  # [N, L, Cm]
    position: Tensor  # [N or 1, L, Cm]
    pointer_tokens: int  # how many of the L tokens, at the end, are pointers


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Which frames are read, in order. `conditioning` says from which dictionary."""

    maps: tuple[PlannedMap, ...]
    pointers: tuple[PlannedPointer, ...]
    pointer_reach: int  # frames; pointer ages are divided by it

    @property
    def reads(self) -> tuple[PlannedMap | PlannedPointer, ...]:
        """All that is read."""
        return (*self.maps, *self.pointers)

    @property
    def layout(self) -> tuple[int, int]:
        """Number of maps and of pointers; plans of one layout fit in one batch."""
        return len(self.maps), len(self.pointers)

    @property
    def timing(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """What the position codes depend on."""
        return tuple(m.slot for m in self.maps), tuple(p.age for p in self.pointers), self.pointer_reach


@dataclass(frozen=True, slots=True)
class PlannedMap:
    """A memory map to read; slot 0 is prompted, slot s the s-th oldest recent frame."""

    frame: int
    conditioning: bool
    slot: int


@dataclass(frozen=True, slots=True)
class PlannedPointer:
    """An object pointer to read and its signed age in frames."""

    frame: int
    conditioning: bool
    age: int


@dataclass(frozen=True, slots=True)
class MemoryBank:
    """Frame → memory of prompted (`conditioning`) and of tracked (`recent`) frames."""

    conditioning: Mapping[int, FrameMemory]
    recent: Mapping[int, FrameMemory]

    def at(self, frame: int, *, conditioning: bool) -> FrameMemory:
        """Return one entry; KeyError when it is not there."""
        return (self.conditioning if conditioning else self.recent)[frame]


def plan_memory(
    conditioning: Collection[int],
    recent: Collection[int],
    *,
    frame: int,
    frame_count: int,
    config: MemoryConfig,
    reverse: bool = False,
    future_pointers: bool = False,
) -> MemoryPlan:
    """Choose what `frame` attends to among the frames that have memory.

    `conditioning` and `recent` are frame numbers; a frame in neither is skipped. `future_pointers` also takes
    pointers of prompted frames that come later (training does; tracking does not).
    """
    selected = _select_conditioning(conditioning, frame, config.max_conditioning)
    unselected = set(conditioning) - set(selected)

    def source(place: int) -> bool | None:
        """Whether a tracked-frame slot is filled from a prompted frame; None when by no frame."""
        if place in recent:
            return False
        return True if place in unselected else None

    sign = -1 if reverse else 1
    maps = [PlannedMap(t, conditioning=True, slot=0) for t in selected]
    for slot in range(1, config.slots):
        place = _recent_frame(frame, config.slots - slot, config.stride, reverse)
        if (kind := source(place)) is not None:
            maps.append(PlannedMap(place, kind, slot))
    pointers = [
        PlannedPointer(t, conditioning=True, age=(frame - t) * sign)
        for t in selected
        if future_pointers or (frame - t) * sign >= 0
    ]
    reach = min(frame_count, config.max_pointers)
    for age in range(1, reach):
        place = frame - age * sign
        if not 0 <= place < frame_count:
            break
        if (kind := source(place)) is not None:
            pointers.append(PlannedPointer(place, kind, age))
    return MemoryPlan(tuple(maps), tuple(pointers), max(reach - 1, 1))


def _select_conditioning(frames: Collection[int], frame: int, limit: int | None) -> list[int]:
    """All prompted frames, or the closest before, the closest from `frame` on, then the nearest others."""
    if limit is None or len(frames) <= limit:
        return list(frames)
    before = [t for t in frames if t < frame]
    after = [t for t in frames if t >= frame]
    selected = [max(before)] if before else []
    selected += [min(after)] if after else []
    rest = sorted((t for t in frames if t not in selected), key=lambda t: abs(t - frame))
    return selected + rest[: max(limit - len(selected), 0)]


def _recent_frame(frame: int, distance: int, stride: int, reverse: bool) -> int:
    """Frame `distance` memories ago; beyond the previous frame they lie on multiples of the stride."""
    if distance == 1:
        return frame + 1 if reverse else frame - 1
    if reverse:
        return -(-(frame + 2) // stride) * stride + (distance - 2) * stride
    return (frame - 2) // stride * stride - (distance - 2) * stride


def assemble(model: Sam2, plan: MemoryPlan, bank: MemoryBank) -> MemorySequence:
    """Turn a plan into the tokens of the N objects whose memory `bank` holds, in the model's dtype."""
    return assemble_batch(model, [plan], [bank])


def assemble_batch(model: Sam2, plans: Sequence[MemoryPlan], banks: Sequence[MemoryBank]) -> MemorySequence:
    """Like `assemble` for several banks at once, joined along the object axis in the order given.

    Raises ValueError unless all plans have the same layout.
    """
    if len({plan.layout for plan in plans}) != 1:
        raise ValueError(f"memory of different layouts cannot share a batch: {[p.layout for p in plans]}")
    memories = [_Read.of(plan, bank) for plan, bank in zip(plans, banks, strict=True)]
    pointer_tokens = len(plans[0].pointers) * (model.dim // model.mem_dim)
    return MemorySequence(_tokens(model, memories), _position(model, plans, memories), pointer_tokens)


@dataclass(frozen=True, slots=True)
class _Read:
    """The tensors that a plan names, in its order."""

    maps: list[Tensor]  # each [n, Cm, h, w]
    pointers: list[Tensor]  # each [n, C]

    @classmethod
    def of(cls, plan: MemoryPlan, bank: MemoryBank) -> _Read:
        return cls(
            [bank.at(m.frame, conditioning=m.conditioning).maskmem for m in plan.maps],
            [bank.at(p.frame, conditioning=p.conditioning).pointer for p in plan.pointers],
        )


def _tokens(model: Sam2, memories: Sequence[_Read]) -> Tensor:
    """Return [N, L, Cm]: the maps' pixels, then each pointer cut into pieces of Cm channels."""
    dtype = model.maskmem_tpos_enc.dtype
    parts = []
    for maps in zip(*(m.maps for m in memories), strict=True):  # objects are joined first: few large copies
        parts.append(torch.cat(maps).to(dtype).flatten(2).transpose(1, 2))  # N hw Cm
    if memories[0].pointers:
        pointers = torch.cat([torch.cat(m.pointers, dim=1) for m in memories]).to(dtype)  # N P·C
        parts.append(torch.unflatten(pointers, 1, (-1, model.mem_dim)))
    return torch.cat(parts, dim=1)


def _position(model: Sam2, plans: Sequence[MemoryPlan], memories: Sequence[_Read]) -> Tensor:
    """Return [1, L, Cm], or [N, L, Cm] when the objects' memories differ in age."""
    height, width = memories[0].maps[0].shape[-2:]
    codes = {plan.timing: plan for plan in plans}
    positions = {timing: _positions(model, plan, (height, width)) for timing, plan in codes.items()}
    if len(positions) == 1:
        return positions[plans[0].timing]
    counts = [len(memory.maps[0]) for memory in memories]
    return torch.cat([positions[p.timing].expand(n, -1, -1) for p, n in zip(plans, counts, strict=True)])


def _positions(model: Sam2, plan: MemoryPlan, grid: tuple[int, int]) -> Tensor:
    """Return [1, L, Cm]: the sine map with a time code for each map, a code of its age for each pointer."""
    codes = model.maskmem_tpos_enc
    place = model.sine_map(model.mem_dim, *grid).flatten(2).transpose(1, 2)  # 1 hw Cm
    # time codes are stored newest first: index 0 is the previous frame, the last one is for prompted frames
    parts = [place + codes[model.config.memory.slots - 1 - m.slot] for m in plan.maps]  # 1 hw Cm
    if plan.pointers:
        parts.append(_pointer_position(model, plan, copies=model.dim // model.mem_dim))
    return torch.cat(parts, dim=1)


def _pointer_position(model: Sam2, plan: MemoryPlan, copies: int) -> Tensor:
    """Return [1, P·copies, Cm]; zero in version 2.0, which does not tell pointers their age."""
    weight = model.maskmem_tpos_enc
    if model.obj_ptr_tpos_proj is None:
        return weight.new_zeros(1, len(plan.pointers) * copies, model.mem_dim)
    ages = torch.tensor([p.age for p in plan.pointers], dtype=torch.float32, device=weight.device)
    code = sine_1d(ages / plan.pointer_reach, model.dim).to(weight.dtype)
    position: Tensor = model.obj_ptr_tpos_proj(code)  # P Cm
    return position.repeat_interleave(copies, dim=0)[None]
