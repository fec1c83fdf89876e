"""What goes wrong between a page of Label Studio and a model server, one trap a test."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface

from annotation.pages.configs import label_config
from storage.errors import StoreError
from storage.masks import decode, encode
from tests.annotation.discs import disc
from tests.annotation.server.world import World, repacked

SECOND = "anno2@example.com"


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def frames(world: World, kind: str) -> list[int | None]:
    return [event.frame for event in world.log(kind)]


def test_points_leaking_from_another_page_are_left_out(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            old = page._drawn("keypoint", "click", 4, {"x": 50, "y": 50, "width": 0.2, "labels": []})
            new = page._drawn("keypoint", "click", 5, {"x": 20, "y": 30, "width": 0.2, "labels": []})
            answer = await page.send([old, new])
            assert answer.pages == [5]
            assert frames(world, "click") == [20]

    run(story())


def test_a_point_that_arrives_twice_counts_once(make_world):
    """While a labelled region is selected the same id comes as a click and as a mask."""

    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            point = page._drawn("keypoint", "click", 3, {"x": 50, "y": 50, "width": 0.2, "labels": []})
            shadow = point | {"type": "bitmasklabels", "from_name": "mask"}
            shadow["value"] = point["value"] | {"bitmasklabels": ["object"]}
            answer = await page.send([point | {"is_positive": True}, shadow])
            assert answer.pages == [3]
            assert frames(world, "click") == [12]

    run(story())


def test_a_prompt_delivered_twice_is_answered_twice_and_acted_on_once(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            context = [page._drawn("keypoint", "click", 1, {"x": 40, "y": 45, "width": 0.2, "labels": []})]
            both = await asyncio.gather(page.send(copy.deepcopy(context)), page.send(context))
            assert both[0].regions == both[1].regions
            await world.restart()
            assert (await page.send(context)).regions[0] == both[0].regions[0]
            assert len(world.log("click")) == 1

    run(story())


def test_the_same_command_twice_acts_twice_but_its_retry_does_not(make_world):
    """All commands of a page come in one region; the text that we put beside it tells them apart."""

    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            first = page.typed(0, "p")
            page.save()
            await page.send(first)
            await page.send(first)
            assert len(world.log("command")) == 1
            world.clock.wait(5)
            second = page.typed(0, "p")
            assert second[-1] == first[-1]  # the very same command box
            page.save()
            await page.send(second)
            assert len(world.log("command")) == 2

    run(story())


def test_requests_without_context_or_prompt_get_nothing(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            assert (await page.send(None)).results == []
            empty = await page.send([])  # after submit, and when a point is deleted
            assert [row["result"] for row in empty.results] == [[]]
            assert world.opened == 0
            assert world.log() == []

    run(story())


def test_undo_in_the_page_is_seen_in_the_draft(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            await page.click(0, 18, 30)
            one = page.mask(0)
            await page.click(0, 45, 45)
            page.undo()
            world.clock.wait(5)
            page.save()
            await page.click(0, 20, 30, positive=False)
            kinds = [(event.kind, event.person) for event in world.log()]
            assert kinds == [
                ("click", ""),
                ("click", ""),
                ("open", page.user),
                ("undo", page.user),
                ("click", page.user),
            ]
            assert np.array_equal(decode(world.log("undo")[0].answers[0]), one)
            other = World(world.folder / "other", world.tools, phase=1)
            async with other:
                same = other.page()
                await same.click(0, 18, 30)
                await same.click(0, 20, 30, positive=False)
                assert np.array_equal(same.mask(0), page.mask(0))

    run(story())


def test_undo_of_a_propagation_and_redo(make_world):
    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            await page.enter(0, "p")
            after = copy.deepcopy(page.regions)
            world.clock.wait(5)
            page.save()
            await page.enter(0, "?", save=False)
            page.undo()
            page.undo()
            world.clock.wait(5)
            page.save()
            await page.enter(0, "?", save=False)
            (event,) = world.log("undo")
            assert event.text == "4,8,12,16,20"  # frames that show nothing any more
            page.regions = after
            world.clock.wait(5)
            page.save()
            await page.enter(0, "?", save=False)
            assert set(world.log("undo")[1].answers) == {4, 8, 12, 16, 20}
            assert world.log("brush") == []

    run(story())


def test_old_masks_of_pages_nobody_turned_to_are_no_undo(make_world):
    """Label Studio saves what it loaded for pages that were never shown, whatever an answer put there since."""

    async def story():
        masks = {4 * n: encode(disc(30, 30, 3 + n)) for n in range(6)}
        async with make_world(phase=2, masks=masks) as world:
            page = world.page()
            loaded = copy.deepcopy(page.regions)
            answer = await page.enter(0, "p")
            assert len(answer.pages) > 3
            newer = copy.deepcopy(page.regions)
            page.regions |= {f"f{n:05d}": loaded[f"f{n:05d}"] for n in range(1, 6)}
            world.clock.wait(5)
            page.save()
            page.regions = newer
            await page.click(0, 18, 30)
            assert world.log("undo", "brush") == []
            page.regions |= {f"f{n:05d}": loaded[f"f{n:05d}"] for n in range(1, 6)}
            world.clock.wait(5)
            again = await page.enter(0, "p")  # perhaps the page was loaded anew: it gets them once more
            assert set(again.pages) >= set(answer.pages) - {0}
            assert np.array_equal(page.mask(5), decode(world.sessions[0].standing(5).mask))

    run(story())


def test_an_old_mask_of_one_page_of_an_answer_is_no_undo(make_world):
    """A page that is being turned may be saved as it was loaded, though an earlier draft showed the answer there."""

    async def story():
        masks = {4 * n: encode(disc(30, 30, 3 + n)) for n in range(6)}
        async with make_world(phase=2, masks=masks) as world:
            page = world.page()
            loaded = copy.deepcopy(page.regions)
            await page.enter(0, "p")
            world.clock.wait(5)
            page.save()
            await page.click(5, 42, 30)
            newer = copy.deepcopy(page.regions)
            page.regions["f00003"] = loaded["f00003"]
            world.clock.wait(5)
            page.save()
            page.regions = newer
            await page.click(0, 18, 30)
            assert world.log("undo", "brush") == []
            assert np.array_equal(page.mask(3), decode(world.sessions[0].standing(3).mask))
            page.regions |= {f"f{n:05d}": loaded[f"f{n:05d}"] for n in range(1, 5)}
            world.clock.wait(5)
            page.save()  # all of them, as Ctrl+Z leaves them
            await page.enter(0, "?", save=False)
            assert set(world.log("undo")[0].answers) == {4, 8, 12, 16}

    run(story())


def test_a_draft_older_than_the_answer_undoes_nothing(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            await page.click(0, 18, 30)
            page.save()
            world.clock.wait(5)
            await page.click(0, 45, 45)
            await page.click(0, 30, 30)
            assert world.log("undo", "brush") == []
            assert len(world.log("click")) == 3

    run(story())


def test_strokes_of_the_brush_are_found_and_kept_to_the_pixel(make_world):
    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            await page.click(1, 22, 30)
            painted = disc(40, 40, 8)
            page.paint(1, painted)
            page.regions["f00001"]["value"]["imageDataURL"] = repacked(painted)
            world.clock.wait(5)
            page.save()
            await page.enter(2, "?", save=False)
            (event,) = world.log("brush")
            assert event.frame == 4
            assert np.array_equal(decode(event.answers[4]), painted)

    run(story())


def test_pictures_that_the_browser_packed_anew_are_no_strokes(make_world):
    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            await page.enter(0, "p")
            for number in range(6):
                url = repacked(page.mask(number))
                page.regions[f"f{number:05d}"]["value"]["imageDataURL"] = url
            world.clock.wait(5)
            page.save()
            await page.click(2, 26, 30)
            assert world.log("brush", "undo", "absent") == []

    run(story())


def test_a_deleted_region_is_an_empty_mask_by_hand(make_world):
    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            await page.click(1, 22, 30)
            del page.regions["f00000"]  # was published with a mask
            world.clock.wait(5)
            page.save()
            await page.enter(2, "?", save=False)
            (event,) = world.log("brush")
            assert (event.frame, decode(event.answers[0]).any()) == (0, False)

    run(story())


def test_a_command_waits_for_the_strokes_before_it(make_world):
    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            await page.click(0, 18, 30)
            world.clock.wait(5)
            page.save()
            world.clock.wait(5)
            painted = disc(22, 30, 6)
            page.paint(0, painted)  # not saved yet
            context = page.typed(0, "p")
            answering = asyncio.create_task(page.send(context))
            await asyncio.sleep(0.1)
            assert world.log("command") == []
            page.save()
            answer = await answering
            assert [event.kind for event in world.log()][-2:] == ["brush", "command"]
            assert np.array_equal(decode(world.log("brush")[0].answers[0]), painted)
            assert answer.pages

    run(story())


def test_a_propagation_begins_before_the_page_has_saved(make_world):
    """Strokes that come with the draft undo what was done ahead: the masks are as if it had never been."""

    async def story():
        async with make_world(phase=2) as world:
            page = world.page()
            propagating = asyncio.create_task(page.send(page.typed(0, "p")))
            while world.opened == 0 or world.sessions[0].masks[5] is None:
                assert not propagating.done()
                await asyncio.sleep(0.01)
            assert world.log() == []
            world.clock.wait(5)
            page.paint(0, disc(40, 40, 9))
            page.save()
            await propagating
            assert [event.kind for event in world.log()] == ["brush", "command"]
            async with World(world.folder / "other", world.tools, phase=2) as other:
                same = other.page()
                same.paint(0, disc(40, 40, 9))
                other.clock.wait(5)
                await same.enter(0, "p")
                for number in range(6):
                    assert np.array_equal(page.mask(number), same.mask(number))

    run(story())


def test_a_command_whose_draft_never_comes_changes_nothing(make_world):
    async def story():
        async with make_world(phase=2) as world:
            await world.restart(draft_wait_s=0.3)
            page = world.page()
            await page.click(0, 18, 30)
            page.paint(0, disc(22, 30, 6))
            before = [world.sessions[0].standing(number) for number in range(6)]
            answer = await page.enter(0, "p", save=False)
            assert [world.sessions[0].standing(number) for number in range(6)] == before
            assert "have not arrived yet" in answer.says
            assert answer.pages == []
            assert world.log("command", "brush") == []
            world.clock.wait(5)
            await world.restart(draft_wait_s=25.0)
            assert (await page.enter(0, "p")).pages
            assert [event.kind for event in world.log()][-2:] == ["brush", "command"]

    run(story())


def test_what_is_sent_while_a_command_waits_comes_after_it(make_world):
    async def story():
        async with make_world(phase=2, pages=4) as world:
            page = world.page()
            propagating = asyncio.create_task(page.send(page.typed(0, "p")))
            await asyncio.sleep(0.05)
            clicking = asyncio.create_task(page.click(3, 30, 30))
            await asyncio.sleep(0.05)
            page.save()
            await propagating
            answer = await clicking
            assert [event.kind for event in world.log("command", "click")] == ["command", "click"]
            assert answer.pages == [1, 2, 3]  # the page dropped the command's answer, so its pages come now

    run(story())


def test_answers_that_the_page_dropped_are_repeated(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            world.gate.clear()  # the first click is not answered before the second has come
            clicks = [asyncio.create_task(page.click(0, 18, 30))]
            while not world.opened:
                await asyncio.sleep(0.01)
            clicks.append(asyncio.create_task(page.click(1, 22, 30)))
            await world.waiting(1)
            world.gate.set()
            first, second = await asyncio.gather(*clicks)
            assert (first.pages, second.pages) == ([0], [0, 1])
            assert np.array_equal(page.mask(0), decode(world.log("click")[0].answers[0]))
            third = await page.click(2, 26, 30)
            assert third.pages == [2]

    run(story())


def test_answers_that_may_have_crossed_with_the_next_request_are_repeated(make_world):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(repeat_s=30.0)
            page = world.page()
            assert (await page.click(0, 18, 30)).pages == [0]
            assert (await page.click(1, 22, 30)).pages == [0, 1]

    run(story())


def test_pages_that_a_draft_shows_are_not_repeated(make_world):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(repeat_s=30.0)
            page = world.page()
            await page.click(0, 18, 30)
            page.save()
            assert (await page.click(1, 22, 30)).pages == [1]
            assert (await page.click(2, 26, 30)).pages == [1, 2]

    run(story())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": {"x": "left", "y": 5}}, "x = 'left' instead of a number"),
        ({"value": {"x": 900, "y": 5}}, "outside the frame"),
        ({"type": "ellipse"}, "is of type 'ellipse'"),
        ({"item_index": 77}, "names page 77"),
    ],
)
def test_a_malformed_prompt_is_told_and_changes_nothing(make_world, change, said):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            point = page._drawn("keypoint", "click", 1, {"x": 40, "y": 45, "width": 0.2, "labels": []})
            answer = await page.send([point | change])
            assert said in answer.says
            assert answer.pages == []
            assert all(0 <= region["item_index"] < 6 for region in answer.regions)
            assert world.log() == []

    run(story())


def test_nothing_malformed_is_ever_sent(make_world):
    """One bad region would blank the whole editor."""

    async def story():
        async with make_world(phase=3) as world:
            page = world.page()
            answers = [
                await page.click(0, 18, 30),
                await page.box(2, 12, 20, 40, 44),
                await page.enter(0, "p"),
                await page.enter(0, "r", save=False),
                await page.enter(5, "?", save=False),
                await page.enter(5, "what", save=False),
            ]
            interface = LabelInterface(label_config("annotation-3"))
            for answer in answers:
                errors = interface.validate_prediction(
                    {"model_version": "v", "result": answer.regions}, return_errors=True
                )
                assert errors == []
                assert len({region["id"] for region in answer.regions}) == len(answer.regions)

    run(story())


def test_two_people_on_one_task_do_not_meet(make_world):
    async def story():
        async with make_world(phase=1) as world:
            one, two = world.page(), world.page(SECOND)
            await one.click(0, 18, 30)
            world.clock.wait(5)
            one.save()
            await two.click(0, 45, 45)  # nobody's yet; not the first person's, who has a draft
            alone = two.mask(0)
            world.clock.wait(5)
            two.save()
            await one.click(0, 20, 32)
            await two.click(0, 44, 46)
            people = [(event.person, event.x) for event in world.log("click")]
            assert [person for person, _ in people] == ["", "", one.user, two.user]
            async with World(world.folder / "other", world.tools, phase=1) as other:
                same = other.page(SECOND)
                await same.click(0, 45, 45)
                assert np.array_equal(same.mask(0), alone)
                await same.click(0, 44, 46)
                assert np.array_equal(same.mask(0), two.mask(0))

    run(story())


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("phase", [1, 2, 3])
def test_a_restart_in_the_middle_loses_nothing(make_world, phase, saved):
    async def story():
        async with make_world(phase=phase) as world:
            page = world.page()
            await page.click(1, 22, 30)
            await page.click(1, 40, 50, positive=False)
            await page.box(3, 20, 20, 44, 40)
            if saved:
                world.clock.wait(5)
                page.paint(2, disc(30, 30, 5))
                await page.enter(1, "p")
                await page.enter(1, "r")
                await page.click(1, 21, 30)
                world.clock.wait(5)
                await page.enter(1, "u")
                world.clock.wait(5)
                page.save()
            before = [world.sessions[0].standing(number) for number in range(6)]
            await world.restart()
            await page.enter(5, "?", save=False)
            assert [world.sessions[1].standing(number) for number in range(6)] == before
            if not saved:
                await page.click(1, 24, 30)
                assert len(world.sessions[1].standing(1).clicks) == 3
            await page.click(4, 34, 30)
            world.clock.wait(5)
            page.save()
            await page.enter(4, "?", save=False)
            assert len(world.log("open")) == 1
            assert len(world.log("brush")) == (1 if saved else 0)

    run(story())


@pytest.mark.parametrize(("author", "known"), [(1, True), (99, False)])
def test_who_goes_on_with_what_they_handed_in_is_known(make_world, author, known):
    """After a submission there is no draft, until the next change is saved."""

    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            await page.click(0, 18, 30)
            world.clock.wait(5)
            page.save()
            draft = world.saved.pop(page.user)
            annotation = {**draft, "user": None, "completed_by": author, "was_cancelled": False}
            point = page._drawn("keypoint", "click", 0, {"x": 40, "y": 45, "width": 0.2, "labels": []})
            world.clock.wait(60)
            body = page.request([point], annotations=[annotation])
            assert (await world.client.post("/predict", json=body)).status_code == 200
            assert world.log("brush") == []
            assert world.log("click")[1].person == (page.user if known else "")
            assert len(world.sessions[-1].standing(0).clicks) == (2 if known else 1)

    run(story())


def test_a_clock_that_is_set_back_mixes_up_nothing(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            for x in (18, 20, 22, 24):
                await page.click(1, x, 30)
                world.clock.wait(-0.7)
            before = world.sessions[0].standing(1)
            assert [event.x for event in world.log("click")] == [18, 20, 22, 24]
            await world.restart()
            await page.enter(5, "?", save=False)
            assert world.sessions[1].standing(1) == before

    run(story())


def test_a_sitting_that_was_closed_for_memory_goes_on_where_it_was(make_world):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(session_bytes=1)
            one, two = world.page(), world.page(SECOND)
            for person in (one, two):
                await person.click(0, 18, 30)
                world.clock.wait(5)
                person.save()
            for _ in range(2):
                await one.click(0, 20, 30)
                await two.click(0, 21, 30)
            assert world.opened > 3
            assert len([e for e in world.log("click") if e.person == one.user]) == 2
            assert world.log("brush", "undo") == []

    run(story())


def test_who_finds_the_queue_full_is_told_at_once(make_world):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(queue=1)
            world.gate.clear()
            page = world.page()
            begun = asyncio.create_task(page.click(0, 18, 30))
            while not world.opened:
                await asyncio.sleep(0.01)
            waiting = asyncio.create_task(page.click(1, 18, 30))
            await world.waiting(1)
            turned_away = await page.click(2, 18, 30)
            assert "Busy: 1 people are ahead" in turned_away.says
            assert not begun.done() and not waiting.done()
            world.gate.set()
            await asyncio.gather(begun, waiting)
            answer = await page.click(2, 18, 30)
            assert answer.pages == [
                0,
                1,
                2,
            ]  # the page dropped the answers before the one that turned it away
            assert len(world.log("click")) == 3

    run(story())


def test_who_waits_too_long_is_told_and_nothing_happens(make_world):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(deadline_s=0.1)
            world.gate.clear()
            page = world.page()
            begun = asyncio.create_task(page.click(0, 18, 30))
            while not world.opened:
                await asyncio.sleep(0.01)
            late = asyncio.create_task(page.click(1, 18, 30))
            threading.Timer(0.3, world.gate.set).start()
            await begun
            assert "took too long" in (await late).says
            assert frames(world, "click") == [0]

    run(story())


def test_an_act_that_cannot_be_written_down_did_not_happen(make_world, monkeypatch):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            await page.click(0, 18, 30)

            def full(*args: object) -> None:
                raise StoreError("the disk is full; free some space")

            with monkeypatch.context() as patch:
                patch.setattr(world.events, "append", full)
                answer = await page.click(0, 45, 45)
                assert "the disk is full" in answer.says
                assert answer.pages == []
            await page.click(0, 20, 32)
            clicks = world.sessions[-1].standing(0).clicks
            assert [(round(click.x), round(click.y)) for click in clicks] == [(18, 30), (20, 32)]
            assert len(world.log("click")) == 2

    run(story())


def test_a_task_that_the_engine_did_not_publish_is_told_so(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            body = page.request([page._drawn("keypoint", "click", 1, {"x": 4, "y": 4})])
            body["tasks"][0]["data"]["ticket_id"] = "m9-annotate-1"
            response = await world.client.post("/predict", json=body)
            (region,) = response.json()["results"][0]["result"]
            assert "There is no ticket 'm9-annotate-1'" in region["value"]["text"][0]

    run(story())
