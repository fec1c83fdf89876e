"""How a simulated person annotates a masklet in each phase (SAM 2, §5.1 and appendix F.1).

Phase 1 makes every frame by itself. Phases 2 and 3 let the tracker work, look through, correct a wrong
frame, propagate from there, and look on, until nothing is wrong: phase 2 makes a corrected frame anew,
phase 3 refines what the tracker predicted there. A revision begins with the range that the verifier found
wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from annotation.simulated.hand import Hand

__all__ = ["annotate", "give_up"]

_PATIENCE = 2
"""Clicks in a row that do not help before a person stops clicking."""


def annotate(hand: Hand) -> None:
    """Work on the hand's session until the person is content with it."""
    if not hand.session.rules.propagates:
        for position in _reading_order(hand):
            _check_frame(hand, position)
        return
    if hand.session.item.revision <= 1:
        _begin(hand)
    _correct_until_right(hand)
    _fill_gaps(hand)


def give_up(hand: Hand) -> None:
    """The person cannot see what object is meant: masks stay as they are; a verifier will judge them."""
    for position in range(len(hand.session)):
        hand.examine(position)
    _fill_gaps(hand)


def _begin(hand: Hand) -> None:
    """Make the first frame's mask and propagate it, as far as that has not been done for the person."""
    session, first = hand.session, hand.session.first_position
    if session.masks[first] is not None and hand.refines:
        return  # the tracker's own prediction: it is corrected like any other frame
    _check_frame(hand, first)
    if session.edited[first] or any(mask is None for mask in session.masks):
        hand.propagate()


def _correct_until_right(hand: Hand) -> None:
    """Correct wrong frames one after another; every turn locks one more frame, so this ends."""
    order = _reading_order(hand)
    worst_first = hand.refines and hand.config.correct == "worst"
    most = hand.config.max_edited_share * len(hand.session)
    unread = order
    while unread and sum(hand.session.edited) < most:
        wrong, unread = _find_wrong(hand, unread, worst_first=worst_first)
        if wrong is None:
            return
        _make_frame(hand, wrong)
        changed = hand.propagate(None if worst_first else wrong)
        unread = [position for position in order if position in changed or position in unread]


def _find_wrong(hand: Hand, unread: Sequence[int], *, worst_first: bool) -> tuple[int | None, list[int]]:
    """The next frame to correct, if any, and what is left to read: later frames, or other wrong ones."""
    wrong = []
    for index, position in enumerate(unread):
        hand.examine(position)
        if hand.is_wrong(position):
            if not worst_first:
                return position, list(unread[index + 1 :])
            wrong.append(position)
    if not wrong:
        return None, []
    worst = min(wrong, key=hand.agreement)
    return worst, [position for position in wrong if position != worst]


def _check_frame(hand: Hand, position: int) -> None:
    """Look at one frame; leave a good proposal as it is, otherwise make the mask."""
    if hand.session.masks[position] is not None and hand.agreement(position) >= hand.config.click_target_iou:
        hand.accept(position)
        return
    hand.examine(position)
    _make_frame(hand, position)


def _make_frame(hand: Hand, position: int) -> None:
    """Make or mend one frame's mask: absent, or click, and brush if that is not enough."""
    if not hand.truth(position).any():
        hand.mark_absent(position)
        return
    hand.locate(position)
    _click_until_right(hand, position)
    if hand.agreement(position) < hand.config.brush_below_iou:
        hand.brush(position)


def _click_until_right(hand: Hand, position: int) -> None:
    """Click on the largest error until the mask is good, or clicking no longer helps."""
    best, useless = 0.0, 0
    for count in range(hand.config.max_clicks):
        # SAM starts a new mask with the first click; the tracker refines what is shown
        hand.click_error(position, afresh=count == 0 and not hand.refines)
        agreement = hand.agreement(position)
        useless = 0 if agreement > best else useless + 1
        best = max(best, agreement)
        if agreement >= hand.config.click_target_iou or useless == _PATIENCE:
            return


def _fill_gaps(hand: Hand) -> None:
    """Mark the object absent wherever there is still no mask at all."""
    for position, mask in enumerate(hand.session.masks):
        if mask is None:
            hand.mark_absent(position)


def _reading_order(hand: Hand) -> list[int]:
    """Positions as the person goes through them: the bad range of a revision first, then all others."""
    bad = list(hand.session.bad_positions)
    return bad + [position for position in range(len(hand.session)) if position not in bad]
