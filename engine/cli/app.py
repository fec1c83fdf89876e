"""The commands, each a few lines over the library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.experiment import experiment_app
from engine.cli.references import references_app
from engine.cli.show import next_step, print_json, print_table, say

if TYPE_CHECKING:
    from engine.home import EngineHome

app = typer.Typer(
    name="engine",
    help="The SAM 2 data engine: annotate, verify, mine, retrain, round after round.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
model_app = typer.Typer(
    help="Weights: what they are, whether they are right, how good they are.", no_args_is_help=True
)
app.add_typer(references_app, name="references")
app.add_typer(model_app, name="model")
studio_app = typer.Typer(
    help="The site people work at: Label Studio and the model server.", no_args_is_help=True
)
app.add_typer(studio_app, name="studio")
app.add_typer(experiment_app, name="experiment")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.callback()
def _root(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option("--home", help="The engine's home folder. Default: $ENGINE_HOME, else ./engine-home."),
    ] = None,
) -> None:
    """Remember which home the command is about."""
    import os

    given = os.environ.get("ENGINE_HOME")
    context.obj = home or (Path(given) if given else None)


@app.command()
def init(
    context: typer.Context,
    store: Annotated[str, typer.Option(help="Object store: a folder or s3://bucket/prefix.")] = "",
    database: Annotated[str, typer.Option(help="SQLAlchemy URL of the catalog. Default: SQLite.")] = "",
) -> None:
    """Make a home: settings, store and catalog. Running it again changes nothing."""
    from engine.home import create_home

    home = create_home(_home(context), store_url=store, database_url=database)
    say(f"Home ready in [bold]{home.path}[/], store {home.store.url}")
    next_step(f"engine --home {_home(context)} ingest PATH…")


@app.command()
def ingest(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Videos, image folders, TIFF stacks, or folders of videos.")
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Take in the sample cell movies (from PyPI).")
    ] = False,
    evaluation: Annotated[
        bool, typer.Option("--eval", help="Keep these videos for evaluation only.")
    ] = False,
    retention: Annotated[
        bool, typer.Option("--retention", help="Keep them to see what a new model has forgotten.")
    ] = False,
    group: Annotated[str, typer.Option(help="Leak-safe group of these videos.")] = "",
    metadata: Annotated[
        Path | None,
        typer.Option(help="CSV with columns path, group, split; if known source_video, author, place."),
    ] = None,
    windows: Annotated[int, typer.Option(help="With --sample: windows of the training movie.", min=1)] = 6,
    as_json: JsonFlag = False,
) -> None:
    """Take videos in: decode once, extract annotated frames, say what was taken, skipped and why."""
    from engine.cli.ingest import ingest_paths, ingest_sample, show_outcomes

    home = _open(context)
    if not paths and not sample:
        raise typer.BadParameter("name at least one PATH, or use --sample")
    if evaluation and retention:
        raise typer.BadParameter("use either --eval or --retention")
    outcomes = ingest_sample(home, windows=windows) if sample else []
    split = "eval" if evaluation else "retention" if retention else "train"
    outcomes += ingest_paths(home, paths or [], split=split, group=group, metadata=metadata)
    show_outcomes(outcomes, as_json=as_json)
    if not as_json:
        next_step("engine references add FOLDER" if split != "train" else "engine round --phase 1")
    if all(one.outcome.status == "skipped" for one in outcomes):
        raise typer.Exit(1)


@app.command("round")
def round_(
    context: typer.Context,
    phase: Annotated[int, typer.Option(min=1, max=3, help="1: SAM per frame. 2: SAM 2 Mask. 3: SAM 2.")],
    videos: Annotated[int | None, typer.Option(min=1, help="Videos to plan for.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the round.")] = None,
    annotators: Annotated[
        str | None,
        typer.Option(
            metavar="simulated|label-studio",
            help="Who works on a round that is opened. Default: the setting people.kind.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until the round is closed, and show what people do.")
    ] = False,
    prefect: Annotated[
        bool, typer.Option(help="Run as Prefect flows, or the same code without Prefect.")
    ] = True,
) -> None:
    """Open or continue the round of a phase. Exit code 75: people are at work, run it again later."""
    from engine.cli.round import run_round

    raise typer.Exit(
        run_round(
            _open(context),
            phase=phase,
            videos=videos,
            seed=seed,
            annotators=annotators,
            wait=wait,
            prefect=prefect,
        )
    )


@app.command()
def status(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Rounds, stages, what people still have to do, who has what in hand, and how fast it goes."""
    from engine.cli.status import show_status

    show_status(_open(context), as_json=as_json)


