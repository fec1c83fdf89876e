"""The model server answers prompts as Label Studio's pages send them: each trap by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.annotation.server.world import World

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path, tools) -> MakeWorld:
    return lambda **changes: World(tmp_path, tools, **changes)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_a_click_is_answered_on_its_page_only(make_world):
    async def story():
        world = make_world(phase=1)
        page = world.page()
        answer = await page.click(2, 26, 30)
        assert answer.pages == [2]
        assert answer.regions[0]["id"] == "f00002"
        assert answer.regions[0]["value"]["bitmasklabels"] == ["object"]
        (event,) = world.log()
        assert (event.kind, event.frame, event.positive, event.person) == ("click", 8, True, "")
        assert (event.x, event.y) == pytest.approx((26, 30))
        assert list(event.answers) == [8]

    run(story())
