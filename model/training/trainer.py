"""The training loop: deterministic for a seed, resumable after a kill at any moment, over one process or many.

What a step draws depends on the seed, the step and the clip's number only (`objective.py`), so a run that was killed
goes on from its last saved state and ends with the same weights, bit for bit on the CPU. Under `torchrun` the clips
of a step are shared by the processes; the weights are those of one process up to the order of additions.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from model.errors import TrainingError
from model.files.checkpoints import checkpoint_hash, load_checkpoint, save_checkpoint
from model.network.sam2 import Sam2
from model.training.clips import ClipSource
from model.training.curves import Curve, Row, TensorBoard, read_curve, without_timing
from model.training.distributed import Ranks, join
from model.training.loader import StepLoader
from model.training.objective import ClipSteps, Objective, SegmentObjective, Share, StepSource
from model.training.optimiser import Optimiser, OptimiserConfig
from model.training.preparation import prepare
from model.training.state import States, alone_in
from model.training.train_config import TrainConfig

__all__ = [
    "BAD_BATCH_FILE",
    "CHECKPOINT_FILE",
    "NOTHING",
    "NOT_RESULTS",
    "Progress",
    "Row",
    "RunConfig",
    "TrainConfig",
    "TrainResult",
    "finetune",
    "fingerprint",
    "fit",
    "train",
]

CHECKPOINT_FILE = "checkpoint.safetensors"
BAD_BATCH_FILE = "bad_batch.json"

B = TypeVar("B")
Progress = Callable[[Row], None]

NOT_RESULTS = ("save_every", "keep", "workers")
"""Of a configuration: what may differ when a run is continued."""
NOTHING: Mapping[str, str] = MappingProxyType({})
_PACE_STEPS = 20  # steps over which the time left is estimated


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The checkpoint written, and one row a step for the `training` manifest."""

    checkpoint: Path
    rows: list[Row]


