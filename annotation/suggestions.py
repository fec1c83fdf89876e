"""Which frame a person should look at next."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["worst_positions"]

_FAR = 5  # frames between two suggestions in a long video; in a short one there is no room for that
_SHARE = 12  # … nor for more than a twelfth of the video


def worst_positions(worth: Sequence[float | None], count: int, *, done: Collection[int]) -> tuple[int, ...]:
    """Up to `count` positions of the least worth, the worst first, away from each other and from those `done`.

    Of equal worth the one farthest from all of them comes first; None, where nothing is known, comes after all that
    is known.
    """
    gap = min(_FAR, max(1, len(worth) // _SHARE))
    taken, chosen = list(done), list[int]()
    while len(chosen) < count:
        free = [
            (1.0 if value is None else value, -_distance(position, taken, len(worth)), position)
            for position, value in enumerate(worth)
            if _distance(position, taken, len(worth)) >= gap
        ]
        if not free:
            break
        chosen.append(min(free)[2])
        taken.append(chosen[-1])
    return tuple(chosen)


def _distance(position: int, places: Collection[int], farthest: int) -> int:
    return min((abs(position - place) for place in places), default=farthest)
