"""Units of an experiment: pieces of work whose results are written once, under a key made of what they depend on.

    experiments/<name>-<first 16 hex digits of the SHA-256 of its inputs>.json

A unit with a record is done; running it again is a no-op, and of two processes that finish one, the first wins. A
unit that builds on another's result names that unit's key among its inputs, so keys are known before anything ran.
What depends on the clock (how long something took) is kept apart, in `measured`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from engine.version import code_version
from storage.commits import canonical_json
from storage.errors import ManifestError, ObjectNotFound
from storage.manifests import FileRef
from storage.objects import ObjectStore

PREFIX = "experiments"


@dataclass(frozen=True)
class Unit:
    """One piece of work: a readable name (`phase-2/seed-0/drawn-003`) and everything its result depends on.

    cost: about how many seconds of one core it takes, to say beforehand how long a run will be.
    """

    name: str
    inputs: Mapping[str, Any]
    cost: float = 1.0

    @cached_property
    def key(self) -> str:
        """Where the result is stored; other inputs have another key."""
        digest = hashlib.sha256(canonical_json({"name": self.name, "inputs": dict(self.inputs)})).hexdigest()
        return f"{PREFIX}/{self.name}-{digest[:16]}.json"


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What a unit found: plain numbers and words, files in the store, and what was measured by the clock."""

    values: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[FileRef, ...] = ()
    measured: Mapping[str, float] = field(default_factory=dict)
    code_version: str = ""

    def file(self, name: str) -> FileRef:
        """The file of that name. Raises ManifestError if there is none."""
        for ref in self.files:
            if ref.name == name:
                return ref
        raise ManifestError(f"the unit has no file {name!r}")

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(
            {
                "values": dict(self.values),
                "files": [ref.to_dict() for ref in self.files],
                "measured": dict(self.measured),
                "code_version": self.code_version,
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> UnitResult:
        """The inverse of `to_json`. Raises ManifestError on anything else."""
        try:
            value = json.loads(data)
            files = tuple(FileRef(**file) for file in value["files"])
            return cls(value["values"], files, value["measured"], value["code_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(f"a unit's record is damaged: {error}; delete it and run again") from error


def read_result(store: ObjectStore, unit: Unit) -> UnitResult | None:
    """The unit's result, None while it is not done."""
    try:
        return UnitResult.from_json(store.get(unit.key))
    except ObjectNotFound:
        return None


def record_result(store: ObjectStore, unit: Unit, result: UnitResult) -> UnitResult:
    """Record a result with the version of the code that made it; returns the one that stands (the first)."""
    signed = UnitResult(result.values, result.files, result.measured, code_version())
    if store.put_if_absent(unit.key, signed.to_json()):
        return signed
    return UnitResult.from_json(store.get(unit.key))
