"""Human input, kept as it came: submissions, verdicts, effort events.

Append-only and keyed by the sender's own submission id, so duplicates, reordering and lost-then-repeated
messages change nothing. Two different payloads under one id are both kept: the first counts, the other one
is put under ``inbox-conflicts/`` for a person to look at. Human work is never dropped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from storage.commits import canonical_json
from storage.errors import ManifestError, ObjectNotFound
from storage.objects import ObjectStore, checked_key

__all__ = ["Inbox"]

_MAX_BYTES = 32 << 20


class Inbox:
    """Submissions by round and desk (``annotation``, ``auto``, …), each a JSON object."""

    def __init__(self, store: ObjectStore, *, max_bytes: int = _MAX_BYTES) -> None:
        self._store = store
        self._max_bytes = max_bytes

    def append(self, round_id: str, desk: str, submission_id: str, payload: Mapping[str, Any]) -> bool:
        """Keeps a submission; True if it is new, False if the id was taken (by the same or by other content).

        Raises ManifestError if the payload is no JSON object or larger than ``max_bytes``.
        """
        key = _folder("inbox", round_id, desk) + _part(submission_id) + ".json"
        data = canonical_json(dict(payload))
        if len(data) > self._max_bytes:
            raise ManifestError(
                f"submission {submission_id!r} has {len(data)} bytes, the limit is {self._max_bytes}; "
                "split it or raise the limit in the settings"
            )
        if self._store.put_if_absent(key, data):
            return True
        if self._store.get(key) != data:
            digest = hashlib.sha256(data).hexdigest()[:16]
            folder = _folder("inbox-conflicts", round_id, desk)
            self._store.put_if_absent(f"{folder}{submission_id}-{digest}.json", data)
        return False

    def get(self, round_id: str, desk: str, submission_id: str) -> dict[str, Any] | None:
        """One payload by its submission id; None if there is none."""
        try:
            return self._payload(_folder("inbox", round_id, desk) + _part(submission_id) + ".json")
        except ObjectNotFound:
            return None

    def read(self, round_id: str, desk: str) -> dict[str, dict[str, Any]]:
        """Payloads by submission id, in the order of the ids."""
        return dict(self._read(_folder("inbox", round_id, desk)))

    def conflicts(self, round_id: str, desk: str) -> dict[str, dict[str, Any]]:
        """Payloads that came second under a taken id, by ``<submission id>-<content hash>``."""
        return dict(self._read(_folder("inbox-conflicts", round_id, desk)))

    def _read(self, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for key in self._store.list(folder):
            yield key.removeprefix(folder).removesuffix(".json"), self._payload(key)

    def _payload(self, key: str) -> dict[str, Any]:
        data = self._store.get(key)
        try:
            payload = json.loads(data)
        except ValueError as error:
            raise ManifestError(
                f"{key} in {self._store.url} is damaged: {error}; restore it from a backup"
            ) from error
        if not isinstance(payload, dict):
            raise ManifestError(f"{key} in {self._store.url} is no JSON object; restore it from a backup")
        return payload


def _folder(base: str, round_id: str, desk: str) -> str:
    return f"{base}/{_part(round_id)}/{_part(desk)}/"


def _part(name: str) -> str:
    """A name that is one part of a key."""
    if "/" in name:
        raise ManifestError(f"{name!r} cannot be an id in the inbox: it holds a slash")
    return checked_key(name)
