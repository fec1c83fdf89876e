"""Decisions by hand about the model in use: what was put to work instead, by whom, when and why.

A decision is canonical JSON under ``promotions/<number>.json``, written by put-if-absent, so it never changes and of
two at once the second gets the next number. It stands beside the rounds and not in them: rounds record no time and no
opinion. ``after_round`` is the newest round that had been opened then; later ones begin with the decision's weights.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from storage.commits import canonical_json
from storage.errors import ManifestError
from storage.objects import ObjectStore

__all__ = ["ACTIONS", "Promotion", "list_promotions", "record_promotion"]

ACTIONS = ("promote", "rollback")
_PREFIX = "promotions/"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Promotion:
    """Weights were put to work by hand, instead of `previous`.

    ``origin`` says what they were named by (a file, a round or a hash), ``gate`` what the gate had said of them
    (empty: it never saw them), ``at`` the time in UTC as ISO 8601.
    """

    number: int
    action: str
    checkpoint_hash: str
    previous: str
    after_round: int
    origin: str
    gate: str
    reason: str
    by: str
    at: str

    def __post_init__(self) -> None:
        if self.action not in ACTIONS or self.number < 1 or not self.reason.strip():
            raise ManifestError(f"decision {self.number} needs a reason and must be one of {ACTIONS}")

    @property
    def key(self) -> str:
        """Where it is stored."""
        return f"{_PREFIX}{self.number:06d}.json"

    def to_json(self) -> bytes:
        """Canonical JSON of every field, with a format number."""
        return canonical_json(asdict(self) | {"format": _FORMAT})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The inverse of to_json. Raises ValueError, KeyError or TypeError on anything else."""
        value: dict[str, Any] = json.loads(data)
        if value.pop("format") != _FORMAT:
            raise ValueError("it has another format")
        return cls(**value)


def list_promotions(store: ObjectStore) -> list[Promotion]:
    """Every decision, oldest first. Raises ManifestError for a record that was cut or altered."""
    return [_read(store, key) for key in store.list(_PREFIX)]


def record_promotion(store: ObjectStore, promotion: Promotion) -> bool:
    """Records a decision; False if there is one of that number already, which then stands."""
    return store.put_if_absent(promotion.key, promotion.to_json())


def _read(store: ObjectStore, key: str) -> Promotion:
    data = store.get(key)
    try:
        found = Promotion.from_json(data)
        if found.to_json() == data and found.key == key:
            return found
        why = "it was edited after it was written"
    except (ValueError, KeyError, TypeError) as error:
        why = f"it cannot be read ({error})"
    raise ManifestError(f"{key} in {store.url} is damaged: {why}; restore it from a backup")
