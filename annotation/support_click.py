"""A click on the object that goes with a person's first click on a given mask.

Networks learn to correct a mask after a first click on the object, but a person who has painted a mask begins with the
correction: alone, a negative click makes the packaged nano network drop the whole mask, and a positive one a third of
it. With a click in the middle of the mask, nine tenths of it stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.clicks import centre_click
from model.prompts import Click
from storage.masks import Rle, decode, is_empty

__all__ = ["support_click"]


def support_click(mask: Rle, clicks: Sequence[Click]) -> Click | None:
    """A positive click in the middle of a mask, away from the negative ones.

    None if there is no middle, or a click before the last one says already what the object is.
    """
    if is_empty(mask) or any(click.positive for click in clicks[:-1]):
        return None
    inside = decode(mask).copy()
    for click in clicks:
        if not click.positive:
            inside[min(int(click.y), mask.height - 1), min(int(click.x), mask.width - 1)] = False
    return centre_click(inside) if inside.any() else None
