"""Publishing and collecting, without a browser: who is asked what, what counts, and what is never lost or doubled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from annotation.errors import SiteError
from annotation.pages.marks import mask_region
from annotation.pages.views import TaskLimits
from annotation.studio.client import TaskError
from storage.inbox import Inbox
from storage.masks import decode
from tests.annotation.studio.conftest import ROUND, Round, block, rle, verdict_result

ANN, BOB, VERA = "ann@x.org", "bob@x.org", "vera@x.org"


class TestPublishing:
    def test_every_open_item_is_one_task_however_often_it_is_published(self, studio_round: Round):
        items = [studio_round.item(), studio_round.verification()]
        for _ in range(3):
            assert studio_round.exchange(*items) == []
        assert studio_round.studio.open_tickets() == ["m-annotate-1", "m-verify-1"]
        assert studio_round.studio.imports == 2

    def test_the_task_holds_frames_texts_and_masks(self, studio_round: Round):
        item = studio_round.item(masks={0: rle(1), 1: rle(1, size=0)})
        studio_round.exchange(item)
        (task,) = studio_round.studio.find("m-annotate-1")
        assert task["data"]["frames"] == [f"/{frame}.jpg" for frame in range(6)]
        assert (task["data"]["object_name"], task["data"]["round_id"]) == ("cell", ROUND)
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "engine"
        assert [region["id"] for region in prediction["result"]] == ["f00000"], "an empty mask is no region"

    def test_a_kill_between_ticket_and_task_leaves_nothing_twice(self, studio_round: Round, monkeypatch):
        def killed(*_: Any, **__: Any) -> int:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(studio_round.studio, "add_task", killed)
            studio_round.exchange(studio_round.item())
        assert list(studio_round.tickets.ids(ROUND)) == ["m-annotate-1"]
        studio_round.exchange(studio_round.item())
        assert studio_round.studio.open_tickets() == ["m-annotate-1"]

    def test_of_two_tasks_for_one_ticket_the_idle_one_goes(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        (task,) = studio_round.studio.find("m-annotate-1")
        studio_round.studio.add_task(task["project"], task["data"])  # an import whose answer was lost
        studio_round.exchange(studio_round.item())
        assert [one["id"] for one in studio_round.studio.find("m-annotate-1")] == [task["id"]]

    def test_a_task_that_somebody_deleted_comes_back(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        (task,) = studio_round.studio.find("m-annotate-1")
        studio_round.studio.delete_task(task["id"])
        studio_round.exchange(studio_round.item())
        assert studio_round.studio.open_tickets() == ["m-annotate-1"]

    def test_what_was_published_stays_as_it_was(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        (task,) = studio_round.studio.find("m-annotate-1")
        studio_round.studio.delete_task(task["id"])
        studio_round.exchange(studio_round.item(name="another name"))
        assert studio_round.ticket().item.name == "cell"

    def test_the_notice_says_what_a_verifier_found_wrong(self, studio_round: Round):
        again = studio_round.item(
            task_id="m-annotate-2", revision=2, bad_range=(2, 3), reason="the tail is cut off"
        )
        studio_round.exchange(again)
        text = studio_round.studio.notice("m-annotate-2")
        assert "frames 2 to 3 bad" in text and "pages 3 to 4" in text and "the tail is cut off" in text

    def test_objects_that_are_taken_are_shown_to_the_selector(self, studio_round: Round):
        item = studio_round.item(
            task_id="s", kind="select", desk="selection", masks={}, taken=(rle(1), rle(6)), wanted=2, name=""
        )
        studio_round.exchange(item)
        (task,) = studio_round.studio.find("s")
        assert [region["id"] for region in task["predictions"][0]["result"]] == ["taken000", "taken001"]
        assert len(task["data"]["frames"]) == 1


class TestCollecting:
    def test_what_is_handed_in_is_the_masks_of_the_page(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        masks = studio_round.published() | {3: block(7, 4)}
        studio_round.studio.submit("m-annotate-1", ANN, studio_round.page_result(masks))
        (submission,) = studio_round.exchange(studio_round.item())
        assert (submission.actor, submission.task_id) == (ANN, "m-annotate-1")
        for mask in submission.masks:
            assert np.array_equal(decode(mask.rle), masks[mask.frame])
        assert [mask.frame for mask in submission.masks if mask.edited] == [3]

    def test_the_same_again_changes_nothing(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        studio_round.studio.submit("m-annotate-1", ANN, studio_round.page_result(studio_round.published()))
        first = studio_round.exchange(studio_round.item())
        before = set(studio_round.store.list(""))
        assert studio_round.exchange(studio_round.item()) == first
        assert set(studio_round.store.list("")) == before
        assert studio_round.studio.writes == 0

    def test_the_first_of_two_answers_counts_and_the_other_is_reported(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        result = studio_round.page_result(studio_round.published())
        studio_round.studio.submit("m-annotate-1", BOB, result)
        studio_round.studio.submit("m-annotate-1", ANN, result)
        (submission,) = studio_round.exchange(studio_round.item())
        assert submission.actor == BOB
        for _ in range(2):
            studio_round.exchange(studio_round.item())
        assert [one.submission.actor for one in studio_round.ledger().second_answers()] == [ANN]
        assert any("ann@x.org handed it in, too" in text for text in studio_round.queues().read().warnings)

    def test_a_bad_submission_stays_with_its_author_who_can_mend_it(self, studio_round: Round):
        item = studio_round.item(masks={0: rle(1)})
        studio_round.exchange(item)
        mine = studio_round.studio.submit(
            "m-annotate-1", ANN, studio_round.page_result({0: block(1), 1: block(2)})
        )
        assert studio_round.exchange(item) == []
        assert "Frames 2, 3, 4, 5 have neither a mask" in studio_round.studio.notice("m-annotate-1")
        (mending,) = studio_round.queues().read().mending
        assert (mending.person, mending.ticket_id) == (ANN, "m-annotate-1")
        assert studio_round.exchange(item) == [] and studio_round.studio.imports == 1
        whole = studio_round.page_result({0: block(1), 1: block(2)}, absent=[2, 3, 4, 5])
        studio_round.studio.update(mine, whole)
        (submission,) = studio_round.exchange(item)
        assert [mask.edited for mask in submission.masks] == [False, True, True, True, True, True]
        assert "NOT ACCEPTED" not in studio_round.studio.notice("m-annotate-1")
        assert studio_round.queues().read().mending == ()

    def test_a_refused_submission_that_is_deleted_leaves_no_word_for_the_next_person(
        self, studio_round: Round
    ):
        item = studio_round.item(masks={})
        studio_round.exchange(item)
        before = studio_round.studio.notice("m-annotate-1")
        mine = studio_round.studio.submit("m-annotate-1", ANN, [])
        studio_round.exchange(item)
        assert "NOT ACCEPTED" in studio_round.studio.notice("m-annotate-1")
        studio_round.studio.delete_annotation(mine)
        studio_round.exchange(item)
        assert studio_round.studio.notice("m-annotate-1") == before

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda region: region | {"item_index": 99}, "page 99"),
            (lambda region: region | {"original_width": 5}, "5 pixels"),
            (lambda region: region | {"value": {"imageDataURL": "data:image/png;base64,AAAA"}}, "PNG"),
            (lambda region: region | {"value": region["value"] | {"bitmasklabels": ["cat"]}}, "cat"),
            (lambda region: region | {"from_name": "brush"}, "brush"),
            (lambda region: "nonsense", "region"),
        ],
    )  # fmt: skip
    def test_what_no_page_makes_is_refused_and_kept(self, studio_round: Round, spoil, said):
        studio_round.exchange(studio_round.item())
        result = studio_round.page_result(studio_round.published())
        annotation = studio_round.studio.submit("m-annotate-1", ANN, [spoil(result[0]), *result[1:]])
        assert studio_round.exchange(studio_round.item()) == []
        assert said in studio_round.studio.notice("m-annotate-1")
        (refused,) = studio_round.ledger().refusals()
        assert refused["annotation_id"] == annotation["id"]
        raw = studio_round.inbox.read(ROUND, "annotation-raw")
        assert [value["annotation"]["result"] for value in raw.values()] == [annotation["result"]]

    def test_what_is_too_large_to_be_kept_is_refused_and_holds_up_nobody(self, studio_round: Round):
        items = [studio_round.item(), studio_round.item(task_id="n-annotate-1")]
        studio_round.exchange(*items)
        studio_round.inbox = Inbox(studio_round.store, max_bytes=20_000)
        studio_round.studio.submit("m-annotate-1", ANN, [{"id": "x" * 20_000}])
        right = studio_round.page_result(studio_round.published(), ticket_id="n-annotate-1")
        studio_round.studio.submit("n-annotate-1", ANN, right)
        assert [one.task_id for one in studio_round.exchange(*items)] == ["n-annotate-1"]
        assert "the limit is 20000" in studio_round.studio.notice("m-annotate-1")

    def test_a_skip_is_kept_and_the_task_stays_open(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        studio_round.studio.submit("m-annotate-1", ANN, [], was_cancelled=True)
        assert studio_round.exchange(studio_round.item()) == []
        assert [skip["actor"] for skip in studio_round.ledger().skips()] == [ANN]
        studio_round.studio.submit("m-annotate-1", BOB, studio_round.page_result(studio_round.published()))
        (submission,) = studio_round.exchange(studio_round.item())
        assert submission.actor == BOB

    def test_absent_in_all_frames_is_a_valid_answer(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        studio_round.studio.submit("m-annotate-1", ANN, studio_round.page_result({}, absent=range(6)))
        (submission,) = studio_round.exchange(studio_round.item())
        assert not any(decode(mask.rle).any() for mask in submission.masks)

    def test_changes_and_deletions_after_acceptance_are_noticed_and_change_nothing(self, studio_round: Round):
        items = [studio_round.item(task_id=f"m-annotate-{number}") for number in (1, 2, 3)]
        studio_round.exchange(*items)
        mine = []
        for number in (1, 2, 3):
            ticket = f"m-annotate-{number}"
            mine.append(
                studio_round.studio.submit(
                    ticket, ANN, studio_round.page_result(studio_round.published(), ticket_id=ticket)
                )
            )
        accepted = studio_round.exchange(*items)
        assert studio_round.queues().audit() == []
        studio_round.studio.update(mine[0], [])
        studio_round.studio.delete_annotation(mine[1])
        studio_round.studio.delete_task(mine[2]["task"])
        assert studio_round.exchange(*items) == accepted
        changed, deleted, gone = studio_round.queues().audit()
        assert "was changed" in changed and "was deleted" in deleted and "its task was deleted" in gone
        studio_round.studio.unreadable.add(mine[0]["task"])
        assert "refused a request" in studio_round.queues().audit()[0]

    def test_nothing_is_lost_when_label_studio_goes_down_in_between(self, studio_round: Round, monkeypatch):
        items = [studio_round.item(task_id="m-annotate-1"), studio_round.item(task_id="n-annotate-1")]
        studio_round.exchange(*items)
        for item in items:
            result = studio_round.page_result(studio_round.published(), ticket_id=item.task_id)
            studio_round.studio.submit(item.task_id, ANN, result)
        reads, task = [], studio_round.studio.task

        def failing(task_id: int) -> Any:
            reads.append(task_id)
            studio_round.studio.down = len(reads) > 1
            return task(task_id)

        with monkeypatch.context() as patch, pytest.raises(SiteError):
            patch.setattr(studio_round.studio, "task", failing)
            studio_round.exchange(*items)
        studio_round.studio.down = False
        assert [one.task_id for one in studio_round.exchange(*items)] == ["m-annotate-1", "n-annotate-1"]

    def test_a_task_over_which_label_studio_fails_holds_up_no_other(self, studio_round: Round):
        items = [studio_round.item(), studio_round.item(task_id="n-annotate-1")]
        studio_round.exchange(*items)
        for item in items:
            result = studio_round.page_result(studio_round.published(), ticket_id=item.task_id)
            studio_round.studio.submit(item.task_id, ANN, result)
        (broken,) = studio_round.studio.find("m-annotate-1")
        studio_round.studio.unreadable.add(broken["id"])
        for _ in range(2):
            came = studio_round.people().exchange(items)
            assert next(came).task_id == "n-annotate-1"
            with pytest.raises(TaskError, match=f"task {broken['id']}"):
                next(came)
        studio_round.studio.unreadable.clear()
        assert [one.task_id for one in studio_round.exchange(*items)] == ["m-annotate-1", "n-annotate-1"]

    def test_tasks_of_somebody_else_in_the_project_are_left_alone(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        (task,) = studio_round.studio.find("m-annotate-1")
        for strange in ("no-such-ticket", "../x", ""):
            studio_round.studio.add_task(
                task["project"], task["data"] | {"ticket_id": strange, "notice": "mine"}
            )
            studio_round.studio.submit(strange, ANN, [])
        assert studio_round.exchange(studio_round.item()) == []
        assert studio_round.studio.notice("no-such-ticket") == "mine"


class TestSelection:
    def select(self, studio_round: Round, *boxes: dict[str, Any], **changes: Any) -> list[Any]:
        item = studio_round.item(task_id="s", kind="select", desk="selection", masks={}, name="", wanted=2)
        studio_round.exchange(item)
        studio_round.studio.submit("s", ANN, list(boxes))
        return studio_round.exchange(item)

    def box(self, number: int) -> dict[str, Any]:
        value = {
            "x": 10 * number,
            "y": 25,
            "width": 25,
            "height": 50,
            "rotation": 0,
            "rectanglelabels": ["object"],
        }
        kinds = {"from_name": "object", "to_name": "frames", "type": "rectanglelabels"}
        return {"id": f"b{number}", "item_index": 0, "value": value} | kinds

    def test_objects_come_in_source_pixels_and_need_no_name(self, studio_round: Round):
        (submission,) = self.select(studio_round, self.box(0), self.box(3))
        first, second = submission.selections
        assert (first.name, first.first_frame) == ("object", 0)
        assert first.box is not None and (first.box.x1, first.box.y1) == (3.0, 6.0)
        assert second.x > first.x
        assert [event.kind for event in submission.effort] == ["box", "box", "submit"]

    def test_nothing_worth_annotating_is_an_answer(self, studio_round: Round):
        (submission,) = self.select(studio_round)
        assert submission.selections == ()

    def test_more_objects_than_wanted_go_back(self, studio_round: Round):
        assert self.select(studio_round, self.box(0), self.box(1), self.box(2)) == []
        assert "3 objects are chosen, 2 wanted: remove 1" in studio_round.studio.notice("s")


class TestVerification:
    def test_a_verdict_comes_back_with_its_range_in_source_frames(self, studio_round: Round):
        item = studio_round.verification()
        studio_round.exchange(item)
        studio_round.studio.submit("m-verify-1", VERA, verdict_result("unsatisfactory", (2, 3), (5, 5)))
        (submission,) = studio_round.exchange(item)
        assert submission.verdict is not None
        assert (submission.actor, submission.verdict.bad_range) == (VERA, (1, 4))
        assert [event.kind for event in submission.effort] == ["verdict"]

    def test_a_verdict_by_an_annotator_is_kept_and_asked_again(self, studio_round: Round):
        item = studio_round.verification()
        studio_round.exchange(item)
        studio_round.studio.submit("m-verify-1", "Ann@X.org", verdict_result("satisfactory"))
        assert studio_round.exchange(item) == []
        assert studio_round.studio.open_tickets() == ["m-verify-1-a2"]
        assert "somebody else has to judge" in studio_round.studio.notice("m-verify-1")
        invalid = studio_round.ledger().invalid("m-verify-1")
        assert invalid is not None and invalid.submission.actor == ANN
        studio_round.studio.submit("m-verify-1-a2", ANN, verdict_result("satisfactory"))
        studio_round.exchange(item)
        assert studio_round.studio.open_tickets() == ["m-verify-1-a3"]
        studio_round.studio.submit("m-verify-1-a3", VERA, verdict_result("rejected"))
        (submission,) = studio_round.exchange(item)
        assert (submission.actor, submission.task_id) == (VERA, "m-verify-1")
        assert submission.verdict is not None and submission.verdict.verdict == "rejected"

    @pytest.mark.parametrize(
        ("author", "saved_by"),
        [
            ({"id": 7, "email": VERA}, 3),
            ({"id": 7, "email": VERA}, None),
            ({"id": 7, "email": "Deleted"}, 7),
            (None, None),
        ],
    )
    def test_a_verdict_that_its_author_did_not_give_does_not_count(
        self, studio_round: Round, author, saved_by
    ):
        item = studio_round.verification()
        studio_round.exchange(item)
        forged = studio_round.studio.submit(
            "m-verify-1", VERA, verdict_result("satisfactory"), completed_by=author, updated_by=saved_by
        )
        assert studio_round.exchange(item) == []
        assert "not its author" in studio_round.studio.notice("m-verify-1")
        forged |= {"completed_by": {"id": 7, "email": VERA}, "updated_by": 7, "lead_time": 31.0}
        studio_round.studio.update(forged, verdict_result("satisfactory"))
        (submission,) = studio_round.exchange(item)
        assert submission.actor == VERA

    def test_a_valid_verdict_on_the_first_asking_still_counts_and_ends_the_second(self, studio_round: Round):
        item = studio_round.verification()
        studio_round.exchange(item)
        studio_round.studio.submit("m-verify-1", ANN, verdict_result("satisfactory"))
        studio_round.exchange(item)
        studio_round.studio.submit("m-verify-1", VERA, verdict_result("satisfactory"))
        (submission,) = studio_round.exchange(item)
        assert submission.actor == VERA
        assert studio_round.studio.open_tickets() == []

    def test_a_satisfactory_verdict_with_bad_frames_is_refused(self, studio_round: Round):
        item = studio_round.verification()
        studio_round.exchange(item)
        studio_round.studio.submit("m-verify-1", VERA, verdict_result("satisfactory", (1, 2)))
        assert studio_round.exchange(item) == []
        assert "marked as bad" in studio_round.studio.notice("m-verify-1")

    def test_who_was_invited_for_other_work_counts_but_is_reported(self, studio_round: Round):
        item = studio_round.verification()
        studio_round.exchange(item)
        studio_round.studio.submit("m-verify-1", BOB, verdict_result("satisfactory"))
        assert len(studio_round.exchange(item)) == 1
        (warning,) = studio_round.queues({BOB: "annotator"}).read().warnings
        assert "bob@x.org was invited as annotator" in warning
        (warning,) = studio_round.queues({VERA: "verifier"}).read().warnings
        assert "bob@x.org was not invited" in warning
        assert studio_round.queues({BOB: "verifier"}).read().warnings == ()


class TestWindows:
    """12 x 8 pixels, 6 frames: windows of 3 frames, of which 1 is shared."""

    @pytest.fixture
    def windowed(self, studio_round: Round) -> Round:
        limits = TaskLimits(max_width=32, max_height=32, max_megapixels=0.004, overlap=1)
        studio_round.limits = replace(limits, max_megapixels=0.004)
        object.__setattr__(studio_round.limits, "max_megapixels", 3 * 12 * 8 / 1e6)
        return studio_round

    def submit(
        self, windowed: Round, ticket_id: str, person: str, changed: dict[int, Any] | None = None
    ) -> None:
        ticket = windowed.ticket(ticket_id)
        start = {**ticket.item.masks, **ticket.carried}
        masks = {frame: decode(start[frame]) for frame in ticket.view.frames} | (changed or {})
        windowed.studio.submit(ticket_id, person, windowed.page_result(masks, ticket_id=ticket_id))

    def test_one_after_another_with_the_masks_carried_over(self, windowed: Round):
        item = windowed.item()
        windowed.exchange(item)
        assert windowed.studio.open_tickets() == ["m-annotate-1"]
        first = windowed.ticket().view.frames
        self.submit(windowed, "m-annotate-1", ANN, {first[-1]: block(0, 0)})
        assert windowed.exchange(item) == []
        assert windowed.studio.open_tickets() == ["m-annotate-1-w02"]
        second = windowed.ticket("m-annotate-1-w02")
        assert np.array_equal(decode(second.carried[first[-1]]), block(0, 0))
        assert second.item.first_frame == second.view.frames[0] == first[-1]
        assert "Part 2 of" in windowed.studio.notice("m-annotate-1-w02")
        self.submit(windowed, "m-annotate-1-w02", BOB)
        windowed.exchange(item)
        (last,) = windowed.studio.open_tickets()
        self.submit(windowed, last, BOB, {5: block(9, 5)})
        (submission,) = windowed.exchange(item)
        assert [mask.frame for mask in submission.masks] == list(range(6))
        assert [mask.frame for mask in submission.masks if mask.edited] == [first[-1], 5]
        assert (submission.actor, submission.helpers) == (ANN, {BOB})
        starts = [event.at_s for event in submission.effort]
        assert starts == sorted(starts)

    def test_only_windows_with_bad_frames_are_asked_again(self, windowed: Round):
        item = windowed.item(task_id="m-annotate-2", revision=2, bad_range=(5, 5))
        windowed.exchange(item)
        (ticket_id,) = windowed.studio.open_tickets()
        assert ticket_id.startswith("m-annotate-2-w")
        assert 5 in windowed.ticket(ticket_id).view.frames
        self.submit(windowed, ticket_id, ANN, {5: block(0, 0)})
        (submission,) = windowed.exchange(item)
        assert [mask.frame for mask in submission.masks] == list(range(6))
        assert [mask.frame for mask in submission.masks if mask.edited] == [5]


class TestQueues:
    def test_who_holds_what_and_what_waits(self, studio_round: Round):
        items = [studio_round.item(), studio_round.item(task_id="n-annotate-1"), studio_round.verification()]
        studio_round.exchange(*items)
        studio_round.studio.save_draft("n-annotate-1", BOB)
        now = studio_round.studio.now
        queues = studio_round.queues().read(now)
        select, annotate, verify = queues.queues
        assert (select.waiting, annotate.waiting, annotate.held, verify.waiting) == (0, 1, 1, 1)
        assert annotate.oldest_s > verify.oldest_s > 0
        (holding,) = queues.holdings
        assert (holding.person, holding.ticket_id, holding.work) == (BOB, "n-annotate-1", "annotate")
        assert not queues.has_news

    def test_throughput_by_person(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        studio_round.studio.submit("m-annotate-1", ANN, studio_round.page_result(studio_round.published()))
        assert studio_round.queues().read().has_news
        studio_round.exchange(studio_round.item())
        queues = studio_round.queues().read(studio_round.studio.now)
        (done,) = queues.throughput
        assert (done.person, done.work, done.last_hour, done.total) == (ANN, "annotate", 1, 1)
        assert not queues.has_news
        assert queues.to_json()["throughput"][0]["person"] == ANN


def test_a_region_over_the_same_page_twice_is_one_mask(studio_round: Round):
    studio_round.exchange(studio_round.item())
    view = studio_round.ticket().view
    extra = mask_region(0, view.shown(block(6)), view) | {"id": "painted"}
    result = [*studio_round.page_result(studio_round.published()), extra]
    studio_round.studio.submit("m-annotate-1", ANN, result)
    (submission,) = studio_round.exchange(studio_round.item())
    assert np.array_equal(decode(submission.masks[0].rle), block(0) | block(6))
    assert submission.masks[0].edited
