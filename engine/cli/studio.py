"""`engine studio`: Label Studio and the model server, as the operator sees them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.markup import escape

from annotation.site import read_secrets, read_site
from annotation.site.environment import ensure_environment
from annotation.site.lifecycle import ServiceStatus, SiteStatus, down, invite_member, site_status, up
from annotation.site.processes import tail
from annotation.site.records import LABEL_STUDIO, MODEL_SERVER, site_folder
from engine.cli.show import next_step, out, print_json, print_table
from engine.errors import SettingsError
from engine.settings import load_settings
from engine.studio import site_config

DONE, FAILED = 0, 1
LOGS = (LABEL_STUDIO, MODEL_SERVER)
FOLLOW_S = 0.5


def install(home: Path) -> None:
    """Make Label Studio's environment unless it is there; a home with settings need not exist."""
    settings = home / "engine.toml"
    studio = load_settings(settings if settings.is_file() else None).studio
    folder = Path(studio.environment).expanduser() if studio.environment else None
    with _telling() as tell:
        environment = ensure_environment(studio.version, folder=folder, tell=tell)
    say(f"Label Studio {studio.version} is in {environment.folder}")
    next_step("engine studio up")


def take_up(home: Path) -> None:
    """Start what does not run, mend what is not as it should be, and say where to go."""
    config = site_config(home, load_settings(home / "engine.toml"))
    with _telling() as tell:
        site = up(config, tell)
    say(f"Label Studio {site.version} at [bold]{site.public_url}[/], model server at {site.model_url}")
    say(
        f"Sign in as [bold]{read_secrets(home).admin_email}[/], password in {site_folder(home) / 'secrets.json'}"
    )
    if site.database == "sqlite":
        say("Its database is SQLite, good for about 3 people at once; set `studio.database_url` for more.")
    next_step("engine studio invite EMAIL --role annotator")


def take_down(home: Path) -> None:
    """Stop what was started."""
    with _telling() as tell:
        stopped = down(home, tell)
    say(f"Stopped {' and '.join(stopped)}." if stopped else "Nothing was running.")


def show_status(home: Path, *, as_json: bool) -> int:
    """Print how the site is; returns the exit code."""
    status = site_status(home)
    if as_json:
        print_json(_as_json(status))
    else:
        _print_status(status)
    return DONE if status.ok else FAILED


def invite(home: Path, email: str, *, role: str, password_file: Path | None) -> None:
    """Make a member and say where the password lies."""
    made = invite_member(home, email=email, role=role, password_file=password_file)
    if not made.created:
        say(f"[bold]{escape(made.email)}[/] is a member already; the role is [bold]{made.role}[/] now.")
        return
    say(f"[bold]{escape(made.email)}[/] can sign in at {read_site(home).public_url} as {made.role}.")
    say(f"The password is in {made.password_file}: hand it over and delete the file.")


def show_logs(home: Path, name: str | None, *, lines: int, follow: bool) -> None:
    """Print the end of a server's log, or of both; go on with what comes if asked."""
    if name is not None and name not in LOGS:
        raise SettingsError(f"There is no log {name!r}; there are: {', '.join(LOGS)}.")
    read_site(home)  # says so where there never was a site
    logs = {one: site_folder(home) / "logs" / f"{one}.log" for one in LOGS if name in (None, one)}
    for one, log in logs.items():
        for line in tail(log, lines):
            _print_line(one if len(logs) > 1 else "", line)
    if follow:
        for one, line in _coming(logs):
            _print_line(one if len(logs) > 1 else "", line)


def say(text: str) -> None:
    """A line for people, not broken: it may hold a path or a command to copy."""
    out.print(text, highlight=False, soft_wrap=True)


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """A line that moves on a terminal; a line per step where the output is kept."""
    if not out.is_terminal:
        yield _once(lambda text: say(escape(text)))
        return
    with out.status("starting") as status:
        yield lambda text: status.update(escape(text))


def _once(show: Callable[[str], None]) -> Callable[[str], None]:
    """Leave out what only counts seconds: a text that begins like the one before."""
    shown: list[str] = []

    def tell(text: str) -> None:
        subject = text.split(" (")[0].split(":")[0]
        if shown[-1:] != [subject]:
            shown.append(subject)
            show(subject)

    return tell


def _print_status(status: SiteStatus) -> None:
    site = status.site
    say(f"[bold]{site.public_url}[/]: Label Studio {site.version}, {site.database}")
    print_table(
        ("server", "state", "since", "process", "address"),
        [(one.name, one.state, _since(one), one.pid or "", one.url) for one in status.services],
    )
    if status.tasks:
        rows = [
            (kind, site.projects[kind], count.tasks, count.finished) for kind, count in status.tasks.items()
        ]
        print_table(("project", "number", "tasks", "finished"), rows)
    if status.members:
        print_table(
            ("member", "role"), [(email, role or "none: invite") for email, role in status.members.items()]
        )
    for line in _advice(status):
        say(line)


def _advice(status: SiteStatus) -> Iterator[str]:
    """What to do about each thing that is wrong."""
    for service in status.services:
        if service.state == "died":
            yield f"[red]{service.name} died[/]: see {service.log}, then run `engine studio up`."
        if service.state == "silent":
            yield (
                f"[red]{service.name} runs but does not answer[/]: wait if it just started, "
                f"else see {service.log} and run `engine studio up`."
            )
    yield from (f"[red]{escape(problem)}[/]: run `engine studio up`." for problem in status.problems)
    if all(service.state == "stopped" for service in status.services):
        yield "[dim]Next:[/] engine studio up"


def _as_json(status: SiteStatus) -> dict[str, Any]:
    site = status.site
    return {
        "ok": status.ok,
        "running": status.running,
        "url": site.public_url,
        "version": site.version,
        "database": site.database,
        "servers": {
            one.name: {
                "state": one.state,
                "url": one.url,
                "pid": one.pid,
                "since": one.since,
                "log": str(one.log),
            }
            for one in status.services
        },
        "projects": {
            kind: {"id": site.projects[kind], "tasks": count.tasks, "finished": count.finished}
            for kind, count in status.tasks.items()
        },
        "members": dict(status.members),
        "problems": list(status.problems),
    }


def _since(service: ServiceStatus) -> str:
    if service.since is None:
        return ""
    began = datetime.fromtimestamp(service.since)
    return f"{began:%Y-%m-%d %H:%M} ({timedelta(seconds=int(time.time() - service.since))})"


def _print_line(name: str, line: str) -> None:
    print(f"{name}: {line}" if name else line, flush=True)


def _coming(logs: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Lines as they are written, until the reader has enough; a log that is turned over is read from its start."""
    at = {name: log.stat().st_size if log.exists() else 0 for name, log in logs.items()}
    while True:
        for name, log in logs.items():
            text, at[name] = _rest(log, at[name])
            yield from ((name, line) for line in text.splitlines())
        time.sleep(FOLLOW_S)


def _rest(log: Path, start: int) -> tuple[str, int]:
    """Whole lines from a position on, and the position behind them."""
    if not log.exists():
        return "", 0
    start = start if log.stat().st_size >= start else 0
    with log.open("rb") as file:
        file.seek(start)
        whole, newline, _ = file.read().rpartition(b"\n")
    return whole.decode(errors="replace"), start + len(whole) + len(newline)
