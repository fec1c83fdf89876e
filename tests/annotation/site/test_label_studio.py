"""How Label Studio is started."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from annotation.site import SiteError
from annotation.site.config import SiteConfig
from annotation.site.environment import Environment
from annotation.site.label_studio import launch

ENVIRONMENT = Environment(Path("/ls"), Path("/ls/lib/python3.11/site-packages"))
CONFIG = SiteConfig(home=Path("/somewhere"), label_config=lambda kind: "<View/>", model_command=("serve",))


def variables(config: SiteConfig = CONFIG) -> dict[str, str]:
    return dict(launch(config, ENVIRONMENT).environment)


def test_it_is_closed_and_silent() -> None:
    said = variables()
    assert said["LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK"] == "true"
    assert said["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == "/somewhere/studio/media"
    assert said["COLLECT_ANALYTICS"] == said["LATEST_VERSION_CHECK"] == "false"
    assert said["SENTRY_DSN"] == said["FRONTEND_SENTRY_DSN"] == ""
    assert launch(CONFIG, ENVIRONMENT).umask == 0o077


def test_variables_of_the_caller_do_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEBUG", "PASSWORD", "LABEL_STUDIO_BASE_DATA_DIR", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "theirs")
    assert "theirs" not in variables().values()


def test_no_secret_is_in_the_command_or_the_arguments() -> None:
    config = replace(CONFIG, database_url="postgresql://engine:hush@db/studio")
    started = launch(config, ENVIRONMENT)
    assert "hush" not in " ".join(started.command) + started.fingerprint + repr(config)


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("8.8.8.8", False),
        ("::1", False),
        ("2001:db8::1", False),
    ],
)
def test_only_the_model_server_can_be_reached(address: str, reached: bool) -> None:
    said = variables()
    assert (said["ML_BLOCK_LOCAL_IP"], said["SSRF_PROTECTION_ENABLED"]) == ("true", "true")
    banned = [ip_network(one) for one in said["USER_ADDITIONAL_BANNED_SUBNETS"].split(",")]
    assert reached is not any(ip_address(address) in network for network in banned)


def test_an_address_of_postgresql_is_taken_apart() -> None:
    said = variables(
        replace(CONFIG, database_url="postgresql+psycopg://en%40gine:p%2Fw@db.example:6543/studio")
    )
    names = ("DJANGO_DB", "POSTGRE_USER", "POSTGRE_PASSWORD", "POSTGRE_HOST", "POSTGRE_PORT", "POSTGRE_NAME")
    assert [said[name] for name in names] == ["default", "en@gine", "p/w", "db.example", "6543", "studio"]


@pytest.mark.parametrize(
    ("config", "address", "in_pages"),
    [
        (CONFIG, "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (replace(CONFIG, host="0.0.0.0"), "http://127.0.0.1:8080", ""),
        (replace(CONFIG, host="10.1.2.3"), "http://10.1.2.3:8080", "http://10.1.2.3:8080"),
        (
            replace(CONFIG, public_url="https://label.example/"),
            "http://127.0.0.1:8080",
            "https://label.example",
        ),
    ],
)
def test_where_it_is_for_us_and_for_its_pages(config: SiteConfig, address: str, in_pages: str) -> None:
    assert config.url == address
    assert variables(config)["LABEL_STUDIO_HOST"] == in_pages


def test_behind_https_cookies_are_for_https_only() -> None:
    said = variables(replace(CONFIG, public_url="https://label.example/"))
    assert said["SESSION_COOKIE_SECURE"] == "1"
    assert said["CSRF_TRUSTED_ORIGINS"] == "https://label.example"
    assert "SESSION_COOKIE_SECURE" not in variables()


def test_another_setting_is_another_fingerprint() -> None:
    first = launch(CONFIG, ENVIRONMENT).fingerprint
    assert launch(CONFIG, ENVIRONMENT).fingerprint == first
    assert launch(replace(CONFIG, port=8081), ENVIRONMENT).fingerprint != first
    assert launch(replace(CONFIG, database_url="postgresql://a@b/c"), ENVIRONMENT).fingerprint != first


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"database_url": "mysql://a@b/c"}, "studio.database_url"),
        ({"public_url": "label.example"}, "studio.public_url"),
        ({"port": 9090}, "must differ"),
    ],
)
def test_what_cannot_be_is_said(values: dict[str, str | int], message: str) -> None:
    with pytest.raises(SiteError, match=message):
        replace(CONFIG, **values)
