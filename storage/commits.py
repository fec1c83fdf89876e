"""The record of the engine: commits of stages, shards within a stage, and the opening of a round.

Every record is canonical JSON, written by put-if-absent: it never changes, and of two writers the first
wins. A commit names its parents by hash, so the commits form a chain, and that chain is the lineage of
every masklet and checkpoint. No record holds a time: a round killed and resumed has the hashes of one that
ran through.

    rounds/<round_id>/opened.json                 RoundOpening
    rounds/<round_id>/<stage>/shards/<n>.json     files of one finished shard
    rounds/<round_id>/<stage>/commit.json         Commit: the stage is done
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

from storage.errors import ManifestError, ObjectNotFound
from storage.manifests import FileRef
from storage.objects import ObjectStore

__all__ = [
    "Commit",
    "RoundOpening",
    "canonical_json",
    "chain",
    "commit_stage",
    "finish_shard",
    "finished_shards",
    "iter_commits",
    "list_rounds",
    "make_round_id",
    "open_round",
    "read_commit",
    "read_round",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8. Raises ManifestError for NaN and odd
    types.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (TypeError, ValueError) as error:
        raise ManifestError(f"cannot record this as JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Commit:
    """A stage of a round is done: with these files, made from these parents, by this code, with these
    weights.
    """

    round_id: str
    stage: str
    parents: tuple[str, ...]
    settings_hash: str
    code_version: str
    checkpoint_hash: str
    seed: int
    files: tuple[FileRef, ...] = ()
    summary: Mapping[str, int | float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names(self.round_id, self.stage)
        names = [file.name for file in self.files]
        if len(set(names)) < len(names):
            raise ManifestError(f"commit {self.round_id}/{self.stage} names a file twice: {sorted(names)}")

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON, which is also the stored bytes."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def key(self) -> str:
        """Where the commit is stored."""
        return f"rounds/{self.round_id}/{self.stage}/commit.json"

    def file(self, name: str) -> FileRef:
        """The file of that name. Raises ManifestError if the commit has none."""
        for ref in self.files:
            if ref.name == name:
                return ref
        raise ManifestError(f"the commit {self.round_id}/{self.stage} has no file {name!r}")

    def to_json(self) -> bytes:
        """Canonical JSON of every field."""
        return canonical_json(asdict(self) | {"summary": dict(self.summary)})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The inverse of to_json. Raises ValueError, KeyError or TypeError on anything else."""
        value = json.loads(data)
        files = tuple(FileRef(**file) for file in value.pop("files"))
        return cls(**value | {"files": files, "parents": tuple(value["parents"])})


