"""How to train, as data: the configuration of a run, and recipes made of such runs."""

from __future__ import annotations

from dataclasses import dataclass, fields

from model.errors import TrainingError
from model.training.optimiser import OptimiserConfig
from model.training.prompt_simulation import PromptRecipe
from model.training.schedules import SCHEDULES, Schedule

__all__ = ["MODES", "PRECISIONS", "TrainConfig"]

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
    corrected_frames: int = 2  # most frames that get corrective clicks
    correction_clicks: int = 3  # corrective clicks on each corrected frame (SAM 2 draws 7)
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
        _one_of("mode", self.mode, MODES)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, PRECISIONS)
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise TrainingError(f"{name} must be {_range(low, high)}, got {value}.")

    def recipe(self, mode: str | None = None) -> PromptRecipe:
        """The prompts that a mode simulates, by default this configuration's."""
        if (mode or self.mode) == "masks":
            return PromptRecipe.masks_only(multimask=self.multimask)
        return PromptRecipe(
            point_probability=self.point_probability,
            box_probability=self.box_probability,
            truth_click_probability=self.truth_click_probability,
            initial_frames=self.initial_frames,
            corrected_frames=self.corrected_frames,
            correction_clicks=self.correction_clicks,
            multimask=self.multimask,
        )

    def optimiser(self) -> OptimiserConfig:
        """The numbers of the optimiser."""
        return OptimiserConfig(**{field.name: getattr(self, field.name) for field in _SHARED})


_SHARED = [
    field for field in fields(OptimiserConfig) if field.name in {own.name for own in fields(TrainConfig)}
]

_ANY = float("inf")
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        (
            "steps",
            "frames",
            "objects",
            "clips_per_step",
            "initial_frames",
            "corrected_frames",
            "timescale",
            "accumulate",
            "save_every",
            "keep",
        ),
        (1, _ANY),
    ),
    **dict.fromkeys(
        (
            "correction_clicks",
            "lr",
            "encoder_lr",
            "warmup",
            "cooldown",
            "weight_decay",
            "clip_norm",
            "workers",
            "seed",
        ),
        (0, _ANY),
    ),
    **dict.fromkeys(
        (
            "still_share",
            "replay_share",
            "point_probability",
            "box_probability",
            "truth_click_probability",
            "lr_end",
            "layer_decay",
            "ema_decay",
            "drop_path",
        ),
        (0, 1),
    ),
}


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise TrainingError(f"{name} {value!r} is unknown; use one of {', '.join(known)}.")


def _range(low: float, high: float) -> str:
    return f"at least {low}" if high == _ANY else f"{low} to {high}"
