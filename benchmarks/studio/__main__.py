"""``python -m benchmarks.studio [clicks] [carry] [crowd]``: a site in a temporary folder, and how fast it is."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.studio.bench_site import BenchSite, bench_site
from benchmarks.studio.carrying import measure_carrying, model_seconds
from benchmarks.studio.clicks import measure_clicks, sit_down
from benchmarks.studio.clips import Clip
from benchmarks.studio.crowd import PEOPLE, Outcome, Seat, plan, run_alone, run_together
from benchmarks.studio.machine import load_average, machine
from benchmarks.studio.person import Copy, Direct, Door, ThroughStudio
from benchmarks.studio.report import (
    CARRY_HEAD,
    CLICK_HEAD,
    CROWD_HEAD,
    CarryFigures,
    ClickFigures,
    CrowdFigures,
    table,
    write_blocks,
)
from benchmarks.studio.server_times import ServerTimes
from tests.servers import find_postgres, postgres_server
from tests.studio_site import environment_missing

MEASUREMENTS = ("clicks", "carry", "crowd")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PRELABEL_SHARE = 0.75  # of the radius: masks that need a click
"""Masks that are there when the task is opened are so much smaller than the disc."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 when an answer was wrong or missing."""
    options = _parser().parse_args(arguments)
    chosen = options.what or MEASUREMENTS
    if unknown := set(chosen) - set(MEASUREMENTS):
        raise SystemExit(
            f"there is no measurement {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}"
        )
    if reason := environment_missing():
        print(f"skipped: {reason}")
        return 0
    _say("starting a site")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="studio-")))
        database = stack.enter_context(_database(options.database))
        site = stack.enter_context(bench_site(folder, database_url=database))
        blocks, ok = _measure(site, chosen, options)
    for name in blocks:
        print(f"\n{blocks[name]}")
    if options.write:
        write_blocks(options.write, blocks)
    return 0 if ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.studio", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="all by default")
    parser.add_argument("--quick", action="store_true", help="one short clip and few clicks: does it run")
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[24, 60, 100], help="lengths of clips to click on"
    )
    parser.add_argument(
        "--clicks", type=int, default=30, help="clicks on each clip, and of each of the eight"
    )
    parser.add_argument("--pause", type=float, default=2.0, help="seconds a person looks before a click")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this Markdown page")
    return parser


def _measure(
    site: BenchSite, chosen: Sequence[str], options: argparse.Namespace
) -> tuple[dict[str, str], bool]:
    if options.quick:
        options.frames, options.clicks, options.pause = [12], 4, 0.5
    blocks: dict[str, str] = {}
    crowds: list[CrowdFigures] = []
    browser_version = ""
    if "clicks" in chosen or "carry" in chosen:
        with _chromium() as browser:
            browser_version = browser.version
            if "clicks" in chosen:
                found = [_clicks(browser, site, frames, options) for frames in options.frames]
                blocks["clicks"] = table(CLICK_HEAD, [one.cells() for one in found])
            if "carry" in chosen:
                carried = _carry(browser, site, 12 if options.quick else 60, 1 if options.quick else 5)
                blocks["carry"] = table(CARRY_HEAD, [carried.cells()])
    if "crowd" in chosen:
        crowds = [*_crowds(site, options)]
        blocks["crowd"] = table(CROWD_HEAD, [one.cells() for one in crowds])
    blocks["machine"] = machine(site.site.version, site.site.database, browser_version)
    for one in crowds:
        for error in one.outcome.errors[:5]:
            print(f"{one.door}: {error}")
    return blocks, all(one.outcome.ok for one in crowds)


def _clicks(browser: Browser, site: BenchSite, frames: int, options: argparse.Namespace) -> ClickFigures:
    """Clicks on a clip whose frames all have masks that are too small."""
    _say(f"{options.clicks} clicks on {frames} frames")
    work = site.publish(Clip(0, frames), name=f"clicks-{frames}", prelabelled=PRELABEL_SHARE)
    page, opened_s = sit_down(browser, site, work)
    times = ServerTimes(site.site.model_url, site.secrets)
    rows = list(measure_clicks(page, work, times, count=options.clicks, pause_s=options.pause))
    page.person.close()
    return ClickFigures(frames, opened_s, rows)


def _carry(browser: Browser, site: BenchSite, frames: int, times: int) -> CarryFigures:
    """`p` from the first frame, on clips that nobody has seen before."""
    _say(f"p on {frames} frames")
    rows, alone = [], []
    for number in range(times):
        work = site.publish(Clip(number, frames), name=f"carry-{number}")
        page, _ = sit_down(browser, site, work)
        rows.append(measure_carrying(page, work, ServerTimes(site.site.model_url, site.secrets)))
        page.person.close()
        alone.append(model_seconds(site, work))
    return CarryFigures(frames, statistics.median(alone), rows)


def _crowds(site: BenchSite, options: argparse.Namespace) -> Iterator[CrowdFigures]:
    """Eight people by either door, once a second and as fast as answers come."""
    frames, clicks = (12, 6) if options.quick else (60, options.clicks)
    for door in ("the model server", "Label Studio"):
        for beat, beat_s in (("once a second", 1.0), ("as soon as answered", 0.0)):
            _say(f"{PEOPLE} people ask {door}, {beat}")
            name = f"{door.split()[-1]}-{beat.split()[0]}".lower()
            outcome, load = asyncio.run(_crowd(site, door, name, frames=frames, clicks=clicks, beat_s=beat_s))
            yield CrowdFigures(door, beat, outcome, load)


async def _crowd(
    site: BenchSite, door: str, name: str, *, frames: int, clicks: int, beat_s: float
) -> tuple[Outcome, float]:
    """Together, then alone with tickets and people of their own."""
    together = [_seat(site, door, f"{name}-crowd", number, frames, clicks) for number in range(PEOPLE)]
    outcome = await run_together(together, beat_s=beat_s)
    load = load_average()
    alone = [_seat(site, door, f"{name}-alone-{number}", number, frames, clicks) for number in range(PEOPLE)]
    await run_alone(alone, together, outcome)
    return outcome, load


def _seat(site: BenchSite, door: str, name: str, number: int, frames: int, clicks: int) -> Seat:
    """A person at a ticket; the last two people of a crowd share one."""
    clip = Clip(min(number, PEOPLE - 2), frames)
    work = site.publish(clip, name=f"{name}-{clip.number}", prelabelled=PRELABEL_SHARE)
    email = f"person-{number + 1}@example.com"
    return Seat(work, Copy.opened(work, email), _door(site, door, email), plan(work, number, clicks))


def _door(site: BenchSite, door: str, email: str) -> Door:
    if door == "the model server":
        return Direct(site.site.model_url, site.secrets)
    project = site.site.projects["annotation-3"]
    return ThroughStudio(site.site.url, project, email=email, password=site.member(email))


@contextmanager
def _chromium() -> Iterator[Browser]:
    path = next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit(f"no browser found; install one of {', '.join(CHROMIUM_NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def _database(kind: str) -> Iterator[str]:
    """The address of a PostgreSQL server that lasts as long as the measurement; nothing for SQLite."""
    programs = find_postgres()
    if kind == "sqlite":
        yield ""
    elif programs is None:
        raise SystemExit("no PostgreSQL server programs (initdb, pg_ctl) on this machine")
    else:
        with (
            tempfile.TemporaryDirectory(prefix="postgres-") as folder,
            postgres_server(Path(folder), programs) as url,
        ):
            yield url


def _say(text: str) -> None:
    print(f"… {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