class RunConfig(Protocol):
    """What the loop needs to know of a configuration, which is a dataclass of plain values; `TrainConfig` is one."""

    @property
    def steps(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def save_every(self) -> int: ...
    @property
    def keep(self) -> int: ...
    @property
    def accumulate(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def workers(self) -> int: ...
    def optimiser(self) -> OptimiserConfig:
        """The numbers of the optimiser."""
        ...


def train(
    model: Sam2,
    source: ClipSource | StepSource,
    config: TrainConfig,
    *,
    out_dir: Path,
    replay: ClipSource | None = None,
    resume: bool = True,
    tensorboard: bool = False,
    made_from: Mapping[str, str] = NOTHING,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Trains `model` in place, on its device, and writes `out_dir/checkpoint.safetensors`.

    `source` gives clips, which are drawn by `config` (with `replay` mixed in), or whole steps, as a `Mixture` does.
    See `fit` for the rest.
    """
    return fit(
        _objective(model, source, config, replay),
        config,
        out_dir=out_dir,
        save=lambda path: save_checkpoint(model, path, dict(metadata or {})),
        resume=resume,
        tensorboard=tensorboard,
        made_from=made_from,
        progress=progress,
    )


def finetune(
    checkpoint: Path,
    source: ClipSource | StepSource,
    config: TrainConfig,
    *,
    out_dir: Path,
    replay: ClipSource | None = None,
    image_size: int | None = None,
    device: str | torch.device = "cpu",
    resume: bool = True,
    tensorboard: bool = False,
    made_from: Mapping[str, str] = NOTHING,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Trains the model stored in `checkpoint` on `source`; see `train`.

    `image_size` in pixels trains at another size than the one the model runs at; smaller is faster. The
    checkpoint written keeps the size of the one read.
    """
    model = load_checkpoint(checkpoint, image_size=image_size, device=device)

    def save(path: Path) -> None:
        kept = model if image_size is None else load_checkpoint(checkpoint)
        kept.load_state_dict(model.state_dict())
        save_checkpoint(kept, path, dict(metadata or {}))

    return fit(
        _objective(model, source, config, replay),
        config,
        out_dir=out_dir,
        save=save,
        resume=resume,
        tensorboard=tensorboard,
        made_from={"start": checkpoint_hash(checkpoint), **made_from},
        progress=progress,
    )


def fit(
    objective: Objective[B],
    config: RunConfig,
    *,
    out_dir: Path,
    save: Callable[[Path], None],
    resume: bool = True,
    tensorboard: bool = False,
    made_from: Mapping[str, str] = NOTHING,
    progress: Progress | None = None,
) -> TrainResult:
    """Optimises the objective's network in place, on its device; `save` writes its weights at the end.

    `out_dir` gets the states that a killed run goes on from (`state-STEP.SHA256.pt`), the curve
    (`metrics.parquet`), what `save` writes (`checkpoint.safetensors`), and with `tensorboard` its event files. With
    `resume`, a run of the same configuration is continued from its newest undamaged state. With `ema_decay` the
    network ends with the averaged weights. `progress` is told each step's row, with `step_s` and `eta_s` in
    seconds and `throughput` in objects (or images) a second. `made_from` names what the run is made from beside its
    configuration (start weights, data), each with a hash; states keep it, and a state with another is refused.

    Under `torchrun` every process calls this alike; the first one writes files and tells progress.

    Raises TrainingError when loss or gradient stop being numbers, having written the names of the clips to
    `bad_batch.json`; when the state belongs to another configuration or `made_from`; or when another process trains
    there.
    """
    ranks = join(_device(objective.network))
    with ExitStack() as held:
        if ranks.is_first:
            held.enter_context(alone_in(out_dir))
        run = _Run(objective, config, ranks, out_dir, made_from)
        run.begin(resume=resume)
        log = _Log(out_dir, run.step, config.steps, tensorboard, progress) if ranks.is_first else None
        objective.network.train()
        for batches in held.enter_context(closing(run.batches())):
            row, weight = run.advance(batches)
            if log is not None:
                log.add(row, weight)
                if run.step % config.save_every == 0 or run.step == config.steps:
                    run.save()
                    log.flush()
        run.finish()
        if ranks.is_first:
            save(out_dir / CHECKPOINT_FILE)
        ranks.first_says(run.step)  # nobody goes on before the checkpoint is there
    return TrainResult(out_dir / CHECKPOINT_FILE, without_timing(read_curve(out_dir)))


def _objective(
    model: Sam2, source: ClipSource | StepSource, config: TrainConfig, replay: ClipSource | None
) -> SegmentObjective:
    prepare(model, config)
    if not isinstance(source, StepSource):
        source = ClipSteps(source, config, size=model.image_size, replay=replay)
    return SegmentObjective(model, source, config)


class _Run(Generic[B]):
    """Network, optimiser and step counter of a run: everything that a saved state holds."""

    def __init__(
        self,
        objective: Objective[B],
        config: RunConfig,
        ranks: Ranks,
        out_dir: Path,
        made_from: Mapping[str, str],
    ) -> None:
        self.step = 0
        self._made_from = dict(made_from)
        self._objective = objective
        self._config = config
        self._ranks = ranks
        self._out_dir = out_dir
        self._states = States(out_dir, keep=config.keep)
        self._optimiser = Optimiser(objective.network, config.optimiser(), steps=config.steps)
        self._parameters = [value for value in objective.network.parameters() if value.requires_grad]
        self._lowered = _is_lowered(config.precision, ranks.device)

    def begin(self, *, resume: bool) -> None:
        """Goes on from the newest good state, or starts anew; all processes at the same step."""
        if self._ranks.is_first:
            (self._out_dir / BAD_BATCH_FILE).unlink(missing_ok=True)
            if resume:
                self._restore()
            else:
                self._states.clear()
        self._ranks.equalise(self._objective.network)
        step = self._ranks.first_says(self.step)
        if step > 0 and not self._ranks.is_first:
            self._restore()
        if self.step != step:
            raise TrainingError(
                f"Process {self._ranks.rank} finds no state of step {step} in {self._out_dir}, where the first "
                "process has one: all processes need the same folder."
            )

    def batches(self) -> Generator[list[B], None, None]:
        """This process' parts of the steps to come."""
        parts = self._config.accumulate
        loader = StepLoader(
            _Parts(self._objective.draw, self._shares()),
            start=self.step * parts,
            stop=self._config.steps * parts,
            workers=self._config.workers,
        )
        with loader:
            batch: list[B] = []
            for _, part in loader:
                batch.append(part)
                if len(batch) == parts:
                    yield batch
                    batch = []

    def advance(self, batches: Sequence[B]) -> tuple[Row, float]:
        """One optimiser step over the parts of a batch; its row, and the weight of what all processes saw."""
        rate = self._optimiser.set_rates(self.step)
        weights = [self._objective.weight(batch) for batch in batches]
        (total,) = self._ranks.sum(torch.tensor([sum(weights)], dtype=torch.float64))
        found: list[dict[str, Tensor]] = []
        for share, batch, weight in zip(self._shares(), batches, weights, strict=True):
            # gradients are averaged over processes, so a part counts by its weight among all times their number
            found.append(self._backward(batch, share, weight * self._ranks.world / total))
        values = self._averages(found, weights, total)
        if not math.isfinite(values["loss"]):
            self._stop("loss", values["loss"], batches, found)
        self._ranks.average_gradients(self._parameters)
        norm = self._optimiser.update()
        if not math.isfinite(norm):
            self._stop("gradient", norm, batches, found)
        self.step += 1
        row: Row = {"step": self.step, "split": "train", **values, "lr": rate, "grad_norm": norm}
        return row, total

    def save(self) -> None:
        """Writes the state; on a full disk the last one stays."""
        state = {
            "config": fingerprint(self._config),
            "made_from": self._made_from,
            "step": self.step,
            "network": self._objective.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        self._states.save(self.step, state)

    def finish(self) -> None:
        """Leaves the network ready to be used, with averaged weights if they were kept."""
        averaged = self._optimiser.ema_state()
        if averaged is not None:
            self._objective.network.load_state_dict(averaged)
        self._objective.network.eval()

    def _restore(self) -> None:
        state = self._states.newest()
        if state is None:
            return
        if state["config"] != fingerprint(self._config):
            raise TrainingError(
                f"{self._out_dir} belongs to a run with another configuration; use another folder."
            )
        kept = state.get("made_from", {})  # nothing is known of what older states were made from
        others = [name for name, value in self._made_from.items() if kept.get(name, value) != value]
        if others:
            raise TrainingError(
                f"{self._out_dir} belongs to a run from another {' and another '.join(others)}; use another folder."
            )
        self._objective.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])

    def _shares(self) -> list[Share]:
        """This process' shares of a step, one a part: rank r of R with one part takes the clips r, r + R…"""
        parts, rank, world = self._config.accumulate, self._ranks.rank, self._ranks.world
        return [Share(rank + world * part, world * parts) for part in range(parts)]

    def _backward(self, batch: B, share: Share, scale: float) -> dict[str, Tensor]:
        """Adds the gradients of a part; returns its losses."""
        with _seeded(self._config.seed, self.step, share, self._ranks.device):
            with self._autocast():
                losses = self._objective.losses(batch, self.step)
            (losses.total * scale).backward()  # type: ignore[no-untyped-call]
        return {"loss": losses.total.detach(), **{name: part.detach() for name, part in losses.parts.items()}}

    def _averages(
        self, found: Sequence[Mapping[str, Tensor]], weights: Sequence[float], total: float
    ) -> dict[str, float]:
        """The losses of the whole step, averaged over parts and processes by their weights."""
        names = list(found[0])
        stacked = torch.stack([torch.stack([part[name] for name in names]) for part in found])  # parts, names
        shares = torch.tensor(weights, dtype=torch.float64) / total
        return dict(zip(names, self._ranks.sum(shares @ stacked.cpu().double()), strict=True))

    def _stop(
        self, what: str, value: float, batches: Sequence[B], found: Sequence[Mapping[str, Tensor]]
    ) -> None:
        """Ends the run and names the clips: those of parts whose own loss is no number, or all of them."""
        bad = [
            self._objective.describe(batch)
            for batch, losses in zip(batches, found, strict=True)
            if what != "loss" or not math.isfinite(float(losses["loss"]))
        ]
        clips = ", ".join(text for text in self._ranks.gather(", ".join(bad)) if text)
        if self._ranks.is_first:
            facts = {"step": self.step, "what": what, "value": str(value), "clips": clips.split(", ")}
            (self._out_dir / BAD_BATCH_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        raise TrainingError(
            f"The {what} of step {self.step} is {value}; its clips were {clips} (also in "
            f"{self._out_dir / BAD_BATCH_FILE}). Look at these clips, or train "
            "with a lower learning rate in another folder (--out): this one keeps to its configuration."
        )

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda", torch.bfloat16) if self._lowered else nullcontext()


@dataclass(frozen=True, slots=True)
class _Parts(Generic[B]):
    """Draws the parts of all steps in order, as what `StepLoader` counts."""

    draw: Callable[[int, Share], B]
    shares: Sequence[Share]

    def __call__(self, number: int) -> B:
        step, part = divmod(number, len(self.shares))
        return self.draw(step, self.shares[part])


class _Log:
    """What the first process writes and tells about every step."""

    def __init__(
        self, out_dir: Path, done: int, steps: int, tensorboard: bool, progress: Progress | None
    ) -> None:
        self._curve = Curve(out_dir, steps=done)
        self._board = TensorBoard(out_dir, steps=done) if tensorboard else None
        self._progress = progress
        self._steps = steps
        self._recent: deque[float] = deque(maxlen=_PACE_STEPS)
        self._since = time.perf_counter()

    def add(self, row: Row, weight: float) -> None:
        """Records a step that saw `weight` objects or images."""
        now = time.perf_counter()
        step_s, self._since = now - self._since, now
        self._recent.append(step_s)
        timed: Row = {**row, "step_s": step_s, "throughput": weight / step_s}
        self._curve.add(timed)
        if self._board is not None:
            self._board.add(timed)
        if self._progress is not None:
            pace = sum(self._recent) / len(self._recent)
            self._progress({**timed, "eta_s": pace * (self._steps - int(row["step"]))})

    def flush(self) -> None:
        """Brings the files up to date."""
        self._curve.flush()
        if self._board is not None:
            self._board.flush()


@contextmanager
def _seeded(seed: int, step: int, share: Share, device: torch.device) -> Iterator[None]:
    """Dropout and drop path follow the step and the share, not the process and its past."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        rng = np.random.default_rng([seed, step, 2**32 - 2, share.index])
        torch.manual_seed(int(rng.integers(2**62)))
        yield


def _is_lowered(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16, which trains on CUDA only: CPUs are slower in it, MPS does not support it."""
    if precision == "bfloat16" and device.type != "cuda":
        raise TrainingError(
            f"Training in bfloat16 needs CUDA; use precision auto or float32 on {device.type}."
        )
    return precision != "float32" and device.type == "cuda" and torch.cuda.is_bf16_supported()


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def fingerprint(config: RunConfig) -> str:
    """SHA-256 of all numbers of a configuration that decide the result: what tells runs apart."""
    plain: dict[str, Any] = asdict(config)  # type: ignore[call-overload]  # a dataclass, as RunConfig says
    kept = {name: value for name, value in plain.items() if name not in NOT_RESULTS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
