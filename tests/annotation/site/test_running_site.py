"""A real Label Studio, taken up, broken, mended and taken down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from annotation.pages.configs import label_config
from annotation.site import Site, SiteError, read_people, read_secrets, read_site
from annotation.site.access import Api, browser, open_api, sign_in
from annotation.site.lifecycle import down, invite_member, site_status, up
from annotation.site.processes import is_running
from annotation.site.records import MEDIA_FOLDER, PREDICTION_VERSION, PROJECT_KINDS, Process
from engine.home import open_home
from engine.studio import site_config
from tests.studio_site import STAND_IN_COMMAND, environment_missing, running_site, site_template

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(environment_missing()), reason=environment_missing())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    template = site_template(tmp_path_factory.mktemp("template"))
    with running_site(folder, template=template, model_command=STAND_IN_COMMAND) as site:
        yield site


@pytest.fixture
def home(folder: Path, site: Site) -> Path:
    return folder / "home"


@pytest.fixture
def api(home: Path, site: Site) -> Iterator[Api]:
    with open_api(site.url, read_secrets(home)) as api:
        yield api


def again(home: Path) -> Site:
    config = replace(site_config(home, open_home(home).settings), model_command=STAND_IN_COMMAND)
    return up(config, lambda _: None)


def kill(process: Process) -> None:
    """End it and its children with no warning."""
    found = psutil.Process(process.pid)
    for one in [*found.children(recursive=True), found]:
        one.kill()
    while is_running(process):
        time.sleep(0.05)


def test_the_projects_are_there_and_right(site: Site, api: Api) -> None:
    assert set(site.projects) == set(PROJECT_KINDS)
    for kind, number in site.projects.items():
        project = api.get(f"/api/projects/{number}/")
        assert project["maximum_annotations"] == 1
        assert project["skip_queue"] == "REQUEUE_FOR_OTHERS"
        assert project["sampling"] == "Sequential sampling"
        assert project["label_config"] == label_config(kind).strip()
        helped = kind.startswith("annotation-")
        assert project["show_collab_predictions"] is helped
        assert project["model_version"] == (PREDICTION_VERSION if helped else "")
        backends = api.list("/api/ml/", project=number)
        assert [(one["url"], one["is_interactive"]) for one in backends] == [(site.model_url, True)] * helped
        assert all(one["state"] == "CO" and one["basic_auth_pass_is_set"] for one in backends)


def test_the_only_webhook_is_ours(home: Path, site: Site, api: Api) -> None:
    for number in site.projects.values():
        (hook,) = api.list("/api/webhooks/", project=number)
        assert hook["url"] == f"{site.model_url}/webhook"
        assert hook["headers"] == {"X-Engine-Secret": read_secrets(home).webhook_secret}
        assert not hook["send_for_all_actions"]


def test_members_read_media_and_nobody_else_does(home: Path, site: Site) -> None:
    picture = site.media / MEDIA_FOLDER / "a.jpg"
    picture.write_bytes(b"picture")
    address = f"/data/local-files/?d={MEDIA_FOLDER}/a.jpg"
    invitation = invite_member(home, email="Reader@example.com", role="verifier")
    assert invitation.password_file is not None
    with browser(site.url) as client:
        assert client.get(address).status_code == 401
        assert sign_in(client, "reader@example.com", invitation.password_file.read_text().strip())
        assert client.get(address).content == b"picture"
        assert client.get("/data/local-files/?d=../secrets.json").status_code != 200
        assert client.get(f"/data/local-files/?d={MEDIA_FOLDER}/../../secrets.json").status_code != 200


def test_strangers_cannot_sign_up(site: Site) -> None:
    with browser(site.url) as client:
        token = client.get("/user/login/") and client.cookies["csrftoken"]
        form = {"email": "eve@example.com", "password": "long enough 1", "csrfmiddlewaretoken": token}
        assert client.post("/user/signup/", data=form).status_code == 403


def test_inviting_twice_only_sets_the_role(home: Path, site: Site) -> None:
    first = invite_member(home, email="ann@example.com", role="annotator")
    second = invite_member(home, email="Ann@Example.com", role="verifier")
    assert (first.created, second.created, second.password_file) == (True, False, None)
    assert read_people(home)["ann@example.com"] == "verifier"
    assert first.password_file is not None
    assert first.password_file.stat().st_mode & 0o777 == 0o600


def test_a_password_can_be_given(home: Path, site: Site, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse battery\n")
    invite_member(home, email="bob@example.com", role="annotator", password_file=tmp_path / "password")
    with browser(site.url) as client:
        assert sign_in(client, "bob@example.com", "correct horse battery")


def test_what_label_studio_refuses_is_said(home: Path, site: Site) -> None:
    with pytest.raises(SiteError, match=r"does not take carl@nowhere\.\.com as a member: .*valid email"):
        invite_member(home, email="carl@nowhere..com", role="annotator")
    assert "carl@nowhere..com" not in read_people(home)


def test_up_again_leaves_everything_alone(home: Path, site: Site) -> None:
    assert again(home) == read_site(home) == site
    assert site_status(home).ok


def test_two_at_once_take_turns(home: Path, site: Site) -> None:
    with ThreadPoolExecutor() as pool:
        assert [*pool.map(again, [home, home])] == [site, site]


def test_up_mends_what_members_did(home: Path, site: Site, api: Api) -> None:
    api.delete(f"/api/projects/{site.projects['selection']}/")
    number = site.projects["annotation-1"]
    (hook,) = api.list("/api/webhooks/", project=number)
    api.delete(f"/api/webhooks/{hook['id']}/")
    open_hook = {"url": f"{site.model_url}/webhook", "project": number, "send_for_all_actions": True}
    api.post("/api/webhooks/", open_hook)
    api.patch(f"/api/projects/{number}/", {"maximum_annotations": 5, "title": "Mine"})
    api.post("/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
    assert [*site_status(home).problems] == ["project selection is gone from Label Studio"]
    mended = again(home)
    test_the_projects_are_there_and_right(mended, api)
    test_the_only_webhook_is_ours(home, mended, api)
    assert mended.projects["annotation-1"] == number
    assert not api.get("/api/jwt/settings")["legacy_api_tokens_enabled"]
    assert site_status(home).ok


@pytest.mark.parametrize("name", ["label-studio", "model-server"])
def test_a_dead_server_is_reported_and_started_again(home: Path, name: str) -> None:
    before = read_site(home)
    kill(before.processes[name])
    status = site_status(home)
    assert not status.ok
    assert {one.name for one in status.services if one.state == "died"} == {name}
    after = again(home)
    assert after.processes[name] != before.processes[name]
    assert {**after.processes, name: None} == {**before.processes, name: None}
    assert (after.projects, after.url, after.model_url) == (before.projects, before.url, before.model_url)
    assert site_status(home).ok


def test_down_stops_exactly_what_was_started(home: Path) -> None:
    running = read_site(home).processes
    family = [psutil.Process(running["label-studio"].pid)]
    family += family[0].children(recursive=True)
    assert len(family) > 1
    assert sorted(down(home, lambda _: None)) == ["label-studio", "model-server"]
    assert not any(is_running(process) for process in running.values())
    assert not any(one.is_running() and one.status() != "zombie" for one in family)
    assert down(home, lambda _: None) == []
    assert {one.state for one in site_status(home).services} == {"stopped"}


def test_lost_secrets_are_made_anew(home: Path) -> None:
    old = read_secrets(home)
    (home / "studio" / "secrets.json").unlink()
    again(home)
    new = read_secrets(home)
    assert new.admin_password != old.admin_password
    assert site_status(home).ok
    assert "ann@example.com" in site_status(home).members


def test_no_secret_is_in_a_log(home: Path) -> None:
    secrets = read_secrets(home)
    said = "".join(log.read_text(errors="replace") for log in (home / "studio" / "logs").iterdir())
    kept = (secrets.admin_password, secrets.token, secrets.model_password, secrets.webhook_secret)
    assert said
    assert not any(secret in said for secret in kept)


@pytest.mark.postgres
def test_on_postgresql_and_behind_a_proxy(tmp_path: Path, postgres_url: str) -> None:
    settings = {"database_url": postgres_url, "public_url": "https://label.example", "workers": 1}
    with running_site(tmp_path, settings=settings, model_command=STAND_IN_COMMAND) as site:
        home = tmp_path / "home"
        assert (site.database, site.public_url) == ("postgresql", "https://label.example")
        assert invite_member(home, email="ann@example.com", role="annotator").created
        assert site_status(home).ok
        assert not list((home / "studio" / "label-studio").glob("*.sqlite3"))
        page = httpx.get(f"{site.url}/user/login/")
        assert "https://label.example/static" in page.text
        assert all("Secure" in cookie for cookie in page.headers.get_list("set-cookie"))
