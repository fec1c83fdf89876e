"""How to train, as data: every number of a run, with the range it may have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from model.errors import TrainingError
from model.training.optimiser import OptimiserConfig
from model.training.prompt_simulation import PromptRecipe
from model.training.schedules import SCHEDULES, Schedule

__all__ = ["CHOICES", "MODES", "PRECISIONS", "RANGES", "TrainConfig"]

MODES = ("masks", "all")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How to train. Lengths in steps; learning rates are peaks of the schedule."""

    # what a step sees
    steps: int = 200
    mode: str = "all"  # "masks": only mask prompts (SAM 2 Mask); "all": masks, boxes, clicks and corrections
    frames: int = 4  # frames of a clip
    objects: int = 3  # most objects of a clip
    clips_per_step: int = 4
    still_share: float = 0.25  # "all" only: share of steps on single frames, which teach clicks cheaply
    replay_share: float = 0.0  # share of steps on the replay source, with all prompts whatever the mode
    seed: int = 0

    # simulated prompts (SAM 2 paper, appendix C.2)
    point_probability: float = 0.5  # clicks or boxes rather than masks
    box_probability: float = 0.5  # a box rather than a click, given points
    truth_click_probability: float = 0.1  # a corrective click drawn from the object, not from the error
    initial_frames: int = 2  # most frames prompted at the start
    random_initial_frames: bool = True  # 1 to that many; false: always that many
    corrected_frames: int = 2  # most frames that get corrective clicks
    random_corrected_frames: bool = True  # the prompted ones to that many; false: always that many
    correction_clicks: int = 3  # corrective clicks on each corrected frame (SAM 2 draws 7)
    corrected_as_conditioning: bool = True  # later frames remember a corrected frame like a prompted one
    box_noise: float = 0.1  # most a box's coordinate moves, as a share of its side
    box_noise_px: float = 20.0  # and in pixels
    multimask: bool = True  # three candidates where a prompt is ambiguous; off while a model is young

    # optimiser
    lr: float = 2e-4
    encoder_lr: float = 1e-4
    schedule: Schedule = "cosine"
    lr_end: float = 0.1  # where the cosine ends, as a share of the peak
    warmup: int = 20  # steps over which rates rise linearly
    cooldown: int = 0  # last steps, over which rates go to zero linearly
    timescale: int = 1000  # of the "rsqrt" schedule
    weight_decay: float = 0.05
    layer_decay: float = 1.0  # rate of a trunk layer as a share of the next one's; 1: all alike
    clip_norm: float = 1.0  # longest gradient; 0: not clipped
    betas: tuple[float, float] = (0.9, 0.999)  # AdamW's averages of the gradient and of its square
    ema_decay: float = 0.0  # of the moving average of the weights; 0: none
    accumulate: int = 1  # equal parts that a step's clips are worked on in; saves memory, not time

    # network and machine
    drop_path: float | None = None  # highest chance of skipping a trunk block; None: the network's own
    freeze_encoder: bool = False
    precision: str = "auto"  # bfloat16 on CUDA, float32 elsewhere
    checkpoint_activations: bool = False  # computes corrective clicks twice to keep less in memory
    workers: int = 0  # processes that read clips; 0: none, the trainer reads
    save_every: int = 200  # steps between saved states; the last step is always saved
    keep: int = 2  # saved states that are kept

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))  # a list where it was read from a file
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise TrainingError(
                    f"{name} {getattr(self, name)!r} is unknown; use one of {', '.join(known)}."
                )
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None and not low <= number <= high:
                    raise TrainingError(f"{name} must be {_words(low, high)}, got {number}.")
        for name in ("lr", "encoder_lr"):
            if not math.isfinite(getattr(self, name)):
                raise TrainingError(f"{name} must be a finite number, got {getattr(self, name)}.")
        if max(self.betas) >= 1:
            raise TrainingError(f"betas must be below 1, got {max(self.betas)}: such an average never moves.")

    def recipe(self, mode: str | None = None) -> PromptRecipe:
        """The prompts that a mode simulates, by default this configuration's."""
        prompts = PromptRecipe(**{name: getattr(self, name) for name in _PROMPTS})
        if (mode or self.mode) == "masks":
            return replace(prompts, point_probability=0.0, corrected_frames=1, correction_clicks=0)
        return prompts

    def optimiser(self) -> OptimiserConfig:
        """The numbers of the optimiser."""
        return OptimiserConfig(**{item.name: getattr(self, item.name) for item in fields(OptimiserConfig)})


_PROMPTS = {item.name for item in fields(PromptRecipe)} & {item.name for item in fields(TrainConfig)}

_ANY = float("inf")
_POSITIVE = """
    steps frames objects clips_per_step initial_frames corrected_frames timescale accumulate save_every keep
"""
_NOT_NEGATIVE = """
    seed correction_clicks box_noise box_noise_px lr encoder_lr warmup cooldown weight_decay clip_norm workers
"""
_SHARES = """
    still_share replay_share point_probability box_probability truth_click_probability
    lr_end layer_decay betas ema_decay drop_path
"""
RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        **dict.fromkeys(_POSITIVE.split(), (1, _ANY)),
        **dict.fromkeys(_NOT_NEGATIVE.split(), (0, _ANY)),
        **dict.fromkeys(_SHARES.split(), (0, 1)),
    }
)
"""What each number may be: lowest and highest value."""

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"mode": MODES, "schedule": SCHEDULES, "precision": PRECISIONS}
)
"""What each word may be."""


def _words(low: float, high: float) -> str:
    return f"at least {low}" if high == _ANY else f"from {low} to {high}"
