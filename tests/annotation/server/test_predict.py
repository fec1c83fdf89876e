"""The model server answers prompts as Label Studio's pages send them, phase by phase."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from storage.masks import decode


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_a_click_is_answered_on_its_page_only(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            answer = await page.click(2, 26, 30)
            assert answer.pages == [2]
            assert answer.regions[0]["id"] == "f00002"
            assert answer.regions[0]["value"]["bitmasklabels"] == ["object"]
            (event,) = world.log()
            assert (event.kind, event.frame, event.positive, event.person) == ("click", 8, True, "")
            assert (event.x, event.y) == pytest.approx((26, 30))
            assert np.array_equal(decode(event.answers[8]), page.mask(2))

    run(story())


def test_clicks_on_a_page_add_up_and_their_signs_count(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            await page.click(0, 18, 30)
            await page.click(0, 50, 50, positive=False)
            await page.click(0, 20, 32, positive=None)  # came back from a draft without its sign
            assert [event.positive for event in world.log("click")] == [True, False, True]
            assert world.opened == 1

    run(story())


def test_a_box_is_answered(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            answer = await page.box(1, 12, 20, 32, 40)
            assert answer.pages == [1]
            (event,) = world.log("box")
            assert event.text == "[12.0, 20.0, 32.0, 40.0]"

    run(story())


def test_phase_1_does_not_propagate_and_says_so_at_once(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            await page.click(0, 18, 30)
            answer = await page.enter(0, "p", save=False)
            assert answer.pages == []
            assert "has no tracker" in answer.says
            assert world.log("refused")[0].text in answer.says

    run(story())


@pytest.mark.parametrize(
    ("command", "at", "reached"), [("p", 2, {3, 4, 5}), ("b", 3, {1, 2}), ("pp", 2, {1, 3, 4, 5})]
)
def test_propagation_goes_where_it_was_sent_and_keeps_what_the_person_made(make_world, command, at, reached):
    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            click = await page.click(at, 18 + 4 * at, 30)
            world.clock.wait(5)
            answer = await page.enter(at, command)
            (event,) = world.log("command")
            assert {world.ticket.view.page_of(frame) for frame in event.answers} <= reached | {0}
            assert set(answer.pages) - {at} == {world.ticket.view.page_of(frame) for frame in event.answers}
            assert at not in {world.ticket.view.page_of(frame) for frame in event.answers}
            assert f"yours kept: {at + 1}" in answer.says
            assert np.array_equal(page.mask(at), decode(world.log("click")[0].answers[4 * at]))
            assert click.pages == [at]

    run(story())


def test_only_pages_that_changed_are_sent(make_world):
    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            first = await page.enter(0, "p")
            world.clock.wait(5)
            again = await page.enter(0, "p")
            assert len(first.pages) >= 4
            assert set(again.pages) <= set(first.pages)
            assert world.log("command")[1].answers == {}
            assert "No page changed" in again.says

    run(story())


def test_help_suggestion_and_unknown_text(make_world):
    async def story():
        async with make_world(phase=3) as world:
            page = world.page()
            assert "pp = carry them through the whole video" in (await page.enter(1, "?", save=False)).says
            assert (
                "'wave' is no command. Type one of these" in (await page.enter(1, " wave ", save=False)).says
            )
            suggested = await page.enter(1, "N", save=False)
            assert "Look at page 2 of 6" in suggested.says  # the first without a mask, counted from 1
            assert page.regions[page.texts[1]]["value"]["text"] == []  # the command box is empty again

    run(story())


def test_undo_and_reset_by_command(make_world):
    async def story():
        async with make_world(phase=3) as world:
            page = world.page()
            before = page.mask(0)
            await page.click(0, 18, 30)
            one = page.mask(0)
            await page.click(0, 40, 50)
            world.clock.wait(5)
            await page.enter(0, "u")
            assert np.array_equal(page.mask(0), one)
            world.clock.wait(5)
            await page.click(0, 10, 10, positive=False)
            world.clock.wait(5)
            await page.enter(0, "r", save=False)
            assert np.array_equal(page.mask(0), before)
            assert "nothing to undo" in (await page.enter(3, "u")).says

    run(story())


def test_occluded_frames_are_noted_and_forgotten_again(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            await page.click(0, 18, 30)
            page.mark(1, "occluded")
            world.clock.wait(5)
            page.save()
            await page.click(0, 19, 30)
            page.mark(1, None)
            world.clock.wait(5)
            page.save()
            await page.click(0, 20, 30)
            assert [(event.kind, event.frame) for event in world.log("occluded", "visible")] == [
                ("occluded", 4),
                ("visible", 4),
            ]

    run(story())


def test_a_click_on_a_page_marked_absent_says_so(make_world):
    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            page.mark(3, "absent")
            world.clock.wait(5)
            page.save()
            answer = await page.click(3, 30, 30)
            assert answer.pages == [3]
            assert "marked absent" in answer.says

    run(story())


def test_absent_by_mark_and_back(make_world):
    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            page.mark(0, "absent")
            world.clock.wait(5)
            page.save()
            await page.click(2, 26, 30)
            (event,) = world.log("absent")
            assert not decode(event.answers[0]).any()
            page.mark(0, None)
            world.clock.wait(5)
            page.save()
            await page.click(2, 27, 30)
            (event,) = world.log("undo")
            assert np.array_equal(decode(event.answers[0]), page.mask(0))

    run(story())
