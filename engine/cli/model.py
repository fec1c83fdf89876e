"""`engine model …`: info, check, train, pretrain, evaluate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.cli.show import next_step, out, print_json, print_table, say
from engine.errors import RoundError, SettingsError
from engine.home import EngineHome
from engine.phases import PromptMode

DONE, FAILED = 0, 1
STEPS_PER_LINE = 100


def info(checkpoint: Path | None, *, as_json: bool) -> None:
    """Print what a checkpoint holds."""
    from model.checkpoints import checkpoint_hash, default_checkpoint, load_checkpoint

    path = checkpoint or default_checkpoint()
    model = load_checkpoint(path)
    facts = {
        "file": str(path),
        "sha256": checkpoint_hash(path),
        "bytes": path.stat().st_size,
        "size": model.config.size,
        "version": model.config.version,
        "image_size": model.image_size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "keys": len(model.state_dict()),
    }
    if as_json:
        print_json(facts)
    else:
        print_table(("what", "value"), [(key, str(value)) for key, value in facts.items()])


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
    import pyarrow as pa
    import pyarrow.parquet as pq
    from rich.progress import Progress

    from engine.dataset import latest_dataset
    from engine.rounds import base_checkpoint_path
    from engine.training import retrain, train_config
    from storage.manifests import read_manifest

    prompts = _prompt_mode(mode)
    rows = read_manifest(home.store, manifest).to_pylist() if manifest else latest_dataset(home)
    if not rows:
        raise RoundError("There is nothing to train on: the data set is empty. See `engine status`.")
    config = train_config(home.settings.retrain, mode=prompts, seed=seed, steps=steps)
    with Progress(transient=True) as progress:
        bar = progress.add_task("Training", total=config.steps)
        result = retrain(
            home,
            checkpoint or base_checkpoint_path(home),
            rows,
            home.settings.retrain,
            config=config,
            out_dir=out,
            progress=lambda row: progress.update(
                bar, completed=int(row["step"]), description=f"Training, loss {float(row['loss']):.3f}"
            ),
        )
    pq.write_table(pa.Table.from_pylist(result.rows), out / "metrics.parquet")
    say(f"Wrote [bold]{result.checkpoint}[/] and {out / 'metrics.parquet'}")
    next_step(f"engine model evaluate {result.checkpoint}")


def _prompt_mode(mode: str) -> PromptMode:
    if mode == "masks":
        return "masks"
    if mode == "all":
        return "all"
    raise SettingsError(f"--mode {mode} is not known; choose masks or all.")


def pretrain(out_dir: Path, *, seed: int) -> None:
    """Train nano from scratch, with a line a hundred steps; a killed run goes on where it was."""
    from model.training.nano import pretrain as run

    def tell(row: Mapping[str, Any]) -> None:
        if int(row["step"]) % STEPS_PER_LINE == 0:
            say(f"step {row['step']}: loss {float(row['loss']):.3f}")

    path = run(out_dir, seed=seed, progress=tell)
    say(f"Wrote [bold]{path}[/]")
    next_step(f"engine model info {path}")


def evaluate(home: EngineHome, checkpoint: Path | None, *, as_json: bool) -> None:
    """Print J, F, J&F by protocol on the frozen split."""
    from engine.rounds import champion_checkpoint
    from engine.stages.evaluate import evaluation_set
    from engine.weights import load_file, load_weights
    from qa.evaluation import evaluate as score

    videos = evaluation_set(home)
    if not videos:
        raise RoundError("There are no evaluation videos with references. Ingest some with --eval.")
    if checkpoint is not None:
        model = load_file(checkpoint, home.settings.model)
    else:
        model = load_weights(home, champion_checkpoint(home))
    found = {}
    for protocol in home.settings.evaluate.protocols:
        (mean,) = (row for row in score(model, videos, protocol=protocol) if row.is_mean)
        found[protocol] = {"j": round(mean.j, 2), "f": round(mean.f, 2), "jf": round(mean.jf, 2)}
    if as_json:
        print_json(found)
    else:
        print_table(
            ("protocol", "J", "F", "J&F"),
            [(name, row["j"], row["f"], row["jf"]) for name, row in found.items()],
        )
