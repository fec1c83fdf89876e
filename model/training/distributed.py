"""Several processes that train one network: each takes its share of every step's clips, gradients are averaged.

Started by `torchrun` (`python -m torch.distributed.run --nproc-per-node N …`), which tells each process its rank;
without it a process is alone. Processes talk by NCCL on CUDA and by gloo elsewhere.
"""

from __future__ import annotations

import atexit
import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.errors import TrainingError
from model.runtime import pick_device

__all__ = ["Ranks", "join", "training_device"]

BUCKET = 8_000_000
"""Numbers that are sent at once, 32 MB of float32."""


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

    @torch.no_grad()
    def equalise(self, network: nn.Module) -> None:
        """Gives every process the first one's weights, should they differ."""
        if self.world > 1:
            for value in network.state_dict().values():
                dist.broadcast(value, src=0)

    @torch.no_grad()
    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Averages gradients over processes, as DDP does, at once when a step's backward passes are over.

        Which parameters a step uses depends on its prompts: one that only some processes used counts as zero in the
        others, and one that none used keeps no gradient, as in a single process.
        """
        if self.world == 1:
            return
        used = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32)
        used = used.to(self.device)
        dist.all_reduce(used, dist.ReduceOp.MAX)
        shared = [parameter for parameter, flag in zip(parameters, used.tolist(), strict=True) if flag]
        for bucket in _buckets(shared):
            gradients = [_gradient(parameter) for parameter in bucket]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            flat /= self.world
            parts = torch.split(flat, [gradient.numel() for gradient in gradients])
            for parameter, part in zip(bucket, parts, strict=True):
                parameter.grad = part.view_as(parameter)

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


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Runs of parameters of one kind of number, each of about `BUCKET` numbers: a message costs time of its own."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        full = sum(member.numel() for member in bucket) >= BUCKET
        if bucket and (full or bucket[0].dtype != parameter.dtype):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


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
        # Its functions keep the group of the moment they are first imported as a default. Imported later, by the
        # optimiser say, they would keep ours, and its threads, beyond the interpreter's end, which aborts at times.
        importlib.import_module("torch.distributed.nn")
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
        index, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if index >= count:
            raise TrainingError(
                f"More processes train on this machine than it has GPUs ({count}): lower their number."
            )
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    return device
