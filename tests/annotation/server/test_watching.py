"""Work that asks the model nothing is seen in drafts all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np

from storage.masks import decode
from tests.annotation.discs import disc


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def until(true: Any) -> None:
    for _ in range(200):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came true")


def test_painting_alone_is_written_down_as_it_is_saved(make_world):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(watch_s=0.05)
            page = world.page()
            await page.click(0, 18, 30)
            for number in (1, 2):
                page.paint(number, disc(30, 30, 4 + number))
                world.clock.wait(5)
                page.save()
                await until(lambda number=number: len(world.log("brush")) == number)
            drafts = world.log("draft")
            assert [event.person for event in drafts] == [page.user, page.user]
            assert drafts[1].at - drafts[0].at > 4.9
            assert len(world.log("open")) == 1  # the draft said who the stranger was
            painted = [decode(event.answers[event.frame]) for event in world.log("brush")]
            assert np.array_equal(painted[1], disc(30, 30, 6))
            await asyncio.sleep(0.2)
            assert len(world.log("draft")) == 2  # the same draft seen again is nothing new

    run(story())


def test_a_look_that_fails_is_not_the_last_one(make_world, monkeypatch):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(watch_s=0.05)
            page = world.page()
            await page.click(0, 18, 30)
            looks, drafts = [], world.drafts

            async def failing(task_id: int) -> Any:
                looks.append(task_id)
                if len(looks) == 1:
                    raise RuntimeError("nobody thought of this")
                return await drafts(task_id)

            monkeypatch.setattr(world, "drafts", failing)
            page.paint(1, disc(30, 30, 5))
            world.clock.wait(5)
            page.save()
            await until(lambda: len(world.log("brush")) == 1)

    run(story())


def test_tickets_that_nobody_is_at_are_left_alone(make_world):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(watch_s=0.03, active_s=0.1)
            page = world.page()
            await page.click(0, 18, 30)
            await asyncio.sleep(0.3)
            page.paint(1, disc(30, 30, 4))
            world.clock.wait(5)
            page.save()
            await asyncio.sleep(0.2)
            assert world.log("draft", "brush") == []

    run(story())
