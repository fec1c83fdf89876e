"""Several processes that train one network: each takes its share of every step's clips, gradients are averaged.

Started by `torchrun` (`python -m torch.distributed.run --nproc-per-node N …`), which tells each process its rank;
without it a process is alone. Processes talk by NCCL on CUDA and by gloo elsewhere.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model.errors import TrainingError
from model.runtime import pick_device

__all__ = ["Ranks", "join", "training_device"]


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together: its rank of `world`, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over processes as they are computed; itself where there is only one.

        Which parameters a step uses depends on its prompts, so unused ones are looked for (as in SAM 2's published
        training); one that no process used keeps no gradient, as in a single process.
        """
        if self.world == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=True, broadcast_buffers=False)

    def sum(self, numbers: Tensor) -> list[float]:
        """Sums of float64 [K] over all processes, the same bits in each; not a number where any is not."""
        if self.world > 1:
            numbers = numbers.to(self.device)
            dist.all_reduce(numbers)
        return [float(number) for number in numbers.tolist()]

    def gather(self, text: str) -> list[str]:
        """Every process' text, by rank."""
        if self.world == 1:
            return [text]
        texts: list[str | None] = [None] * self.world
        dist.all_gather_object(texts, text)
        return [text or "" for text in texts]

    def first_says(self, value: int) -> int:
        """The value that the first process has."""
        if self.world == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


def join(device: torch.device) -> Ranks:
    """This process among those that `torchrun` started, alone without it; `device` is where its network is.

    Raises TrainingError where several processes were started on a device that cannot train together.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks(0, 1, device)
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(
            f"Several processes train together on CUDA or the CPU only, not on {device.type}."
        )
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return Ranks(dist.get_rank(), dist.get_world_size(), device)


def training_device(name: str = "auto") -> torch.device:
    """Where to train: "auto" is CUDA where there is a GPU, else the CPU; any other name is taken as it is.

    Of several processes on one machine each takes its own GPU. "auto" leaves MPS out, which lacks backward passes
    that SAM 2 needs.
    """
    device = pick_device(name)
    if name == "auto" and device.type == "mps":
        return torch.device("cpu")
    if device.type == "cuda" and ":" not in name:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device
