"""How Label Studio is started: closed to strangers, silent towards the outside, on a data folder of its own.

Every variable is said here; of the caller's environment only what a process needs to live is passed on, since Label
Studio listens to names as common as DEBUG, HOST and PASSWORD.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from urllib.parse import unquote, urlsplit

from annotation.errors import SiteError
from annotation.site.config import SiteConfig
from annotation.site.environment import Environment
from annotation.site.processes import Launch, Tell, tail
from annotation.site.records import LABEL_STUDIO, Secrets

__all__ = ["fingerprint", "is_prepared", "launch", "prepare", "reset_admin_password"]

PASSED_ON = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ")
SETTINGS_MODULE = "label_studio.core.settings.label_studio"
GUNICORN_SETTINGS = Path(__file__).with_name("gunicorn_settings.py")

PREPARED_MARK = ".prepared"
PREPARE_PATIENCE_S = 1800.0
PRIVATE_UMASK = 0o077


def launch(config: SiteConfig, environment: Environment) -> Launch:
    """Start it with gunicorn: `label-studio start` is a server for development."""
    command = [
        *(str(environment.python), "-m", "gunicorn", "label_studio.core.wsgi:application"),
        *("--pythonpath", str(environment.packages / "label_studio")),
        *("--config", str(GUNICORN_SETTINGS)),
        *("--bind", f"{config.host}:{config.port}"),
        *("--workers", str(config.workers), "--threads", str(config.threads)),
    ]
    variables = _variables(config)
    return Launch(
        name=LABEL_STUDIO,
        command=command,
        environment=variables,
        folder=config.data,
        log=config.log(LABEL_STUDIO),
        health_url=f"{config.url}/health",
        fingerprint=fingerprint(command, variables),
        umask=PRIVATE_UMASK,
    )


def prepare(config: SiteConfig, environment: Environment, secrets: Secrets, tell: Tell) -> None:
    """Make the tables and the admin, or bring tables of an older version up to date. A minute or two at first."""
    tell("preparing Label Studio's database (a minute or two)")
    admin = {"USERNAME": secrets.admin_email, "PASSWORD": secrets.admin_password}
    named = {f"LABEL_STUDIO_{name}": value for name, value in admin.items()}
    _run(config, environment, ["init", "--quiet"], variables=named, answer="")
    (config.data / PREPARED_MARK).write_text(_database_mark(config))


def is_prepared(config: SiteConfig) -> bool:
    """Whether this version prepared this database: migrations take seconds even where there are none."""
    mark = config.data / PREPARED_MARK
    return mark.exists() and mark.read_text() == _database_mark(config)


def reset_admin_password(config: SiteConfig, environment: Environment, secrets: Secrets, tell: Tell) -> None:
    """Give the admin the password we know, where our secrets were lost and made anew."""
    tell("giving the admin a new password")
    command = ["reset_password", "--username", secrets.admin_email]
    _run(config, environment, command, variables={}, answer=f"{secrets.admin_password}\n")


def fingerprint(command: list[str], variables: Mapping[str, str]) -> str:
    """What a server was started with, in few letters; it gives no secret away."""
    said = {name: value for name, value in variables.items() if name not in PASSED_ON}
    return hashlib.sha256(json.dumps([command, said], sort_keys=True).encode()).hexdigest()[:16]


def _database_mark(config: SiteConfig) -> str:
    return hashlib.sha256(f"{config.version} {config.database_url}".encode()).hexdigest()


def _run(
    config: SiteConfig,
    environment: Environment,
    arguments: list[str],
    *,
    variables: Mapping[str, str],
    answer: str,
) -> None:
    """Run a command of Label Studio's own to its end; the answer goes to its standard input, not into its arguments.

    It holds a lock, so that one whose starter was killed is waited for.
    """
    log = config.log(LABEL_STUDIO)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, (config.data / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [str(environment.python), "-m", "label_studio.server", *arguments],
            env={**_variables(config), **variables},
            cwd=config.data,
            input=answer.encode(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=PRIVATE_UMASK,
            timeout=PREPARE_PATIENCE_S,
            check=False,
            pass_fds=(lock.fileno(),),
        )
    if done.returncode:
        raise SiteError(
            f"Label Studio cannot prepare its database ({config.database}). "
            + "\n".join([f"Its log, {log}, ends with:", *tail(log, 12)])
        )


def _variables(config: SiteConfig) -> dict[str, str]:
    said = {
        "BASE_DATA_DIR": str(config.data),
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "HOST": config.address_in_pages,
        "LOCAL_FILES_DOCUMENT_ROOT": str(config.media),
        "LOCAL_FILES_SERVING_ENABLED": "true",
    }
    return (
        {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        | {f"LABEL_STUDIO_{name}": value for name, value in said.items()}
        | _silence()
        | _reachable(config.model_host)
        | _database(config)
        | _behind_proxy(config.public_url)
        | {
            "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE,
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore",
        }
    )


def _silence() -> dict[str, str]:
    """Nobody outside hears of us, and logs hold what went wrong only."""
    return {
        "COLLECT_ANALYTICS": "false",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
        "LOG_LEVEL": "WARNING",
        "SENTRY_DSN": "",
    }


def _reachable(model_host: str) -> dict[str, str]:
    """Members may make Label Studio call addresses (as model server, webhook, storage): the model server's only."""
    banned = [str(network) for network in IPv4Network("0.0.0.0/0").address_exclude(IPv4Network(model_host))]
    return {
        "ML_BLOCK_LOCAL_IP": "true",
        "SSRF_PROTECTION_ENABLED": "true",
        "USE_DEFAULT_BANNED_SUBNETS": "false",
        "USER_ADDITIONAL_BANNED_SUBNETS": ",".join([*banned, "::/0"]),
    }


def _database(config: SiteConfig) -> dict[str, str]:
    if config.database == "sqlite":
        return {"DJANGO_DB": "sqlite"}
    url = urlsplit(config.database_url)
    return {
        "DJANGO_DB": "default",
        "POSTGRE_HOST": url.hostname or "localhost",
        "POSTGRE_NAME": unquote(url.path.lstrip("/")),
        "POSTGRE_PASSWORD": unquote(url.password or ""),
        "POSTGRE_PORT": str(url.port or 5432),
        "POSTGRE_USER": unquote(url.username or "postgres"),
    }


def _behind_proxy(public_url: str) -> dict[str, str]:
    """What a proxy with another address or with TLS in front asks for."""
    if not public_url:
        return {}
    secure = {"SESSION_COOKIE_SECURE": "1"} if public_url.startswith("https:") else {}
    return secure | {"CSRF_TRUSTED_ORIGINS": public_url.rstrip("/")}
