"""Effort from the log: exactly what was done, each act once, and no pause counted as work."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from annotation.pages.events import StudioEvent
from annotation.studio.effort import annotation_effort, of_person, selection_effort, verdict_effort, working_s
from annotation.work import EffortEvent, Selection
from model.prompts import Box
from storage.masks import decode, empty
from tests.annotation.studio.conftest import HEIGHT, WIDTH, Round, block, rle

ANN, BOB = "ann@x.org", "bob@x.org"


def event(kind: str, at: float, *, person: str = ANN, name: str = "", **more: Any) -> StudioEvent:
    event_id = name or f"{kind}{at}".replace(".", "_")
    return StudioEvent(event_id=event_id, at=at, ticket_id="t", person=person, kind=kind, **more)  # type: ignore[arg-type]


def effort(
    *events: StudioEvent, unseen: Any = (), at: float = 100.0, lead: float = 0.0
) -> tuple[EffortEvent, ...]:
    return annotation_effort(events, unseen, handed_in_at=at, lead_time_s=lead, idle_s=60.0)


def shown(events: tuple[EffortEvent, ...]) -> list[tuple[str, float, float]]:
    return [(one.kind, one.at_s, one.duration_s) for one in events]


class TestOneSitting:
    def test_an_act_lasts_since_the_one_before(self):
        acts = effort(
            event("open", 10),
            event("click", 14, frame=3, x=1.0, y=2.0, positive=False),
            event("command", 20, text="p"),
            at=21,
        )
        assert shown(acts) == [("click", 0, 4), ("propagate", 4, 6), ("submit", 10, 1)]
        assert (acts[0].frame, acts[0].x, acts[0].positive) == (3, 1.0, False)

    def test_a_pause_is_idle_and_no_work(self):
        acts = effort(event("open", 0), event("click", 5), event("click", 605), at=606)
        assert shown(acts) == [("click", 0, 5), ("idle", 5, 0), ("click", 545, 60), ("submit", 605, 1)]
        assert working_s(acts) == 66

    def test_the_look_before_the_first_act_counts_while_the_page_was_open(self):
        assert shown(effort(event("click", 50), at=60, lead=30)) == [("click", 0, 20), ("submit", 20, 10)]
        assert effort(event("click", 5000), at=5010, lead=4000)[0].duration_s == 60
        assert effort(event("click", 50), at=60)[0].duration_s == 0, "nothing is known of the time before"

    @pytest.mark.parametrize(
        ("text", "kind"),
        [("p", "propagate"), ("b", "propagate"), ("pp", "propagate"), ("u", "undo"), ("r", "reset"),
         ("n", "locate"), ("?", "examine"), ("x", "examine")],
    )  # fmt: skip
    def test_commands_by_what_they_do(self, text, kind):
        assert effort(event("command", 1, text=text))[0].kind == kind

    def test_what_the_server_does_by_itself_is_no_act(self):
        kinds = [event(kind, 1) for kind in ("open", "draft", "submit", "verdict")]
        assert [one.kind for one in effort(*kinds, at=2)] == ["submit"]

    def test_strokes_seen_late_share_the_time_until_they_were_seen(self):
        acts = effort(
            event("open", 0),
            event("brush", 89, frame=1),
            event("click", 90, frame=2),
            unseen=[("brush", 5)],
            at=110,
        )
        assert shown(acts) == [("brush", 0, 45), ("click", 45, 45), ("brush", 90, 10), ("submit", 100, 10)]

    def test_painting_by_hand_alone_is_not_taken_for_a_pause(self):
        acts = effort(unseen=[("brush", frame) for frame in range(9)], at=1000, lead=300)
        assert Counter(one.kind for one in acts) == {"brush": 9, "submit": 1}
        assert working_s(acts) == 300

    def test_a_submission_stamped_before_its_last_act_ends_with_it(self):
        assert shown(effort(event("open", 0), event("click", 5), at=4)) == [("click", 0, 5), ("submit", 5, 0)]


class TestWhoseActs:
    def test_a_click_delivered_twice_is_one(self):
        twice = [event("click", 1, name="a", region="r1"), event("click", 2, name="b", region="r1")]
        again = event("click", 3, name="c", region="r2")
        assert [one.event_id for one in of_person([*twice, again, again], ANN)] == ["a", "c"]

    def test_a_command_typed_again_is_another_act(self):
        commands = [event("command", at, text="p", region=f"cmd {at}") for at in (1, 2, 3)]
        assert len(of_person(commands, ANN)) == 3

    def test_acts_of_two_people_are_kept_apart(self):
        events = [event("click", 1), event("click", 2, person=BOB), event("click", 3, person="Ann@X.org")]
        assert [one.at for one in of_person(events, ANN)] == [1, 3]
        assert [one.at for one in of_person(events, BOB)] == [2]

    def test_acts_from_before_a_person_was_known_are_theirs(self):
        events = [
            event("click", 1, person="", name="aa-1"),
            event("click", 2, person="", name="bb-1"),
            event("open", 3, person=ANN, region="aa"),
            event("open", 4, person=BOB, region="bb"),
        ]
        assert [one.at for one in of_person(events, ANN)] == [1, 3]
        assert [one.at for one in of_person(events, BOB)] == [2, 4]

    def test_acts_nobody_claimed_belong_to_whoever_hands_in(self):
        assert len(of_person([event("click", 1, person="", name="aa-1")], ANN)) == 1

    def test_the_order_of_arrival_changes_nothing(self):
        events = [event("click", at, region=f"r{at}") for at in (3, 1, 2)]
        assert of_person(events, ANN) == of_person(events[::-1], ANN)


def test_choosing_objects_and_judging_take_the_time_the_page_was_open():
    chosen = [Selection(0, 1, 2, Box(0, 0, 3, 3), "cell"), Selection(0, 5, 5, None, "cell")]
    acts = selection_effort(chosen, lead_time_s=30, idle_s=60)
    assert shown(acts) == [("box", 0, 10), ("click", 10, 10), ("submit", 20, 10)]
    assert shown(verdict_effort(0, lead_time_s=30, idle_s=60)) == [("verdict", 0, 30)]
    assert working_s(verdict_effort(1, lead_time_s=4000, idle_s=60)) == 180


class TestFrames:
    """What a submission says of each frame, from the page and the log together."""

    def hand_in(self, studio_round: Round, masks: dict[int, Any], **more: Any) -> dict[int, Any]:
        result = studio_round.page_result(masks, **more)
        studio_round.studio.submit("m-annotate-1", ANN, result)
        submissions = studio_round.exchange(studio_round.item())
        assert submissions, studio_round.studio.notice("m-annotate-1")
        self.effort = submissions[0].effort
        return {mask.frame: mask for mask in submissions[0].masks}

    def test_clicks_and_edits_by_frame(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        log = studio_round.log
        log("click", at=1, frame=1, x=3.0, y=3.0, positive=True, region="a", answers={1: rle(3)})
        log("click", at=2, frame=1, x=4.0, y=3.0, positive=True, region="b", answers={1: rle(4)})
        log("command", at=3, frame=1, text="p", region="c", answers={frame: rle(5) for frame in (2, 3, 4, 5)})
        masks = {0: block(0), 1: block(4), **{frame: block(5) for frame in (2, 3, 4, 5)}}
        frames = self.hand_in(studio_round, masks)
        assert [frames[frame].clicks for frame in range(6)] == [0, 2, 0, 0, 0, 0]
        assert [frame for frame in frames if frames[frame].edited] == [1]
        assert [frame for frame in frames if frames[frame].locked] == [1]
        assert Counter(one.kind for one in self.effort if one.kind != "idle") == {
            "click": 2,
            "propagate": 1,
            "submit": 1,
        }

    def test_pages_never_turned_to_hand_in_what_was_published_and_mean_what_was_answered(
        self, studio_round: Round
    ):
        studio_round.exchange(studio_round.item())
        log = studio_round.log
        log("click", at=1, frame=1, x=3.0, y=3.0, positive=True, region="a", answers={1: rle(3)})
        log("command", at=2, frame=1, text="p", region="b", answers={frame: rle(5) for frame in (2, 3, 4, 5)})
        frames = self.hand_in(studio_round, studio_round.published() | {1: block(3), 2: block(5)})
        assert [frames[frame].rle for frame in (2, 3, 4, 5)] == [rle(5)] * 4
        assert [frame for frame in frames if frames[frame].edited] == [1]

    def test_a_frame_given_back_to_the_tracker_is_known_by_its_newest_mask_too(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        log = studio_round.log
        log("click", at=1, frame=4, x=3.0, y=3.0, positive=True, region="a", answers={4: rle(8)})
        log("reset", at=2, frame=4, answers={4: rle(4)})
        log("command", at=3, frame=1, text="p", region="b", answers={frame: rle(5) for frame in (2, 3, 4, 5)})
        masks = {0: block(0), 1: block(1), 2: block(5), 3: block(5), 4: block(8), 5: block(5)}
        frames = self.hand_in(studio_round, masks)  # page 5 was loaded with the click's mask
        assert (frames[4].rle, frames[4].edited) == (rle(5), False)

    def test_where_the_only_mask_was_taken_back_something_has_to_be_said(self, studio_round: Round):
        item = studio_round.item(masks={frame: rle(frame) for frame in range(5)})
        studio_round.exchange(item)
        studio_round.log("click", at=1, frame=5, region="a", answers={5: rle(7)})
        mine = studio_round.studio.submit(
            "m-annotate-1", ANN, studio_round.page_result({frame: block(frame) for frame in range(5)})
        )
        assert studio_round.exchange(item) == []
        studio_round.log("undo", at=2, frame=None, text="5")
        studio_round.studio.update(mine, [*mine["result"], {}])
        assert studio_round.exchange(item) == []
        studio_round.log("reset", at=3, frame=5)
        studio_round.studio.update(mine, mine["result"][:-1])
        assert studio_round.exchange(item) == []
        assert "Frame 5 has neither a mask nor the mark" in studio_round.studio.notice("m-annotate-1")

    def test_a_reset_frame_is_as_if_nobody_had_been_there(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        studio_round.log("box", at=1, frame=1, region="a", text="[1, 2, 5, 8]", answers={1: rle(7)})
        studio_round.log("reset", at=2, frame=1, answers={1: rle(1)})
        frames = self.hand_in(studio_round, studio_round.published())
        assert not frames[1].edited
        acts = [(one.kind, one.x, one.y) for one in self.effort if one.kind != "idle"]
        assert acts == [("box", 3.0, 5.0), ("reset", None, None), ("submit", None, None)]

    def test_what_was_taken_back_is_no_edit_but_its_clicks_were_made(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        studio_round.log("click", at=1, frame=1, region="a", answers={1: rle(7)})
        studio_round.log("undo", at=2, frame=1, answers={1: rle(1)})
        frames = self.hand_in(studio_round, studio_round.published())
        assert (frames[1].edited, frames[1].clicks) == (False, 1)

    def test_an_undo_back_to_ones_own_click_is_still_an_edit(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        studio_round.log("click", at=1, frame=1, region="a", answers={1: rle(6)})
        studio_round.log("click", at=2, frame=1, region="b", answers={1: rle(7)})
        studio_round.log("undo", at=3, frame=1, answers={1: rle(6)})
        frames = self.hand_in(studio_round, studio_round.published() | {1: block(6)})
        assert frames[1].edited

    def test_an_undo_in_the_page_that_the_server_never_saw(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        studio_round.log("click", at=1, frame=1, region="a", answers={1: rle(7)})
        frames = self.hand_in(studio_round, studio_round.published())
        assert not frames[1].edited

    def test_painting_that_the_server_never_saw_is_an_edit_and_an_act(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        frames = self.hand_in(studio_round, studio_round.published() | {2: block(8)})
        assert [frame for frame in frames if frames[frame].edited] == [2]
        assert [(one.kind, one.frame) for one in self.effort if one.kind != "idle"] == [
            ("brush", 2),
            ("submit", None),
        ]

    def test_absent_marked_once_counts_once_whoever_saw_it_first(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        nothing = empty(HEIGHT, WIDTH)
        studio_round.log("absent", at=1, frame=1, answers={1: nothing})
        frames = self.hand_in(studio_round, {f: block(f) for f in (0, 3, 4, 5)}, absent=[1, 2])
        assert all(not decode(frames[frame].rle).any() and frames[frame].edited for frame in (1, 2))
        assert sorted(one.frame for one in self.effort if one.kind == "absent") == [1, 2]

    def test_a_mask_under_the_mark_absent_is_gone(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        frames = self.hand_in(studio_round, studio_round.published(), absent=[2])
        assert not decode(frames[2].rle).any()

    def test_a_click_after_the_mark_absent_has_to_be_made_clear(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        studio_round.log("absent", at=1, frame=2, answers={2: empty(HEIGHT, WIDTH)})
        studio_round.log("click", at=2, frame=2, region="a", answers={2: rle(2)})
        result = studio_round.page_result(studio_round.published(), absent=[2])
        studio_round.studio.submit("m-annotate-1", ANN, result)
        assert studio_round.exchange(studio_round.item()) == []
        assert "Page 3 (frame 2) is marked absent, but" in studio_round.studio.notice("m-annotate-1")

    def test_a_removed_region_means_that_nothing_is_there(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        masks = studio_round.published()
        del masks[4]
        frames = self.hand_in(studio_round, masks)
        assert frames[4].edited and not decode(frames[4].rle).any()

    def test_where_the_object_was_absent_before_nothing_has_to_be_said(self, studio_round: Round):
        item = studio_round.item(masks={0: rle(0), **{frame: empty(HEIGHT, WIDTH) for frame in range(1, 6)}})
        studio_round.exchange(item)
        studio_round.studio.submit("m-annotate-1", ANN, studio_round.page_result({0: block(0)}))
        (submission,) = studio_round.exchange(item)
        assert not any(mask.edited for mask in submission.masks)

    def test_phase_1_wants_a_mask_or_a_mark_on_every_frame(self, studio_round: Round):
        item = studio_round.item(phase=1, masks={0: rle(0), **{f: empty(HEIGHT, WIDTH) for f in range(1, 6)}})
        studio_round.exchange(item)
        studio_round.studio.submit("m-annotate-1", ANN, studio_round.page_result({0: block(0)}))
        assert studio_round.exchange(item) == []
        assert "Frames 1, 2, 3, 4, 5 have neither a mask" in studio_round.studio.notice("m-annotate-1")

    def test_an_occluded_frame_says_so(self, studio_round: Round):
        studio_round.exchange(studio_round.item())
        result = studio_round.page_result(studio_round.published())
        result.append(
            {
                "id": "v",
                "type": "choices",
                "from_name": "visibility",
                "to_name": "frames",
                "item_index": 3,
                "value": {"choices": ["occluded"]},
            }
        )
        studio_round.studio.submit("m-annotate-1", ANN, result)
        (submission,) = studio_round.exchange(studio_round.item())
        assert [mask.frame for mask in submission.masks if mask.occluded] == [3]
        assert np.array_equal(decode(submission.masks[3].rle), block(3))