@dataclass(frozen=True, slots=True)
class RoundOpening:
    """A round has begun: its place in the sequence, its phase, and the settings it will keep to its end."""

    round_id: str
    number: int
    phase: int
    seed: int
    settings: Mapping[str, Any]
    settings_hash: str
    code_version: str
    checkpoint_key: str
    checkpoint_hash: str
    parents: tuple[str, ...]
    created_by: str

    def __post_init__(self) -> None:
        expected = make_round_id(self.number, self.phase)
        if self.round_id != expected:
            raise ManifestError(f"round {self.number} of phase {self.phase} must be called {expected!r}")

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        """Canonical JSON of every field."""
        return canonical_json(asdict(self) | {"settings": dict(self.settings)})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The inverse of to_json. Raises ValueError, KeyError or TypeError on anything else."""
        value = json.loads(data)
        return cls(**value | {"parents": tuple(value["parents"])})


def make_round_id(number: int, phase: int) -> str:
    """``r0001-p1`` for round 1 in phase 1."""
    if number < 1 or phase not in (1, 2, 3):
        raise ManifestError(f"a round has a number from 1 and a phase 1, 2 or 3, not {number} and {phase}")
    return f"r{number:04d}-p{phase}"


def open_round(store: ObjectStore, opening: RoundOpening) -> RoundOpening:
    """Records the opening of a round; if the round was opened before, that first opening is returned."""
    key = f"rounds/{opening.round_id}/opened.json"
    if store.put_if_absent(key, opening.to_json()):
        return opening
    return _read_record(store, key, RoundOpening)


def read_round(store: ObjectStore, round_id: str) -> RoundOpening | None:
    """The opening of a round, or None if it was never opened."""
    _check_names(round_id)
    try:
        return _read_record(store, f"rounds/{round_id}/opened.json", RoundOpening)
    except ObjectNotFound:
        return None


def list_rounds(store: ObjectStore) -> list[RoundOpening]:
    """Every opened round, by number."""
    keys = [key for key in store.list("rounds/") if key.endswith("/opened.json") and key.count("/") == 2]
    return sorted((_read_record(store, key, RoundOpening) for key in keys), key=lambda r: (r.number, r.phase))


def commit_stage(store: ObjectStore, commit: Commit) -> Commit:
    """Commits a stage; if it has a commit already, that one stands and is returned (the first wins)."""
    if store.put_if_absent(commit.key, commit.to_json()):
        return commit
    return _read_record(store, commit.key, Commit)


def read_commit(store: ObjectStore, round_id: str, stage: str) -> Commit | None:
    """The commit of a stage, or None while it is not done. Raises ManifestError if the record is damaged."""
    _check_names(round_id, stage)
    try:
        return _read_record(store, f"rounds/{round_id}/{stage}/commit.json", Commit)
    except ObjectNotFound:
        return None


def iter_commits(store: ObjectStore) -> Iterator[Commit]:
    """Every commit, in the order of its key (not of its making: see :func:`chain`)."""
    for key in store.list("rounds/"):
        if key.endswith("/commit.json") and key.count("/") == 3:
            yield _read_record(store, key, Commit)


def chain(store: ObjectStore) -> Iterator[Commit]:
    """Every commit after its parents; among those that could come next, by round and stage name.

    Raises ManifestError if a parent is missing, which means that the record is incomplete.
    """
    waiting = {commit.hash: commit for commit in iter_commits(store)}
    for commit in waiting.values():
        for parent in commit.parents:
            if parent not in waiting:
                raise ManifestError(
                    f"{commit.key} in {store.url} names the parent {parent[:16]}…, which is not there; "
                    "restore the missing commit record from a backup"
                )
    done: set[str] = set()
    while waiting:
        ready = {h: c for h, c in waiting.items() if done.issuperset(c.parents)}
        for found, commit in sorted(ready.items(), key=lambda item: (item[1].round_id, item[1].stage)):
            yield commit
            done.add(found)
            del waiting[found]


def finish_shard(
    store: ObjectStore, round_id: str, stage: str, shard: int, files: Iterable[FileRef]
) -> tuple[FileRef, ...]:
    """Records that a shard of a stage is done; returns its files (those of the first to finish it)."""
    key = f"{_shards(round_id, stage)}{shard:05d}.json"
    listed = tuple(files)
    if store.put_if_absent(key, canonical_json({"files": [file.to_dict() for file in listed]})):
        return listed
    return _read_record(store, key, _ShardRecord).files


def finished_shards(store: ObjectStore, round_id: str, stage: str) -> dict[int, tuple[FileRef, ...]]:
    """Files of the shards that are done, by shard number."""
    prefix = _shards(round_id, stage)
    keys = {int(key.removeprefix(prefix).removesuffix(".json")): key for key in store.list(prefix)}
    return {shard: _read_record(store, key, _ShardRecord).files for shard, key in sorted(keys.items())}


@dataclass(frozen=True, slots=True)
class _ShardRecord:
    files: tuple[FileRef, ...]

    def to_json(self) -> bytes:
        return canonical_json({"files": [file.to_dict() for file in self.files]})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        return cls(tuple(FileRef(**file) for file in json.loads(data)["files"]))


_Record = TypeVar("_Record", Commit, RoundOpening, _ShardRecord)


def _shards(round_id: str, stage: str) -> str:
    _check_names(round_id, stage)
    return f"rounds/{round_id}/{stage}/shards/"


def _check_names(*names: str) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ManifestError(
                f"{name!r} cannot name a round or stage: use letters, digits, '.', '_' and '-'"
            )


def _read_record(store: ObjectStore, key: str, kind: type[_Record]) -> _Record:
    """A record whose bytes are exactly its own canonical JSON; anything else was cut or altered."""
    data = store.get(key)
    try:
        record = kind.from_json(data)
        if record.to_json() == data:
            return record
        why = "it is not in canonical form, so it was edited after it was written"
    except (ValueError, KeyError, TypeError) as error:
        why = f"it cannot be read ({error})"
    raise ManifestError(
        f"{key} in {store.url} is damaged ({len(data)} bytes): {why}; restore it from a backup"
    )
