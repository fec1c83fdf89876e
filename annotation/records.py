"""Reading JSON that somebody else wrote: every field is checked, and the error names it.

`JsonReader` wraps one JSON object. Each method takes a field's name and returns its value in the asked type,
or raises `RecordError`. `finish` refuses fields nobody asked for, so that a misspelt one is never ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from annotation.errors import RecordError
from model.errors import PromptError
from model.prompts import Box
from storage.errors import MaskError
from storage.masks import Rle

__all__ = ["JsonReader", "box_to_json", "check_choice", "check_text", "check_whole"]

T = TypeVar("T")


class JsonReader:
    """One JSON object, read field by field; `what` names it in messages ("work item", "submission")."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, Mapping):
            raise RecordError(f"A {what} must be a JSON object, not {value!r:.60}.")
        self._value: Mapping[str, Any] = value
        self._what = what
        self._read: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether the field is there; those added to a record later are not, in old ones."""
        return name in self._value

    def text(self, name: str) -> str:
        """A string."""
        return self._typed(name, str, "a string")

    def flag(self, name: str) -> bool:
        """true or false."""
        return self._typed(name, bool, "true or false")

    def whole(self, name: str) -> int:
        """A whole number (JSON true and false are not numbers)."""
        return self._whole(name, self._get(name))

    def number(self, name: str) -> float:
        """A finite number."""
        return self._number(name, self._get(name))

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """null becomes None, anything else is read by `read`, one of the methods of this object."""
        return None if self._get(name) is None else read(name)

    def point(self, name: str) -> tuple[float, float]:
        """Two numbers [x, y]."""
        x, y = self._numbers(name, 2)
        return x, y

    def box(self, name: str) -> Box:
        """Four numbers [x0, y0, x1, y1]."""
        x0, y0, x1, y1 = self._numbers(name, 4)
        try:
            return Box(x0, y0, x1, y1)
        except PromptError as error:
            raise self._bad(name, str(error)) from error

    def range(self, name: str) -> tuple[int, int]:
        """Two whole numbers [from, to], both inclusive."""
        values = self._list(name)
        if len(values) != 2:
            raise self._bad(name, f"needs [from, to], not {values!r:.60}")
        first, last = (self._whole(name, value) for value in values)
        return first, last

    def rle(self, name: str) -> Rle:
        """A COCO RLE object, checked to fill its mask exactly."""
        return self._rle(name, self._get(name))

    def rles(self, name: str) -> tuple[Rle, ...]:
        """A list of COCO RLE objects."""
        return tuple(self._rle(name, value) for value in self._list(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise self._bad(name, f"must be a list of strings, not {values!r:.60}")
        return tuple(values)

    def wholes(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(self._whole(name, value) for value in self._list(name))

    def each(self, name: str, read: Callable[[Any], T]) -> tuple[T, ...]:
        """A list whose entries are read by `read`, for instance another record's `from_json`."""
        return tuple(read(value) for value in self._list(name))

    def nested(self, name: str, read: Callable[[Any], T]) -> T:
        """One value read by `read`."""
        return read(self._get(name))

    def finish(self) -> None:
        """Refuse fields that were not read."""
        unknown = sorted(set(self._value) - self._read)
        if unknown:
            raise RecordError(f"A {self._what} has no field {unknown[0]!r}.")

    def _get(self, name: str) -> Any:
        if name not in self._value:
            raise RecordError(f"A {self._what} lacks the field {name!r}.")
        self._read.add(name)
        return self._value[name]

    def _typed(self, name: str, kind: type[T], described: str) -> T:
        value = self._get(name)
        if not isinstance(value, kind):
            raise self._bad(name, f"must be {described}, not {value!r:.60}")
        return value

    def _list(self, name: str) -> list[Any]:
        return self._typed(name, list, "a list")

    def _numbers(self, name: str, count: int) -> list[float]:
        values = self._list(name)
        if len(values) != count:
            raise self._bad(name, f"needs {count} numbers, not {values!r:.60}")
        return [self._number(name, value) for value in values]

    def _whole(self, name: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._bad(name, f"must be a whole number, not {value!r:.60}")
        return value

    def _number(self, name: str, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self._bad(name, f"must be a finite number, not {value!r:.60}")
        return float(value)

    def _rle(self, name: str, value: object) -> Rle:
        if not isinstance(value, Mapping):
            raise self._bad(name, f"must hold COCO RLE objects, not {value!r:.60}")
        try:
            return Rle.from_coco(value)
        except MaskError as error:
            raise self._bad(name, str(error)) from error

    def _bad(self, name: str, why: str) -> RecordError:
        return RecordError(f"The field {name!r} of a {self._what} is wrong: {why}.")


def box_to_json(box: Box | None) -> list[float] | None:
    """[x0, y0, x1, y1], or None."""
    return None if box is None else [box.x0, box.y0, box.x1, box.y1]


def check_text(what: str, name: str, value: str) -> None:
    """RecordError unless `value` is a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise RecordError(f"The field {name!r} of a {what} must be a non-empty string, not {value!r}.")


def check_choice(what: str, name: str, value: object, choices: tuple[object, ...]) -> None:
    """RecordError unless `value` is one of `choices`."""
    if value not in choices:
        shown = ", ".join(str(choice) for choice in choices)
        raise RecordError(f"The field {name!r} of a {what} is {value!r}; it must be one of {shown}.")


def check_whole(what: str, name: str, value: int, *, least: int = 0) -> None:
    """RecordError when a whole number is below `least`."""
    if value < least:
        raise RecordError(f"The field {name!r} of a {what} is {value}; it must be at least {least}.")
