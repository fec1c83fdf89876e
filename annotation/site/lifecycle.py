"""Up, down, and how it is: the two servers of a site and what ties them together.

`up` repairs: it starts what does not run, starts anew what was started otherwise or does not answer, and leaves alone
what is well. What it started is written down at once, so that `down` ends exactly that.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from annotation.errors import SiteError
from annotation.site import label_studio, processes
from annotation.site.access import ensure_token, open_api, refuse_legacy_tokens
from annotation.site.accounts import Invitation, invite, member_emails
from annotation.site.config import SiteConfig
from annotation.site.environment import Environment, ensure_environment
from annotation.site.processes import Launch, Tell
from annotation.site.projects import Counts, count_tasks, ensure_projects
from annotation.site.records import (
    LABEL_STUDIO,
    MODEL_SERVER,
    Process,
    Secrets,
    Site,
    new_secrets,
    read_people,
    read_secrets,
    read_site,
    site_folder,
    write_secrets,
    write_site,
)

__all__ = ["ServiceStatus", "SiteStatus", "down", "invite_member", "site_status", "up"]

State = Literal["running", "stopped", "died", "silent"]
GRACE_CHECKS = 3


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """How a server is."""

    name: str
    state: State
    url: str
    log: Path
    pid: int | None = None
    since: float | None = None  # seconds since 1970

    @property
    def ok(self) -> bool:
        """Whether nothing is to be done about it; a site that was taken down is as it should be."""
        return self.state in ("running", "stopped")


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """How a site is; tasks and members are known only while Label Studio runs."""

    site: Site
    services: tuple[ServiceStatus, ...]
    tasks: Mapping[str, Counts] = field(default_factory=dict)
    members: Mapping[str, str] = field(
        default_factory=dict
    )  # e-mail -> role, "admin", or "" when the engine gave none
    problems: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether people can work."""
        return all(service.state == "running" for service in self.services)

    @property
    def ok(self) -> bool:
        """Whether there is nothing to mend."""
        return all(service.ok for service in self.services) and not self.problems


def up(config: SiteConfig, tell: Tell) -> Site:
    """Make the site run as `config` says; returns it once both servers answer and the projects are there."""
    with _alone(config.home, tell):
        environment = ensure_environment(config.version, folder=config.environment, tell=tell)
        secrets = _secrets(config.home)
        site = _remembered(config)
        site = _start_label_studio(config, environment, secrets, site, tell)
        secrets = _let_in(config, environment, secrets, tell)
        site = _ensure_server(site, config, _model_launch(config, secrets), "studio.model_port", tell)
        tell("looking after the projects")
        with open_api(config.url, secrets) as api:
            refuse_legacy_tokens(api)
            projects = ensure_projects(api, config, secrets, known=site.projects)
        return _noted(config.home, replace(site, projects=projects))


def down(home: Path, tell: Tell) -> list[str]:
    """End what `up` started and nothing else; returns the names of what ran."""
    with _alone(home, tell):
        site = read_site(home)
        stopped = []
        for name, process in site.processes.items():
            tell(f"stopping {name}")
            if processes.stop(process):
                stopped.append(name)
        _noted(home, replace(site, processes={}))
        return stopped


def site_status(home: Path) -> SiteStatus:
    """How the site of `home` is. Raises SiteError if there never was one."""
    site = read_site(home)
    services = tuple(
        _service(home, site, name, url)
        for name, url in ((LABEL_STUDIO, site.url), (MODEL_SERVER, site.model_url))
    )
    if services[0].state != "running":
        return SiteStatus(site, services)
    try:
        return _with_contents(home, SiteStatus(site, services))
    except SiteError as error:
        return SiteStatus(site, services, problems=(str(error),))


def invite_member(home: Path, *, email: str, role: str, password_file: Path | None = None) -> Invitation:
    """Make somebody a member of the running site, with a role."""
    site, secrets = read_site(home), read_secrets(home)
    with _alone(home, lambda _: None), open_api(site.url, secrets) as api:
        return invite(home, site.url, api, email=email, role=role, password_file=password_file)


def _start_label_studio(
    config: SiteConfig, environment: Environment, secrets: Secrets, site: Site, tell: Tell
) -> Site:
    for folder in (config.data, config.media):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    launch = label_studio.launch(config, environment)
    if not _runs_as(launch, site):
        site = _without(config.home, site, LABEL_STUDIO)
        processes.require_free_port(config.host, config.port, setting="studio.port")
        if not label_studio.is_prepared(config):
            label_studio.prepare(config, environment, secrets, tell)
    return _ensure_server(site, config, launch, "studio.port", tell)


