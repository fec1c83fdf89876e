"""AdamW as SAM 2 is trained with it: rates by layer, no weight decay on biases and LayerNorm, clipped gradients.

The trunk's layers learn the slower the nearer they are to the pixels; position embeddings learn at the encoder's full
rate (SAM 2 paper, appendix C.2; the published fine-tuning recipe). A moving average of the weights may be kept beside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import TrainingError
from model.training.schedules import SCHEDULES, Schedule, rate

ENCODER = "image_encoder."
TRUNK = "image_encoder.trunk."


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """Numbers of AdamW and of its schedule. Rates are peaks; `warmup` and `cooldown` are steps."""

    lr: float = 2e-4  # everything but the image encoder
    encoder_lr: float = 1e-4
    schedule: Schedule = "cosine"
    lr_end: float = 0.1  # the cosine's end as a share of the peak
    warmup: int = 0
    cooldown: int = 0  # linear to zero over the last steps
    timescale: int = 1000  # of "rsqrt", in steps
    weight_decay: float = 0.05
    layer_decay: float = 1.0  # rate of a trunk layer as a share of the next one's; 1: all alike
    clip_norm: float = 1.0  # longest gradient (ℓ2 over all parameters); 0: not clipped
    betas: tuple[float, float] = (0.9, 0.999)
    ema_decay: float = 0.0  # of the moving average of the weights; 0: none is kept

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise TrainingError(f"schedule {self.schedule!r} is unknown; use one of {', '.join(SCHEDULES)}.")

    def share(self, step: int, *, steps: int) -> float:
        """Share of the peak rates at `step` (from 0) of a run of `steps`."""
        return rate(
            step,
            steps=steps,
            schedule=self.schedule,
            warmup=self.warmup,
            cooldown=self.cooldown,
            end=self.lr_end,
            timescale=self.timescale,
        )


class Optimiser:
    """AdamW over a network's trainable parameters, with its schedule, clipping and moving average.

    One step: `set_rates(step)`, gradients, `update()`.
    """

    def __init__(self, network: nn.Module, config: OptimiserConfig, *, steps: int) -> None:
        self._config = config
        self._steps = steps
        self._groups = _parameter_groups(network, config)
        if not self._groups:
            raise TrainingError("Nothing of the network is trainable.")
        self._adamw = torch.optim.AdamW(
            [{key: group[key] for key in ("params", "lr", "weight_decay")} for group in self._groups],
            betas=config.betas,
            fused=True,
        )
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._average = MovingAverage(network, config.ema_decay) if config.ema_decay else None

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """AdamW's groups: `params`, the rate of now `lr`, `weight_decay`."""
        return self._adamw.param_groups

    def set_rates(self, step: int) -> float:
        """Sets every group's rate for `step`, counted from 0; returns the base rate."""
        share = self._config.share(step, steps=self._steps)
        for ours, group in zip(self._groups, self._adamw.param_groups, strict=True):
            group["lr"] = ours["lr"] * share
        return self._config.lr * share

    def update(self) -> float:
        """Clips the gradients, makes a step, clears the gradients; returns the norm before clipping."""
        limit = self._config.clip_norm or float("inf")
        norm = nn.utils.clip_grad_norm_(self._parameters, limit)
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update()
        return float(norm)

    def ema_state(self) -> dict[str, Tensor] | None:
        """The network's state dict with averaged weights, None when no average is kept."""
        return None if self._average is None else self._average.network_state()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as tensors and plain values."""
        average = None if self._average is None else self._average.state_dict()
        return {"adamw": self._adamw.state_dict(), "average": average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        self._adamw.load_state_dict(state["adamw"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])


class MovingAverage:
    """Exponential moving average of a network's floating-point state.

    Update n uses the decay (1 + n) / (10 + n) while that is smaller, so that a young average follows the weights
    instead of remembering where they began.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network = network
        self._decay = decay
        self._updates = 0
        self._values = {name: value.detach().clone() for name, value in self._floats()}

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the weights as they are now."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        for name, value in self._floats():
            self._values[name].lerp_(value.detach(), 1.0 - decay)
        self._updates += 1

    def network_state(self) -> dict[str, Tensor]:
        """The network's whole state dict with the averages in it, as copies."""
        averages = {name: value.clone() for name, value in self._values.items()}
        return {**self._network.state_dict(), **averages}

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from."""
        return {"updates": self._updates, "values": self._values}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        self._updates = int(state["updates"])
        for name, value in state["values"].items():
            self._values[name].copy_(value)

    def _floats(self) -> Iterator[tuple[str, Tensor]]:
        states = self._network.state_dict().items()
        return ((name, value) for name, value in states if value.is_floating_point())


def layer_scale(name: str, *, depth: int, decay: float) -> float:
    """Share of the encoder's rate at which a parameter learns: decay^(depth + 1 - id) in a trunk of `depth` blocks.

    The id is 0 for the patch embedding, i + 1 for block i; position embeddings and everything outside the trunk learn
    at the full rate.
    """
    if not name.startswith(TRUNK) or "pos_embed" in name:
        return 1.0
    layer = name.removeprefix(TRUNK)
    if layer.startswith("patch_embed"):
        return decay ** (depth + 1)
    if block := re.match(r"blocks\.(\d+)\.", layer):
        return float(decay ** (depth - int(block[1])))
    return 1.0


def _parameter_groups(network: nn.Module, config: OptimiserConfig) -> list[dict[str, Any]]:
    """Parameters with equal peak rate and weight decay, a group each, in a fixed order."""
    undecayed = _layer_norms(network)
    depth = _trunk_depth(network)
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            peak = config.encoder_lr if name.startswith(ENCODER) else config.lr
            peak *= layer_scale(name, depth=depth, decay=config.layer_decay)
            free = "bias" in name or name in undecayed
            groups.setdefault((peak, 0.0 if free else config.weight_decay), []).append(parameter)
    return [
        {"params": parameters, "lr": peak, "weight_decay": decay}
        for (peak, decay), parameters in groups.items()
    ]


def _layer_norms(network: nn.Module) -> set[str]:
    """Names of the parameters of `nn.LayerNorm`; the published recipe decays those of `LayerNorm2d`."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters(recurse=False)
    }


def _trunk_depth(network: nn.Module) -> int:
    found = [re.match(re.escape(TRUNK) + r"blocks\.(\d+)\.", name) for name, _ in network.named_parameters()]
    return 1 + max((int(match[1]) for match in found if match), default=-1)
