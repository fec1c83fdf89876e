"""The engine's settings: one typed object from `engine.toml`, the environment and flags.

Later sources win: defaults < `engine.toml` in the home < environment (`ENGINE_ROUND__VIDEOS=4` sets `round.videos`)
< flags. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from annotation.pages.views import TaskLimits
from annotation.simulated import SimulationConfig, TimeModel
from engine.errors import SettingsError
from model.image.auto_config import AutoMaskletConfig
from qa.gate import GateConfig
from qa.verifier_config import VerifierConfig

ENV_PREFIX = "ENGINE_"
ENV_DELIMITER = "__"
NOT_SETTINGS = frozenset({"ENGINE_HOME"})
"""Environment variables with our prefix that are not settings."""


class Section(BaseModel):
    """One table of `engine.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StorageSettings(Section):
    """Where bytes and tables live. These never enter a manifest."""

    store_url: str = Field(
        "", description="Object store: a folder or s3://bucket/prefix. Empty: <home>/store."
    )
    database_url: str = Field("", description="SQLAlchemy URL of the catalog. Empty: SQLite in the home.")


class IngestSettings(Section):
    """How videos are taken in."""

    annotate_fps: float = Field(6.0, gt=0, description="Annotated frames per second of video.")
    max_frames: int = Field(100_000, gt=0, description="Longest video accepted, in source frames.")
    max_megapixels: float = Field(40.0, gt=0, description="Largest frame accepted, in megapixels.")


class ModelSettings(Section):
    """The network people are helped by."""

    checkpoint: str = Field(
        "",
        description="Weights the first round starts from: a file, or a name that was pulled. Empty: the packaged nano.",
    )
    sam_checkpoint: str = Field(
        "",
        description="SAM 1 weights, as above, for masks on single frames (phases 1 and 2). "
        "Empty: the network itself does it. A round keeps their SHA-256.",
    )
    image_size: int = Field(0, ge=0, description="Input side in pixels. 0: as the checkpoint says.")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Where networks run: cpu, cuda, cuda:N or mps. auto: cuda, else mps, else cpu.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Arithmetic of networks. auto: bfloat16 on CUDA, float32 elsewhere."
    )
    compile: bool = Field(
        False, description="Compile networks with torch.compile (a minute at the start; meant for GPUs)."
    )
    threads: int = Field(0, ge=0, description="CPU threads of torch. 0: torch's default.")


class RoundSettings(Section):
    """How much a round takes on."""

    videos: int = Field(4, gt=0, description="Videos a round plans for.")
    objects_per_video: int = Field(2, gt=0, description="Objects to be selected in each planned video.")
    control_objects: int = Field(
        2, ge=0, description="Phase-1 objects annotated again in phases 2 and 3 to measure alignment."
    )
    seed: int = Field(0, ge=0, description="Seed of every random choice of the round.")
    lease_s: float = Field(
        300.0, gt=0, description="A shard's lease; a dead worker's shard is free after it."
    )
    max_reannotations: int = Field(3, ge=0, description="Times an unsatisfactory masklet goes back.")


class PeopleSettings(Section):
    """Who works on rounds."""

    kind: Literal["simulated", "label-studio"] = Field(
        "simulated",
        description="`simulated` people work from reference masks; `label-studio` gives the work to real ones.",
    )
    annotators: tuple[str, ...] = Field(
        ("annotator-1", "annotator-2", "annotator-3"), min_length=1, description="Who selects and annotates."
    )
    verifiers: tuple[str, ...] = Field(("verifier-1", "verifier-2"), min_length=1, description="Who judges.")


class AutoSettings(Section):
    """Automatic masklets: which videos, and what becomes of failures."""

    videos: int = Field(2, ge=0, description="Planned videos that are mined in a round of phase 3.")
    max_masklets_per_video: int = Field(12, gt=0, description="Candidates sent to verification per video.")
    known_iou: float = Field(
        0.5, gt=0, le=1, description="First-frame IoU with a known masklet that drops one."
    )
    failure_share: float = Field(
        0.25, ge=0, le=1, description="Share of unsatisfactory candidates that people refine."
    )


class RetrainSettings(Section):
    """The training run at the end of a round."""

    enabled: bool = Field(
        True, description="Whether rounds retrain at all. Off: they collect data with the weights they have."
    )
    steps: int = Field(100, gt=0, description="Optimiser steps.")
    frames: int = Field(4, gt=1, description="Frames in a training clip.")
    objects: int = Field(3, gt=0, description="Masklets in a training clip at most.")
    clips_per_step: int = Field(4, gt=0, description="Clips an optimiser step sees.")
    lr: float = Field(1e-4, gt=0, description="Peak learning rate of all but the image encoder.")
    encoder_lr: float = Field(5e-5, ge=0, description="Peak learning rate of the image encoder.")
    warmup: int = Field(10, ge=0, description="Steps over which the learning rate rises.")
    replay_share: float = Field(
        0.4,
        ge=0,
        lt=1,
        description="Share of steps with prompts of every kind, so that no skill is forgotten.",
    )
    synthetic_share: float = Field(0.75, ge=0, lt=1, description="Share of drawn clips in those steps.")
    image_size: int = Field(
        0, ge=0, description="Input side while training; smaller is faster. 0: the model's."
    )
    save_every: int = Field(25, gt=0, description="Steps between resumable states.")
    processes: int = Field(
        1,
        ge=0,
        description="Processes that train together, each on its own GPU or share of the cores. They end with the "
        "round's process, which the next run of the round makes good. 0: the round's process trains by itself.",
    )
    tensorboard: bool = Field(
        False, description="Write event files for TensorBoard, which must be installed."
    )


class EvaluateSettings(Section):
    """The evaluation after retraining, on the frozen set and the retention set."""

    protocols: tuple[str, ...] = Field(
        ("mask", "3-click"), min_length=1, description="Prompts on the first frame: mask, box, N-click."
    )
    retention_clips: int = Field(
        12, ge=0, description="Drawn clips in the retention set, which shows what a new model has forgotten."
    )
    online_objects: int = Field(
        5,
        ge=0,
        description="Objects of each set whose correction by a simulated annotator is timed. 0: none is.",
    )


class StudioSettings(Section):
    """Label Studio and the model server on this machine. Nothing here changes a result, nor enters a manifest."""

    host: str = Field(
        "127.0.0.1", description="Address Label Studio listens on. Only this machine reaches 127.0.0.1."
    )
    port: int = Field(8080, gt=0, lt=65536, description="Port of Label Studio.")
    model_port: int = Field(
        9090, gt=0, lt=65536, description="Port of the model server, always on 127.0.0.1."
    )
    public_url: str = Field(
        "",
        description="Address at which browsers reach Label Studio, where a proxy or tunnel stands before it. "
        "Empty: its own address.",
    )
    database_url: str = Field(
        "",
        description="Label Studio's database, postgresql://user:password@host:port/name. Empty: SQLite in the home, "
        "for about three people at once.",
    )
    version: str = Field("1.23.2", pattern=r"^[0-9][0-9a-z.]*$", description="Version of Label Studio.")
    environment: str = Field(
        "",
        description="Folder of Label Studio's own Python environment. Empty: made once in the user's cache folder.",
    )
    workers: int = Field(2, gt=0, description="Processes that serve Label Studio, about 300 MB each.")
    threads: int = Field(16, gt=0, description="Requests each of them answers at once; a click holds one.")


class Settings(BaseSettings):
    """All settings of one engine home."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER, extra="forbid", frozen=True
    )

    storage: StorageSettings = StorageSettings()
    ingest: IngestSettings = IngestSettings()
    model: ModelSettings = ModelSettings()
    round: RoundSettings = RoundSettings()
    people: PeopleSettings = PeopleSettings()
    tasks: TaskLimits = Field(default_factory=TaskLimits)
    time: TimeModel = Field(default_factory=TimeModel)
    simulation: SimulationConfig = Field(default_factory=SimulationConfig)
    verifier: VerifierConfig = Field(default_factory=VerifierConfig)
    auto: AutoSettings = AutoSettings()
    grid: AutoMaskletConfig = Field(default_factory=AutoMaskletConfig)
    retrain: RetrainSettings = RetrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    gate: GateConfig = Field(default_factory=GateConfig)
    studio: StudioSettings = StudioSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Everything arrives by `load_settings`, which merges the sources itself to name bad keys well."""
        return (init_settings,)

    def overridden(self, flags: Mapping[str, Any]) -> Settings:
        """These settings with some keys replaced (dotted names; None leaves a key as it is), validated again."""
        values = self.model_dump(mode="json")
        for key, value in flags.items():
            if value is not None:
                _check_known(key, "a flag")
                _set(values, key, value)
        return _validated(values)

    def snapshot(self) -> dict[str, Any]:
        """What decides a round's results: all but where things are stored, computed and shown: no secret."""
        machine = {"threads", "device", "compile"}
        training = {"processes", "tensorboard"}
        return self.model_dump(
            mode="json",
            exclude={"storage": True, "studio": True, "model": machine, "retrain": training},
        )

    def hash(self) -> str:
        """SHA-256 of the snapshot's canonical JSON."""
        text = json.dumps(self.snapshot(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def load_settings(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Read settings from `engine.toml` at `path`, the environment and flags (dotted names, `{"round.videos": 4}`).

    Raises SettingsError naming the source, the key, what was wrong, and for an unknown key the nearest known one.
    """
    merged: dict[str, Any] = {}
    for source, values in _sources(path, os.environ if environ is None else environ, flags or {}):
        for key, value in values:
            _check_known(key, source)
            _set(merged, key, value)
    return _validated(merged)


def known_keys() -> tuple[str, ...]:
    """Every setting's dotted name, sorted."""
    return tuple(sorted(key for key, _ in _flatten(Settings().model_dump(mode="json"))))


def _sources(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]
) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    if path is not None:
        yield str(path), list(_flatten(_read_toml(path)))
    prefixed = [name for name in environ if name.startswith(ENV_PREFIX) and name not in NOT_SETTINGS]
    yield (
        "the environment",
        [
            (name.removeprefix(ENV_PREFIX).lower().replace(ENV_DELIMITER, "."), _parse(environ[name]))
            for name in prefixed
        ],
    )
    yield "a flag", [(key, value) for key, value in flags.items() if value is not None]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist. Run `engine init` to make a home.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _parse(text: str) -> Any:
    """A value from the environment: JSON where it parses (numbers, lists, true), plain text otherwise."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _check_known(key: str, source: str) -> None:
    known = known_keys()
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    raise SettingsError(f"Unknown setting `{key}` in {source}. The nearest known one is `{near[0]}`.")


def _set(target: dict[str, Any], key: str, value: Any) -> None:
    *tables, name = key.split(".")
    for table in tables:
        target = target.setdefault(table, {})
    target[name] = value


def _validated(values: dict[str, Any]) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        lines.append(f"Setting `{key}` is {item['input']!r}: {item['msg']}.")
    return "\n".join(lines)
