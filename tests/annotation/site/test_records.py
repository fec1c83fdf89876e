"""What a site leaves in its home."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from annotation.site import SiteError, read_people, read_secrets, read_site
from annotation.site.records import Process, Site, new_secrets, write_people, write_secrets, write_site

SITE = Site(
    url="http://127.0.0.1:8080",
    public_url="https://label.example.com",
    model_url="http://127.0.0.1:9090",
    projects={"selection": 1, "annotation-1": 2},
    media=Path("/media"),
    version="1.23.2",
    database="sqlite",
    processes={"label-studio": Process(pid=7, created=1.5)},
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    secrets = new_secrets()
    write_site(tmp_path, SITE)
    write_secrets(tmp_path, secrets)
    write_people(tmp_path, {"ann@example.com": "annotator"})
    assert read_site(tmp_path) == SITE
    assert read_secrets(tmp_path) == secrets
    assert read_people(tmp_path) == {"ann@example.com": "annotator"}


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    (tmp_path / "studio").mkdir(mode=0o755)
    write_secrets(tmp_path, new_secrets())
    assert stat.S_IMODE((tmp_path / "studio").stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "studio").iterdir()] == [0o600]


def test_secrets_show_nothing_and_never_repeat() -> None:
    first, second = new_secrets(), new_secrets()
    hidden = ("admin_password", "model_password", "webhook_secret")
    assert not any(getattr(first, name) in repr(first) for name in hidden)
    assert not any(getattr(first, name) == getattr(second, name) for name in hidden)


def test_a_home_without_a_site_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="engine studio up"):
        read_site(tmp_path)
    with pytest.raises(SiteError, match="engine studio up"):
        read_secrets(tmp_path)
    assert read_people(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"processes": 3}', '{"processes": {}, "colour": 1}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio" / "site.json").write_text(text)
    with pytest.raises(SiteError, match=r"site\.json"):
        read_site(tmp_path)


def test_a_role_nobody_knows_is_an_error(tmp_path: Path) -> None:
    write_people(tmp_path, {"ann@example.com": "boss"})  # type: ignore[dict-item]
    with pytest.raises(SiteError, match=r"people\.json"):
        read_people(tmp_path)