def _ensure_server(site: Site, config: SiteConfig, launch: Launch, setting: str, tell: Tell) -> Site:
    """Leave a server alone that runs as it should and answers; start it otherwise."""
    tell(f"starting {launch.name}")
    if not (_runs_as(launch, site) and _answers(launch)):
        site = _without(config.home, site, launch.name)
        host, port = (
            (config.host, config.port)
            if launch.name == LABEL_STUDIO
            else (config.model_host, config.model_port)
        )
        processes.require_free_port(host, port, setting=setting)
        process = processes.start(launch)
        site = _noted(config.home, replace(site, processes={**site.processes, launch.name: process}))
        processes.wait_until_healthy(launch, process, tell)
    return site


def _let_in(config: SiteConfig, environment: Environment, secrets: Secrets, tell: Tell) -> Secrets:
    """A token for us; where Label Studio's database knows another admin than our secrets do, ours is made valid."""
    tell("signing in")
    known = ensure_token(config.url, secrets)
    if known is None:
        label_studio.prepare(config, environment, secrets, tell)
        label_studio.reset_admin_password(config, environment, secrets, tell)
        known = ensure_token(config.url, secrets)
    if known is None:
        raise SiteError(
            f"Label Studio refuses its admin {secrets.admin_email}: "
            f"see {config.log(LABEL_STUDIO)}, or move {config.data} away to begin anew."
        )
    if known != secrets:
        write_secrets(config.home, known)
    return known


def _model_launch(config: SiteConfig, secrets: Secrets) -> Launch:
    """What the model server reads when it starts decides what it does, so another such thing is another launch."""
    read = {
        "password": secrets.model_password,
        "webhook": secrets.webhook_secret,
        "revision": config.model_revision,
    }
    command = [*config.model_command, "--host", config.model_host, "--port", str(config.model_port)]
    return Launch(
        name=MODEL_SERVER,
        command=command,
        environment=config.model_environment,
        folder=config.home,
        log=config.log(MODEL_SERVER),
        health_url=f"{config.model_url}/health",
        fingerprint=label_studio.fingerprint(command, read),
        patience_s=600.0,
    )


def _runs_as(launch: Launch, site: Site) -> bool:
    process = site.processes.get(launch.name)
    return process is not None and process.fingerprint == launch.fingerprint and processes.is_running(process)


def _answers(launch: Launch) -> bool:
    """A server that is busy for a moment is not started anew."""
    return any(processes.is_healthy(launch.health_url) for _ in range(GRACE_CHECKS))


def _without(home: Path, site: Site, name: str) -> Site:
    """End a server that ran otherwise than it should."""
    process = site.processes.get(name)
    if process is None:
        return site
    processes.stop(process)
    left = {other: one for other, one in site.processes.items() if other != name}
    return _noted(home, replace(site, processes=left))


def _secrets(home: Path) -> Secrets:
    if not (site_folder(home) / "secrets.json").exists():
        write_secrets(home, new_secrets())
    return read_secrets(home)


def _remembered(config: SiteConfig) -> Site:
    """The site as it is to be, with the projects and processes of last time."""
    projects: Mapping[str, int] = {}
    running: Mapping[str, Process] = {}
    if (config.folder / "site.json").exists():
        last = read_site(config.home)
        projects, running = last.projects, last.processes
    return Site(
        url=config.url,
        public_url=config.address_in_pages or config.url,
        model_url=config.model_url,
        projects=projects,
        media=config.media,
        version=config.version,
        database=config.database,
        processes=running,
    )


def _noted(home: Path, site: Site) -> Site:
    write_site(home, site)
    return site


def _service(home: Path, site: Site, name: str, url: str) -> ServiceStatus:
    process, log = site.processes.get(name), site_folder(home) / "logs" / f"{name}.log"
    if process is None:
        return ServiceStatus(name, "stopped", url, log)
    if not processes.is_running(process):
        return ServiceStatus(name, "died", url, log, since=process.created)
    healthy = processes.is_healthy(f"{url}/health")
    return ServiceStatus(name, "running" if healthy else "silent", url, log, process.pid, process.created)


def _with_contents(home: Path, status: SiteStatus) -> SiteStatus:
    secrets, people = read_secrets(home), read_people(home)
    with open_api(status.site.url, secrets) as api:
        tasks = count_tasks(api, status.site.projects)
        emails = member_emails(api)
    gone = [kind for kind in status.site.projects if kind not in tasks]
    members = {email: _role(email, secrets, people) for email in emails}
    problems = [f"project {kind} is gone from Label Studio" for kind in gone]
    return replace(status, tasks=tasks, members=members, problems=tuple(problems))


def _role(email: str, secrets: Secrets, people: Mapping[str, str]) -> str:
    return "admin" if email == secrets.admin_email else people.get(email, "")


@contextmanager
def _alone(home: Path, tell: Tell) -> Iterator[None]:
    """Let one command at a time change a site."""
    folder = site_folder(home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("waiting for another `engine studio` command on this home")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