@app.command()
def report(
    context: typer.Context,
    round_id: Annotated[str | None, typer.Argument(help="One round, such as r0002-p2. Default: all.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the HTML report of a round, or of the whole run."""
    from engine.reporting import write_reports

    files = write_reports(_open(context), round_id=round_id)
    if as_json:
        print_json({"files": [str(file) for file in files]})
        return
    for file in files:
        say(f"Wrote [bold]{file}[/]")


@app.command()
def export(
    context: typer.Context,
    form: Annotated[str, typer.Argument(metavar="sav|davis", help="The format.")],
    out: Annotated[Path, typer.Argument(help="A new or empty folder.")],
) -> None:
    """Export the accepted masklets in a format of the field."""
    from engine.exporting import export_dataset

    count = export_dataset(_open(context), form, out)
    say(f"Exported {count} masklets to [bold]{out}[/]")


@app.command()
def doctor(
    context: typer.Context,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Rebuild the catalog from the commits.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check store, catalog, manifests and leases; mend what can be derived. Exit code 1 if something is wrong."""
    from engine.doctor import check, rebuild_catalog

    home = _open(context)
    if rebuild:
        rebuild_catalog(home)
    findings = check(home)
    if as_json:
        print_json({"ok": all(f.ok for f in findings), "checks": [f.to_json() for f in findings]})
    else:
        print_table(
            ("check", "result", "detail"), [(f.name, "ok" if f.ok else "WRONG", f.detail) for f in findings]
        )
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def demo(
    context: typer.Context,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
) -> None:
    """Sample data, a round in each of the three phases with simulated people, and a report.

    Takes about 8 minutes on two cores, in the home ./demo-home; run again after a kill, it goes on where it was.
    """
    from engine.cli.demo import run_demo

    run_demo(_home(context, "demo-home"), seed=seed)


@app.command()
def score(
    truth: Annotated[Path, typer.Argument(help="Folder of the true masks: a folder a video.")],
    predictions: Annotated[Path, typer.Argument(help="Folder of the predicted masks, of the same form.")],
    strict: Annotated[bool, typer.Option("--strict", help="Both must have the same videos.")] = False,
    all_frames: Annotated[
        bool, typer.Option("--all-frames", help="Score the first and the last frame, too.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the videos. Default: one a core.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the table. Default: results.csv with the predictions.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """J, F and J&F of folders of PNG masks (SA-V, DAVIS, MOSE), the same as SA-V's evaluation tool gives."""
    from engine.cli.evaluate import score as score_masks

    score_masks(
        truth,
        predictions,
        strict=strict,
        all_frames=all_frames,
        processes=processes,
        table=out,
        as_json=as_json,
    )


@model_app.command("info")
def model_info(
    context: typer.Context,
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A checkpoint. Default: the packaged nano.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """What a checkpoint holds: whose network, size, parameters, hashes; exit code 1 if no network takes it."""
    from engine.cli.model import info

    raise typer.Exit(info(checkpoint, as_json=as_json))


@model_app.command("list")
def model_list(as_json: JsonFlag = False) -> None:
    """The published weights that `engine model pull` fetches."""
    from engine.cli.model import pullable

    pullable(as_json=as_json)


@model_app.command("pull")
def model_pull(
    name: Annotated[str, typer.Argument(help="One of `engine model list`, say sam2.1_hiera_tiny.")],
    out: Annotated[Path | None, typer.Option(help="Folder for it. Default: the user's cache folder.")] = None,
    mirror: Annotated[
        str, typer.Option("--from", metavar="URL", help="Another http(s) address of the same file.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Fetch published weights; run again after a break, it goes on. Only the exact published file is accepted."""
    from engine.cli.model import pull

    pull(name, out, mirror, as_json=as_json)


@model_app.command("check")
def model_check(
    golden: Annotated[Path | None, typer.Option(help="Golden file. Default: the packaged one.")] = None,
) -> None:
    """Recompute every golden number; a line per key, exit code 1 on a miss."""
    from engine.cli.model import check

    raise typer.Exit(check(golden))


@model_app.command("recipes")
def model_recipes(as_json: JsonFlag = False) -> None:
    """The recipes that `engine model train` knows."""
    from engine.cli.recipes import recipes

    recipes(as_json=as_json)


RecipeArgument = Annotated[
    str,
    typer.Argument(
        help="One of `engine model recipes`, or a .toml file. Default: fine-tune as a round does."
    ),
]
RecipeSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a number of the recipe; STAGE.KEY for one stage."
    ),
]
RecipeData = Annotated[
    list[str] | None,
    typer.Option(metavar="KIND:PLACE=WEIGHT", help="Train on this, instead of what the recipe says."),
]
StartOption = Annotated[
    Path | None,
    typer.Option("--from", help="Start weights. Default: the recipe's; without one, the packaged nano."),
]


@model_app.command("train")
def model_train(
    context: typer.Context,
    recipe: RecipeArgument = "",
    settings: RecipeSettings = None,
    data: RecipeData = None,
    checkpoint: StartOption = None,
    manifest: Annotated[
        str, typer.Option(help="Data set: key of a manifest in the store, or a round. Default: the newest.")
    ] = "",
    mode: Annotated[
        str, typer.Option(metavar="masks|all", help="Prompts, without a recipe: SAM 2 Mask, or SAM 2.")
    ] = "",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps; a recipe's stages shrink alike.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Added to every seed of the recipe.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for what comes out. Default: training or training/RECIPE.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write event files; TensorBoard must be installed.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that train together, each on a GPU or a share of the cores.")
    ] = 1,
    show: Annotated[
        bool, typer.Option("--show", help="Print the recipe as TOML, and train nothing.")
    ] = False,
) -> None:
    """Train by a recipe, or fine-tune on the home's data set; run again after a kill, it goes on where it stopped."""
    from engine.cli import recipes
    from engine.cli.model import train

    if not recipe:
        apart = processes > 1
        _only_with_a_recipe(settings=settings, data=data, tensorboard=tensorboard, processes=apart, show=show)
        folder = out or Path("training")
        chosen = mode or "all"
        train(_open(context), checkpoint, manifest=manifest, mode=chosen, steps=steps, seed=seed, out=folder)
        return
    if mode:
        raise typer.BadParameter("a recipe says its mode; change it with --set mode=masks")
    changes = recipes.Changes(settings=settings or (), data=data or (), manifest=manifest, steps=steps)
    if show:
        recipes.show(recipe, changes)
        return
    recipes.train(
        _home_if_any(context),
        recipe,
        changes,
        start=checkpoint,
        seed=seed,
        out=out,
        tensorboard=tensorboard,
        processes=processes,
    )


def _only_with_a_recipe(**options: object) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        words = " and ".join(f"--{'set' if name == 'settings' else name}" for name in given)
        raise typer.BadParameter(f"{words} belong to a recipe: engine model train RECIPE")


@model_app.command("pretrain")
def model_pretrain(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for weights and states.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
) -> None:
    """Train nano from nothing, by the recipe of the packaged weights: `engine model train nano`."""
    from engine.cli.recipes import Changes, train

    train(_home_if_any(context), "nano", Changes(), start=None, seed=seed, out=out)


@model_app.command("promote")
def model_promote(
    context: typer.Context,
    which: Annotated[
        str,
        typer.Argument(metavar="CHECKPOINT|ROUND", help="A file, a stored hash, or a round's challenger."),
    ],
    reason: Annotated[str, typer.Option(help="Why; it stays in the record.")],
    as_json: JsonFlag = False,
) -> None:
    """Put weights to work by hand, whatever the gate said; the next round begins with them."""
    from engine.cli.promotion import promote_by_hand

    promote_by_hand(_open(context), which, reason=reason, as_json=as_json)


@model_app.command("rollback")
def model_rollback(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="Why; it stays in the record.")],
    to: Annotated[
        str, typer.Option(metavar="CHECKPOINT|ROUND", help="Weights in use before. Default: the last others.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Put earlier weights back to work; the next round begins with them."""
    from engine.cli.promotion import rollback_by_hand

    rollback_by_hand(_open(context), to, reason=reason, as_json=as_json)


@model_app.command("evaluate")
def model_evaluate(
    context: typer.Context,
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A checkpoint. Default: the current champion.")
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="mask|box|N-click|offline|online",
            help="How objects are prompted (or a baseline: copy-first-mask, nearest-colour); repeat it for several. "
            "Default: the setting evaluate.protocols.",
        ),
    ] = None,
    suite: Annotated[
        str,
        typer.Option(
            metavar="drawn|cho|development",
            help="A suite instead of the home's evaluation videos, with baselines; needs no home. The first two are "
            "held out; the last is for looking at while training.",
        ),
    ] = "",
    groups: Annotated[
        bool,
        typer.Option(
            "--groups",
            help="Also by size, by whether objects disappear and, of drawn clips, by what happens.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write the scores as Markdown and JSON, with one click on single pictures, "
            "and strips of frames with the answers outlined.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """J, F and J&F of a checkpoint on the frozen evaluation split, with 95 % intervals."""
    from engine.cli.evaluate import evaluate

    evaluate(
        _home(context),
        checkpoint,
        protocols=protocol or (),
        suite=suite,
        groups=groups,
        out=out,
        as_json=as_json,
    )


@studio_app.command("install")
def studio_install(context: typer.Context) -> None:
    """Install Label Studio in an environment of its own, and start nothing: for images and offline machines."""
    from engine.cli.studio import install

    install(_home(context))


@studio_app.command("up")
def studio_up(context: typer.Context) -> None:
    """Start the site, or mend it; the first time Label Studio is installed, about 1 GB.

    Running it again changes nothing that is well.
    """
    from engine.cli.studio import take_up

    take_up(_open(context).path)


@studio_app.command("down")
def studio_down(context: typer.Context) -> None:
    """Stop the site: exactly what `up` started. Everything people did stays."""
    from engine.cli.studio import take_down

    take_down(_open(context).path)


@studio_app.command("status")
def studio_status(context: typer.Context, as_json: JsonFlag = False) -> None:
    """What runs, projects and members. Exit code 1 if something died or is wrong."""
    from engine.cli.studio import show_status

    raise typer.Exit(show_status(_open(context).path, as_json=as_json))


@studio_app.command("logs")
def studio_logs(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="label-studio|model-server", help="One server. Default: both.")
    ] = None,
    lines: Annotated[int, typer.Option(min=0, help="Lines from the end.")] = 40,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
) -> None:
    """The end of the servers' logs."""
    from engine.cli.studio import show_logs

    show_logs(_open(context).path, name, lines=lines, follow=follow)


@studio_app.command("invite")
def studio_invite(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="Who; the address is the name to sign in with.")],
    role: Annotated[str, typer.Option(metavar="annotator|verifier", help="What the member does.")],
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password. Default: one is made up and kept in a file.")
    ] = None,
) -> None:
    """Make somebody a member of the running site; for a member, change the role."""
    from engine.cli.studio import invite

    invite(_open(context).path, email, role=role, password_file=password_file)


def _open(context: typer.Context) -> EngineHome:
    from engine.home import open_home

    return open_home(_home(context))


def _home_if_any(context: typer.Context) -> EngineHome | None:
    """The home that was named, or the one that lies here, if any."""
    from engine.home import SETTINGS_FILE

    if context.obj is None and not (_home(context) / SETTINGS_FILE).is_file():
        return None
    return _open(context)


def _home(context: typer.Context, default: str = "engine-home") -> Path:
    return context.obj or Path(default)
