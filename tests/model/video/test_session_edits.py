"""Edits of a session: undo, rename, clear, locks, what is stale, and what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.errors import LockedFrameError, NotPromptedError, UnknownObjectError
from model.network.sam2 import Sam2
from model.prompts import Box, Click
from model.video.frame_source import FrameSource
from model.video.video_session import FrameResult, SessionConfig, VideoSession
from storage.masks import encode

MakeVideo = Callable[[int], FrameSource]


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:40, :56]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def by_frame(results: Iterable[FrameResult]) -> dict[int, FrameResult]:
    return {result.frame: result for result in results}


def assert_same(one: dict[int, FrameResult], other: dict[int, FrameResult]) -> None:
    assert list(one) == list(other)
    for frame, result in one.items():
        np.testing.assert_array_equal(result.low_res, other[frame].low_res)
        np.testing.assert_array_equal(result.predicted_ious, other[frame].predicted_ious)


@pytest.fixture
def make(micro_model: Sam2, video: MakeVideo) -> Callable[..., VideoSession]:
    def session(count: int = 8, **config: object) -> VideoSession:
        return VideoSession(micro_model, video(count), config=SessionConfig(**config))  # type: ignore[arg-type]

    return session


Make = Callable[..., VideoSession]

# --- undo


@pytest.mark.parametrize("tracked_between", [False, True])
@pytest.mark.parametrize(
    "edit",
    [
        lambda s: s.add_points(3, 1, [Click(40, 30)]),
        lambda s: s.add_points(0, 1, [Click(5, 5, positive=False)]),
        lambda s: s.add_points(0, 1, [], box=Box(3, 3, 30, 30)),
        lambda s: s.add_mask(0, 1, disc(9, 9, 5)),
        lambda s: s.add_mask(5, 2, disc(9, 9, 5)),
        lambda s: s.clear_frame(0, 2),
        lambda s: s.clear_object(2),
        lambda s: s.add_points(2, 7, [Click(1, 1)]),
        lambda s: s.lock(4, 1),
    ],
)
def test_undo_is_as_if_it_had_never_been(
    make: Make, edit: Callable[[VideoSession], object], tracked_between: bool
) -> None:
    def prepared() -> VideoSession:
        session = make()
        session.add_points(0, 1, [Click(20, 20)])
        session.add_mask(0, 2, disc(30, 20, 6))
        session.add_mask(6, 2, disc(30, 20, 6))
        list(session.propagate())
        return session

    undone, untouched = prepared(), prepared()
    edit(undone)
    if tracked_between and all(undone.prompted_frames(i) for i in undone.object_ids):
        list(undone.propagate())
    assert undone.undo() is not None
    assert undone.object_ids == (1, 2)
    fixed = [(0, 1), (0, 2), (6, 2)]
    for frame, object_id in fixed if tracked_between else [(f, i) for f in range(8) for i in (1, 2)]:
        assert_same({0: undone.answer(frame, [object_id])}, {0: untouched.answer(frame, [object_id])})
    if not tracked_between:  # a further click sees the same logits and the same memory
        for frame in (0, 3):
            clicks = [Click(12, 12)]
            assert_same({0: undone.add_points(frame, 1, clicks)}, {0: untouched.add_points(frame, 1, clicks)})
    assert_same(by_frame(undone.propagate()), by_frame(untouched.propagate()))


def test_undo_takes_back_one_edit_after_another(make: Make) -> None:
    session = make()
    first = session.add_points(0, 1, [Click(20, 20)])
    second = session.add_points(0, 1, [Click(40, 30)])
    session.add_points(0, 2, [Click(9, 9)])
    session.add_points(0, 1, [Click(1, 1, positive=False)])
    undone = session.undo()
    assert undone is not None and (undone.object_id, undone.frames, undone.removed) == (1, (0,), False)
    assert_same({0: session.answer(0, [1])}, {0: second})
    undone = session.undo()
    assert undone is not None and (undone.object_id, undone.removed) == (2, True)
    assert session.undo() is not None
    assert_same({0: session.answer(0)}, {0: first})
    assert session.undo() is not None and session.object_ids == ()
    assert session.undo() is None


def test_undo_history_is_bounded_and_follows_names(make: Make) -> None:
    session = make()
    for step in range(40):
        session.add_points(0, 1, [Click(step, 20)], keep_previous=False)
    session.rename(1, 5)
    undone = session.undo()
    assert undone is not None and undone.object_id == 5
    assert sum(session.undo() is not None for _ in range(40)) == 31
    session.remove_object(5)
    assert session.undo() is None


def test_undone_clicks_feed_nothing(make: Make) -> None:
    """Also when a tool takes a click back by sending the clicks that are left."""
    session, other = make(), make()
    for each in (session, other):
        each.add_points(0, 1, [Click(20, 20)])
        list(each.propagate())
    a, b, c = Click(40, 30), Click(10, 10, positive=False), Click(5, 30)
    only_a = session.add_points(3, 1, [a])
    session.add_points(3, 1, [a, b], keep_previous=False)
    assert_same({0: session.add_points(3, 1, [a], keep_previous=False)}, {0: only_a})
    other.add_points(3, 1, [a])
    assert_same({0: session.add_points(3, 1, [a, c], keep_previous=False)}, {0: other.add_points(3, 1, [c])})


def test_an_answer_to_fewer_clicks_feeds_more_clicks(make: Make) -> None:
    fed, unfed = make(), make()
    fed.add_points(0, 1, [Click(20, 20)])
    both = [Click(20, 20), Click(40, 30, positive=False)]
    assert not np.array_equal(
        fed.add_points(0, 1, both, keep_previous=False).low_res, unfed.add_points(0, 1, both).low_res
    )


def test_first_prompts_see_no_memory_of_each_other(make: Make) -> None:
    """As in training, where several frames are prompted before anything is tracked (SAM 2 paper, App. D)."""
    session, other = make(), make()
    session.add_mask(0, 1, disc(20, 20, 6))
    both = session.add_points(5, 1, [Click(30, 20)])
    assert_same({0: both}, {0: other.add_points(5, 1, [Click(30, 20)])})


# --- objects


def test_a_renamed_object_goes_on(make: Make) -> None:
    session, other = make(), make()
    for each in (session, other):
        each.add_points(0, 1, [Click(20, 20)])
        each.add_points(0, 2, [Click(40, 30)])
    results = {}
    for result in session.propagate():
        results[result.frame] = result
        if result.frame == 3:
            session.rename(1, 9)
    assert results[3].object_ids == (1, 2) and results[4].object_ids == (9, 2)
    assert_same(results, by_frame(other.propagate()))
    with pytest.raises(UnknownObjectError, match="object 1 is unknown"):
        session.rename(1, 3)
    with pytest.raises(UnknownObjectError, match="there is an object 2 already"):
        session.rename(9, 2)
    session.rename(2, 2)
    assert session.object_ids == (9, 2)


def test_objects_may_go_while_tracking(make: Make) -> None:
    session = make()
    session.add_points(0, 1, [Click(20, 20)])
    session.add_points(0, 2, [Click(40, 30)])
    seen = []
    for result in session.propagate(stop=4):
        seen.append(result.object_ids)
        if result.frame == 1:
            session.remove_object(1)
    assert seen == [(1, 2), (1, 2), (2,), (2,)]


def test_a_cleared_object_is_known_and_can_be_prompted_again(make: Make) -> None:
    session = make()
    session.add_points(0, 1, [Click(20, 20)])
    session.add_points(5, 1, [Click(20, 20)])
    session.clear_object(1)
    assert session.object_ids == (1,) and session.prompted_frames(1) == ()
    with pytest.raises(NotPromptedError, match="object 1 has no prompt left"):
        session.propagate()
    session.add_points(2, 1, [Click(20, 20)])
    assert [r.frame for r in session.propagate()] == [2, 3, 4, 5, 6, 7]


# --- stopping and going on


def test_propagation_stops_and_goes_on(make: Make) -> None:
    whole, parts = make(), make()
    for each in (whole, parts):
        each.add_points(0, 1, [Click(20, 20)])
    expected = by_frame(whole.propagate())
    run = parts.propagate()
    got = {}
    for result in run:
        got[result.frame] = result
        if result.frame == 2:
            break
    assert run.next_frame == 3
    got |= by_frame([next(run)])
    got |= by_frame(parts.propagate(start=run.next_frame))
    assert_same(got, expected)
    assert list(run) and run.next_frame is None and list(run) == []


# --- locked frames


def test_a_locked_frame_comes_out_bit_for_bit(make: Make) -> None:
    session = make()
    session.add_points(0, 1, [Click(20, 20)])
    before = by_frame(session.propagate())
    session.lock(3, 1)
    given = disc(11, 12, 4)
    session.lock(5, 1, given)
    session.add_points(1, 1, [Click(50, 5), Click(20, 20, positive=False)])
    after = by_frame(session.propagate(start=0)) | by_frame(session.propagate(start=7, reverse=True))
    np.testing.assert_array_equal(after[3].masks, before[3].masks)
    np.testing.assert_array_equal(after[5].masks[0], given)
    assert after[5].rles()[0] == encode(given)
    assert [bool(after[frame].locked[0]) for frame in range(8)] == [False] * 3 + [True, False, True] + [
        False
    ] * 2
    np.testing.assert_array_equal(after[3].predicted_ious, before[3].predicted_ious)
    assert session.locked_frames(1) == (3, 5)


def test_what_follows_a_locked_frame_comes_from_its_mask(make: Make) -> None:
    session, other = make(), make()
    for each in (session, other):
        each.add_points(0, 1, [Click(20, 20)])
    session.lock(1, 1, disc(40, 10, 6))
    first, second = by_frame(session.propagate()), by_frame(other.propagate())
    assert not np.array_equal(first[2].low_res, second[2].low_res)


def test_locks_are_no_conditioning_frames(make: Make) -> None:
    """Beyond the reach of recent memory a lock leaves no trace, and its memory can be let go and made again."""
    plain, locked = make(24, memory_bytes=0), make(24, memory_bytes=0)
    for each in (plain, locked):
        each.add_mask(0, 1, disc(20, 20, 6))
    list(plain.propagate())
    list(locked.propagate())
    for frame in range(1, 22):
        locked.lock(frame, 1, disc(20, 20, 6))
    list(locked.propagate())
    item = locked._objects.get(1)
    assert list(item.prompted_memory) == [0] and len(item.tracked_memory) <= 16
    again = by_frame(locked.propagate(start=22))
    assert_same(by_frame(locked.propagate(start=22)), again)


def test_locked_frames_refuse_prompts_until_unlocked(make: Make) -> None:
    session = make()
    session.add_points(0, 1, [Click(20, 20)])
    list(session.propagate())
    for frame in (0, 2):
        session.lock(frame, 1)
        with pytest.raises(LockedFrameError, match=f"frame {frame} of object 1 is locked; unlock"):
            session.add_points(frame, 1, [Click(1, 1)])
        with pytest.raises(LockedFrameError):
            session.add_mask(frame, 1, disc(1, 1, 3))
        with pytest.raises(LockedFrameError):
            session.clear_frame(frame, 1)
        with pytest.raises(LockedFrameError):
            session.lock(frame, 1, disc(1, 1, 3))
    with pytest.raises(LockedFrameError):
        session.clear_object(1)
    present = session.answer(2)
    session.unlock(2, 1)
    assert not session.answer(2).locked[0] and 2 in session.stale_frames(1)
    np.testing.assert_array_equal(session.answer(2).low_res > 0, present.low_res > 0)
    session.add_points(2, 1, [Click(1, 1)])
    with pytest.raises(NotPromptedError, match="frame 2 of object 1 is not locked"):
        session.unlock(2, 1)


def test_a_prompted_frame_can_be_locked(make: Make) -> None:
    session, other = make(), make()
    for each in (session, other):
        each.add_points(0, 1, [Click(20, 20)])
    session.lock(0, 1)
    assert_same(
        {k: v for k, v in by_frame(session.propagate()).items() if k},
        {k: v for k, v in by_frame(other.propagate()).items() if k},
    )
    session.unlock(0, 1)
    session.lock(0, 1, disc(9, 9, 4))
    other.add_mask(0, 1, disc(9, 9, 4))
    assert_same(by_frame(session.propagate(start=1)), by_frame(other.propagate(start=1)))


def test_only_answers_can_be_locked(make: Make) -> None:
    session = make()
    with pytest.raises(UnknownObjectError):
        session.lock(0, 1)
    session.add_points(0, 1, [Click(20, 20)])
    with pytest.raises(NotPromptedError, match="no answer on frame 4 to lock"):
        session.lock(4, 1)


def test_locked_masks_win_where_masks_may_not_overlap(make: Make) -> None:
    session = make(non_overlap=True)
    session.add_mask(0, 1, disc(20, 20, 9))
    session.add_mask(0, 2, disc(24, 20, 9))
    session.lock(1, 1, disc(20, 20, 9))
    session.lock(1, 2, disc(24, 20, 9))
    result = by_frame(session.propagate())[1]
    np.testing.assert_array_equal(result.masks, [disc(20, 20, 9), disc(24, 20, 9)])
    session.unlock(1, 1)
    result = session.answer(1)
    assert not (result.masks[0] & result.masks[1]).any()
    np.testing.assert_array_equal(result.masks[1], disc(24, 20, 9))
    np.testing.assert_array_equal(result.logits > 0, result.masks)


# --- what is stale, what changed, what to look at


def test_a_correction_makes_stale_what_lies_between_its_neighbours(make: Make) -> None:
    session = make(12)
    session.add_points(0, 1, [Click(20, 20)])
    assert session.stale_frames(1) == ()
    list(session.propagate(stop=10))
    session.lock(2, 1)
    assert session.stale_frames(1) == ()  # accepted as it is
    session.lock(8, 1, disc(9, 9, 5))
    assert session.stale_frames(1) == (3, 4, 5, 6, 7, 9)
    assert session.undo() is not None and session.stale_frames(1) == ()
    session.add_points(5, 1, [Click(40, 30)])
    assert session.stale_frames(1) == (3, 4, 6, 7, 8, 9)
    results = list(session.propagate(only_stale=True))
    assert [r.frame for r in results] == [6, 7, 8, 9, 4, 3]
    assert session.stale_frames(1) == ()
    session.clear_frame(5, 1)
    assert session.stale_frames(1) == (3, 4, 5, 6, 7, 8, 9)
    assert [r.frame for r in session.propagate(only_stale=True, start=4, stop=7)] == [5, 6, 4]
    assert session.stale_frames(1) == (3, 7, 8, 9)


def test_only_stale_objects_are_tracked(make: Make) -> None:
    session = make()
    session.add_points(0, 1, [Click(20, 20)])
    session.add_points(0, 2, [Click(40, 30)])
    list(session.propagate())
    session.add_points(6, 2, [Click(40, 30)])
    results = list(session.propagate(only_stale=True))
    assert [r.frame for r in results] == [7, 5, 4, 3, 2, 1]
    assert {r.object_ids for r in results} == {(2,)}


def test_changes_say_how_much(make: Make) -> None:
    session = make()
    session.add_points(0, 1, [Click(20, 20)])
    session.add_points(0, 2, [Click(40, 30)])
    before = by_frame(session.propagate())
    assert session.changes() == ()
    session.add_points(4, 1, [Click(40, 30), Click(10, 10, positive=False)])
    after = by_frame(session.propagate(only_stale=True)) | {4: session.answer(4, [1])}
    changes = session.changes()
    assert {change.object_id for change in changes} == {1}
    for change in changes:
        one, other = before[change.frame].low_res[0] > 0, after[change.frame].low_res[0] > 0
        assert change.iou == pytest.approx((one & other).sum() / (one | other).sum())
        assert change.revision == 2 and change.iou < 1
    unchanged = set(range(8)) - {change.frame for change in changes}
    for frame in unchanged & after.keys():
        np.testing.assert_array_equal(before[frame].low_res[0] > 0, after[frame].low_res[0] > 0)
    assert session.answer(4).revisions.tolist() == [2, 1]
    assert session.changes(2) == ()
    mark = session.edit
    session.undo()
    assert [c.frame for c in session.changes(1)] == [4]
    assert set(session.changes(1)) <= set(session.changes(1, since=mark))


def test_frames_to_look_at(make: Make) -> None:
    session = make(30)
    session.add_points(10, 1, [Click(20, 20)])
    results = by_frame(session.propagate()) | by_frame(session.propagate(start=9, reverse=True))
    session.lock(20, 1)
    suggested = session.suggest_frames(1, 3, gap=4)
    assert len(suggested) == 3
    worth = {f: float(r.predicted_ious[0] * r.stabilities[0]) for f, r in results.items()}
    allowed = [f for f in worth if abs(f - 10) >= 4 and abs(f - 20) >= 4]
    assert worth[suggested[0]] == min(worth[f] for f in allowed)
    assert all(abs(a - b) >= 4 for a in suggested for b in suggested if a != b)
    assert session.suggest_frames(1, 0) == ()
    assert len(set(session.suggest_frames(1, 40, gap=0))) == 28


# --- repeated clicks


def test_another_click_costs_only_the_decoder(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    session, slow = make(), make(conditioned_cache_bytes=0)
    for each in (session, slow):
        each.add_points(0, 1, [Click(20, 20)])
        list(each.propagate())
    expected = [slow.add_points(5, 1, [Click(x, 9)]) for x in (3, 9, 30)]
    calls: list[str] = []
    condition = type(session.model).condition
    monkeypatch.setattr(
        type(session.model), "condition", lambda *a: calls.append("condition") or condition(*a)
    )
    monkeypatch.setattr(type(session.model), "encode_images", lambda *_: calls.append("encode"))
    remember = type(session.model).encode_memory
    monkeypatch.setattr(
        type(session.model), "encode_memory", lambda *a, **k: calls.append("remember") or remember(*a, **k)
    )
    got = [session.add_points(5, 1, [Click(x, 9)]) for x in (3, 9, 30)]
    for one, other in zip(got, expected, strict=True):
        assert_same({0: one}, {0: other})
    assert calls == []
    session.add_points(3, 1, [Click(3, 9)])
    assert calls == ["remember", "condition"]  # frame 5 came in between, and is remembered now


def test_clicks_after_tracking_in_company_are_the_same_up_to_rounding(make: Make) -> None:
    kept, made = make(), make(conditioned_cache_bytes=0)
    for session in (kept, made):
        for object_id in (1, 2, 3):
            session.add_points(0, object_id, [Click(10 * object_id, 20)])
        list(session.propagate())
    for object_id in (1, 2, 3):
        one, other = (session.add_points(5, object_id, [Click(3, 9)]) for session in (kept, made))
        np.testing.assert_allclose(one.low_res, other.low_res, atol=1e-3)


def test_float32_memory_without_autocast_and_without_pointers(make: Make) -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        session = make(memory_dtype=dtype, precision="float32")
        session.add_points(5, 1, [Click(20, 20)])
        assert len(list(session.propagate(start=4, reverse=True))) == 5
        assert len(list(session.propagate(start=0, stop=3))) == 3


def test_lowered_precision_leaves_as_float32(make: Make) -> None:
    session = make(precision="bfloat16")
    session.add_points(0, 1, [Click(20, 20)])
    for result in session.propagate():
        assert result.logits.dtype == result.low_res.dtype == np.float32


def test_tokens_bound_a_call() -> None:
    config, cpu, cuda = SessionConfig(), torch.device("cpu"), torch.device("cuda")
    assert config.objects_per_call(28_736, cpu) == 1
    assert config.objects_per_call(7_232, cpu) == 4
    assert config.objects_per_call(500, cpu) == 32
    assert config.objects_per_call(28_736, cuda) == 32
    assert SessionConfig(batch_tokens=1).objects_per_call(500, cpu) == 1


def test_specks_are_dropped(make: Make) -> None:
    plain, tidy = make(), make(max_speck_area=100)
    low_res = plain.add_points(0, 1, [Click(20, 20)]).low_res
    expected = tidy.add_points(0, 1, [Click(20, 20)])
    np.testing.assert_array_equal(low_res, expected.low_res)
    assert expected.masks.sum() <= plain.answer(0).masks.sum()
