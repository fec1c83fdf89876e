"""The site on a real PostgreSQL server: taken up from nothing; work published, done, handed in; taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from annotation.site.access import open_api
from annotation.site.lifecycle import down, site_status, up
from benchmarks.studio.bench_site import BenchSite, Work, bench_site
from benchmarks.studio.clips import Clip
from benchmarks.studio.person import Copy, ThroughStudio, click_region, masks_in
from engine.studio import site_config
from tests.studio_site import environment_missing

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.postgres,
    pytest.mark.skipif(bool(environment_missing()), reason=environment_missing()),
]

EMAIL = "ann@example.com"
CLIP = Clip(0, 3)


@pytest.fixture(scope="module")
def address(postgres_url: str) -> str:
    """A database of its own, by the address an operator would write."""
    address = postgres_url.replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE DATABASE site")
    return address.rsplit("/", 1)[0] + "/site"


@pytest.fixture(scope="module")
def site(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchSite]:
    with bench_site(tmp_path_factory.mktemp("site"), database_url=address) as site:
        yield site


def annotate(site: BenchSite, work: Work) -> Copy:
    """A member clicks on the first frame, the page is saved, the work handed in."""
    door = ThroughStudio(
        site.site.url,
        site.site.projects["annotation-3"],
        email=EMAIL,
        password=site.member(EMAIL),
    )

    async def work_on() -> Copy:
        copy = Copy.opened(work, EMAIL)
        answer = await door.ask(copy, click_region(work.ticket.view, 0, *CLIP.centre(0)))
        copy.take(answer)
        await door.save(copy)
        await door.hand_in(copy)
        await door.close()
        return copy

    return asyncio.run(work_on())


def test_work_goes_in_and_comes_back(site: BenchSite, address: str) -> None:
    assert site.site.database == "postgresql"
    work = site.publish(CLIP, name="disc", prelabelled=0.75)
    copy = annotate(site, work)
    masks = masks_in(copy.result, work.ticket.view)
    disc = CLIP.disc(0)
    assert sorted(masks) == [0, 1, 2]
    assert (masks[0] & disc).sum() > 0.5 * disc.sum()
    with open_api(site.site.url, site.secrets) as api:
        (annotation,) = api.get(f"/api/tasks/{work.task_id}/")["annotations"]
    assert annotation["result"] == copy.result
    status = site_status(site.home.path)
    assert status.ok
    assert status.tasks["annotation-3"].finished == 1
    assert status.members[EMAIL] == "annotator"


def test_everything_is_in_postgresql(site: BenchSite, address: str) -> None:
    with psycopg.connect(address) as connection:
        rows = connection.execute("SELECT email FROM htx_user").fetchall()
    assert (EMAIL,) in rows
    assert not list(site.home.path.rglob("*.sqlite3"))


def test_up_again_finds_everything(site: BenchSite) -> None:
    home = site.home.path
    down(home, lambda _: None)
    again = up(site_config(home, site.home.settings), lambda _: None)
    assert again.projects == site.site.projects
    assert site_status(home).tasks["annotation-3"].finished == 1


def test_no_password_of_the_database_is_shown(site: BenchSite, tmp_path: Path) -> None:
    settings = site.home.settings.overridden({"studio.database_url": "postgresql://me:hunter2@db/x"})
    assert "hunter2" not in repr(site_config(tmp_path, settings))
