"""`engine references`: the truth of evaluation videos, brought in and listed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.show import err, next_step, print_json, print_table, say

references_app = typer.Typer(
    help="The known truth of evaluation videos, on which models are judged.", no_args_is_help=True
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@references_app.command("add")
def references_add(
    context: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(help="Folders of PNG masks (DAVIS, MOSE, SA-V), JSON files of SA-V, or an export."),
    ],
    video: Annotated[
        str,
        typer.Option(help="The video they are of, by name or id. Default: as files and folders are named."),
    ] = "",
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Put them in place of other references, which stay in the store."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Give evaluation and retention videos their reference masks; exit code 1 if some do not fit or none went in."""
    from rich.progress import Progress

    from engine.home import open_home
    from engine.references import Added, add_references

    if video and len(paths) > 1:
        raise typer.BadParameter("--video is for one folder or file")
    home = open_home(context.obj or Path("engine-home"))
    added: list[Added] = []
    with Progress(console=err, transient=True, disable=as_json) as bars:
        bar = bars.add_task("Reading masks", total=None)
        for path in paths:
            added += add_references(
                home,
                path,
                video=video,
                replace=replace,
                tell=lambda done, total: bars.update(bar, completed=done, total=total),
            )
    if as_json:
        print_json([one.to_json() for one in added])
    else:
        print_table(("video", "result", "detail"), [(one.video, one.result, one.detail) for one in added])
        next_step("engine references list")
    results = {one.result for one in added}
    if "refused" in results or results <= {"skipped"}:
        raise typer.Exit(1)


@references_app.command("list")
def references_list(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Evaluation and retention videos, and which of them have references."""
    from engine.home import open_home
    from engine.references import HINT, reference_states

    states = reference_states(open_home(context.obj or Path("engine-home")))
    if as_json:
        print_json([state.to_json() for state in states])
        return
    if not states:
        say("No video is kept for evaluation.")
        next_step("engine ingest PATH --eval")
        return
    print_table(
        ("video", "id", "kept for", "references", "objects", "masks", "from"),
        [
            (
                state.video,
                state.video_id,
                {"eval": "evaluation"}.get(state.split, state.split),
                f"version {state.version}" if state.version else "none",
                state.objects,
                state.masks,
                " ".join(part for part in (state.origin, state.by, state.at[:16].replace("T", " ")) if part),
            )
            for state in states
        ],
    )
    if not all(state.version for state in states):
        next_step(HINT)
