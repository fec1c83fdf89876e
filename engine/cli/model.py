"""`engine model …`: list, pull, info, check, train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.show import err, next_step, out, print_json, print_table, say
from engine.errors import RoundError, SettingsError
from engine.home import EngineHome
from engine.phases import PromptMode

if TYPE_CHECKING:
    from model.training.trainer import Row as TrainRow

DONE, FAILED = 0, 1


def info(checkpoint: Path | None, *, as_json: bool) -> int:
    """Print what a weights file holds; returns the exit code, FAILED when no network takes it."""
    from model.files.checkpoint_report import describe_checkpoint
    from model.files.checkpoints import default_checkpoint

    report = describe_checkpoint(checkpoint or default_checkpoint())
    facts = {
        "file": str(report.path),
        "what": report.verdict,
        "loads": not report.differences,
        "sha256": report.sha256,
        "bytes": report.byte_count,
        "family": report.family,
        "size": report.size,
        "image_size": report.image_size,
        "parameters": report.parameters,
        "keys": report.keys,
        "layout": report.layout,
        "official": report.official.name if report.official else "",
        "differences": report.differences,
        "metadata": dict(report.metadata),
    }
    if as_json:
        print_json(facts)
    else:
        print_table(("what", "value"), [(key, str(value)) for key, value in facts.items() if value != ""])
    return FAILED if report.differences else DONE


def pull(name: str, folder: Path | None, mirror: str, *, as_json: bool) -> None:
    """Fetch a published weights file, with a progress bar, and say how to use it."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from model.files.download import pull as fetch
    from model.files.official import official_file

    file = official_file(name)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=err, transient=True) as bars:
        bar = bars.add_task(file.name, total=file.byte_count)
        pulled = fetch(
            file,
            folder,
            mirror=mirror,
            progress=lambda done, total: bars.update(bar, completed=done, total=total or file.byte_count),
        )
    if as_json:
        facts = {"file": str(pulled.path), "sha256": pulled.sha256, "bytes": pulled.byte_count}
        print_json({"name": file.name, "fetched": pulled.fetched, **facts})
        return
    say(f"{'Fetched' if pulled.fetched else 'Already there, and good:'} [bold]{pulled.path}[/]")
    key = "sam_checkpoint" if file.family == "SAM 1" else "checkpoint"
    value = str(pulled.path.absolute()) if folder else file.name
    next_step(f'write {key} = "{value}" under \\[model] in engine.toml')


def pullable(*, as_json: bool) -> None:
    """Print the published files that `pull` knows."""
    from model.files.download import cache_folder
    from model.files.official import OFFICIAL_FILES

    rows = [
        (row.name, row.family, row.size, row.parameter_count, (cache_folder() / row.filename).exists())
        for row in OFFICIAL_FILES.values()
    ]
    columns = ("name", "family", "size", "parameters", "pulled")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, [(*row[:3], f"{row[3] / 1e6:.1f} M", "yes" if row[4] else "") for row in rows])


def check(golden: Path | None) -> int:
    """Recompute golden numbers, a line per key; returns the exit code."""
    from engine.golden import check_all

    misses = count = 0
    for result in check_all(_read_golden(golden)):
        count += 1
        misses += not result.passed
        mark = "[green]ok[/]  " if result.passed else "[red]MISS[/]"
        out.print(
            f"{mark} {result.key}: error {result.error:.2e}, tolerance {result.tolerance:.2e} {result.problem}"
        )
    say(f"{count - misses} of {count} keys reproduced")
    return FAILED if misses else DONE


def _read_golden(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"Cannot read the golden file {path}: {error}.") from error
    return record


def train(
    home: EngineHome,
    checkpoint: Path | None,
    *,
    manifest: str,
    mode: str,
    steps: int | None,
    seed: int,
    out: Path,
) -> None:
    """Fine-tune on a dataset manifest, with a progress bar; writes weights and `metrics.parquet`."""
    from rich.progress import Progress

    from engine.dataset import latest_dataset
    from engine.rounds import base_checkpoint_path
    from engine.training.process import Teller, pace
    from engine.training.retraining import retrain, train_config
    from storage.manifests import read_manifest

    prompts = _prompt_mode(mode)
    rows = read_manifest(home.store, manifest).to_pylist() if manifest else latest_dataset(home)
    if not rows:
        raise RoundError("There is nothing to train on: the data set is empty. See `engine status`.")
    config = train_config(home.settings.retrain, mode=prompts, seed=seed, steps=steps)
    with Progress(transient=True, console=err, disable=not err.is_terminal) as progress:
        bar = progress.add_task("Training", total=config.steps)

        def tell(row: TrainRow) -> None:
            progress.update(bar, completed=int(row["step"]), description=f"Training, {pace(row)}")

        result = retrain(
            home,
            checkpoint or base_checkpoint_path(home),
            rows,
            home.settings.retrain,
            config=config,
            out_dir=out,
            progress=tell if err.is_terminal else Teller(),
        )
    say(f"Wrote [bold]{result.checkpoint}[/] and {out / 'metrics.parquet'}")
    next_step(f"engine --home {home.path} model evaluate {result.checkpoint}")


def _prompt_mode(mode: str) -> PromptMode:
    if mode == "masks":
        return "masks"
    if mode == "all":
        return "all"
    raise SettingsError(f"--mode {mode} is not known; choose masks or all.")
