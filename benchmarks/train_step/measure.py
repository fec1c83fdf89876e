"""Both sides in one process, step by step in turn: what disturbs the machine for a while disturbs both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.train_step.batches import draw_batch
from benchmarks.train_step.rows import StepRow
from model.allocator import keep_freed_memory, suits
from model.files.checkpoints import default_checkpoint, load_checkpoint
from model.losses import frame_losses
from model.network.sam2 import Sam2
from model.training.batch import Batch
from model.training.prompt_simulation import simulate

__all__ = ["Comparison", "OurStep", "compare", "weights_of"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Steps of one row: seconds of CPU and of the clock, one entry a repeat; the two losses."""

    cpu: dict[str, list[float]]
    wall: dict[str, list[float]]
    losses: dict[str, float]

    @property
    def difference(self) -> float:
        """Of the two losses, as a share of the official one."""
        ours, official = self.losses["ours"], self.losses["official"]
        return abs(ours - official) / max(1e-12, abs(official))

    def ratio(self) -> tuple[float, float, float]:
        """Official CPU time ÷ ours: the median of the pairs, and a 95 % bootstrap interval of it."""
        pairs = np.array(self.cpu["official"]) / np.array(self.cpu["ours"])
        draws = np.random.default_rng(0).choice(pairs, (2000, len(pairs)))
        low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
        return statistics.median(pairs), float(low), float(high)


class OurStep:
    """Our network in training mode, with everything random switched off."""

    def __init__(self, row: StepRow, weights: Path) -> None:
        self.row = row
        self.network: Sam2 = load_checkpoint(weights, size=row.size, image_size=row.image_size).train()
        for module in self.network.modules():
            for name in ("dropout", "rate", "p"):
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, 0.0)

    def loss(self, batch: Batch) -> Tensor:
        """The total loss of a step."""
        answers = simulate(self.network, batch, self.row.plan, self.row.recipe)
        terms = [frame_losses(steps, batch.masks[frame][:, None]) for frame, steps in answers.items()]
        return sum((term.total() for term in terms), torch.zeros(()))


def weights_of(row: StepRow, cache: Path) -> Path:
    """The file that both sides load: the packaged weights of nano, random ones of other sizes."""
    path = cache / "weights" / f"{row.size}-step.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if row.size == "nano":
            torch.save({"model": load_checkpoint(default_checkpoint()).state_dict()}, path)
        else:
            from benchmarks.compare.weights import write_weights

            write_weights(row.size, path)
    return path


def compare(row: StepRow, cache: Path, *, repeats: int) -> Comparison:
    """Time both sides of a row on one thread; the first pair of steps warms up and is compared, not timed."""
    from benchmarks.train_step.official import OfficialStep

    torch.set_num_threads(1)
    if suits(row.image_size):
        keep_freed_memory()  # for both sides
    weights = weights_of(row, cache)
    ours, official = OurStep(row, weights), OfficialStep(row, weights)
    batch = draw_batch(row)
    steps: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {
        "ours": (ours.network, lambda: ours.loss(batch)),
        "official": (official.network, lambda: official.loss(ours.network, batch)),
    }
    result = Comparison({"ours": [], "official": []}, {"ours": [], "official": []}, {})
    for repeat in range(repeats + 1):
        for side in _order(list(steps), repeat):
            loss, cpu, wall = _timed(*steps[side])
            result.losses[side] = loss
            if repeat:
                result.cpu[side].append(cpu)
                result.wall[side].append(wall)
    return result


def _order(sides: Sequence[str], repeat: int) -> Sequence[str]:
    return sides if repeat % 2 else list(reversed(sides))


def _timed(network: nn.Module, forward: Callable[[], Tensor]) -> tuple[float, float, float]:
    """Loss, CPU seconds and wall seconds of a forward and a backward pass."""
    network.zero_grad(set_to_none=True)
    cpu, wall = time.process_time(), time.perf_counter()
    loss = forward()
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach()), time.process_time() - cpu, time.perf_counter() - wall
