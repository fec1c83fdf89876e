"""Asking Label Studio for drafts: tokens are renewed, errors hold none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from annotation.errors import SiteError
from annotation.server.label_studio import DraftError, LabelStudioDrafts

DRAFT = {"id": 3, "user": "a@b.c", "result": [], "updated_at": "2026-11-22T16:54:11.747329Z"}


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


class Site:
    """Label Studio's API: access tokens that stop being good when told to."""

    def __init__(self) -> None:
        self.given = 0
        self.good = ""
        self.paths: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        if request.url.path == "/api/token/refresh":
            if b'"pat-secret"' not in request.content:
                return httpx.Response(401, json={})
            self.given += 1
            self.good = f"access-{self.given}"
            return httpx.Response(200, json={"access": self.good})
        if request.headers["authorization"] != f"Bearer {self.good}":
            return httpx.Response(401, json={})
        if request.url.path == "/api/tasks/62/drafts":
            return httpx.Response(200, json=[DRAFT])
        if request.url.path == "/api/users/3":
            return httpx.Response(200, json={"id": 3, "email": "a@b.c"})
        return httpx.Response(404, text="<html>")


def client(site: Callable[[httpx.Request], httpx.Response], token: str = "pat-secret") -> LabelStudioDrafts:
    return LabelStudioDrafts(lambda: ("http://ls", token), transport=httpx.MockTransport(site))


def test_drafts_with_one_token_until_it_is_refused():
    async def story():
        site = Site()
        drafts = client(site)
        (draft,) = await drafts.drafts(62)
        assert (draft.user, draft.saved_at) == ("a@b.c", 1795366451.747329)
        await drafts.drafts(62)
        assert site.given == 1
        site.good = "another"
        await drafts.drafts(62)
        assert site.given == 2
        await drafts.close()

    run(story())


def test_an_address_is_asked_for_once():
    async def story():
        site = Site()
        drafts = client(site)
        assert [await drafts.email(3), await drafts.email(3)] == ["a@b.c", "a@b.c"]
        assert site.paths.count("/api/users/3") == 1
        await drafts.close()

    run(story())


def down(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


@pytest.mark.parametrize(("site", "token"), [(down, "pat-secret"), (Site(), "old-secret")])
def test_errors_say_why_without_a_token(site, token):
    async def story():
        drafts = client(site, token)
        with pytest.raises(DraftError) as caught:
            await drafts.drafts(62)
        assert "secret" not in str(caught.value)
        with pytest.raises(DraftError):
            await drafts.email(4)
        await drafts.close()

    run(story())


def test_a_home_without_a_site_is_an_error_of_the_same_kind():
    async def story():
        def nowhere() -> tuple[str, str]:
            raise SiteError("run `engine studio up`")

        with pytest.raises(DraftError, match="engine studio up"):
            await LabelStudioDrafts(nowhere, transport=httpx.MockTransport(down)).drafts(62)

    run(story())


def test_what_is_not_there_is_an_error():
    async def story():
        drafts = client(Site())
        with pytest.raises(DraftError, match="404 to /api/tasks/63/drafts"):
            await drafts.drafts(63)
        await drafts.close()

    run(story())
