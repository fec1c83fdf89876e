"""Commits, shards and openings: the first wins, the chain is complete, damage is named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from storage.commits import (
    Commit,
    RoundOpening,
    canonical_json,
    chain,
    commit_stage,
    finish_shard,
    finished_shards,
    iter_commits,
    list_rounds,
    make_round_id,
    open_round,
    read_commit,
    read_round,
)
from storage.errors import ManifestError
from storage.manifests import FileRef
from storage.objects import ObjectStore

FILE = FileRef(
    "plan", "rounds/r0001-p1/plan/plan-0123456789abcdef.parquet", "0123456789abcdef" * 4, 3, "plan"
)


def commit(stage: str = "plan", round_id: str = "r0001-p1", **changes: Any) -> Commit:
    values: dict[str, Any] = {
        "parents": (),
        "settings_hash": "s",
        "code_version": "0.1",
        "checkpoint_hash": "c",
        "seed": 1,
        "files": (FILE,),
        "summary": {"masklets": 3, "mean": 0.5, "name": "größe"},
    }
    return Commit(round_id, stage, **(values | changes))


def opening(number: int = 1, phase: int = 1, **changes: Any) -> RoundOpening:
    values: dict[str, Any] = {
        "round_id": make_round_id(number, phase),
        "number": number,
        "phase": phase,
        "seed": 7,
        "settings": {"videos": 3, "nested": {"a": [1, 2]}},
        "settings_hash": "s",
        "code_version": "0.1",
        "checkpoint_key": "checkpoints/x.safetensors",
        "checkpoint_hash": "c",
        "parents": (),
        "created_by": "cli",
    }
    return RoundOpening(**(values | changes))


def test_canonical_json_has_one_form():
    assert canonical_json({"b": [1, 2.5], "a": "ü"}) == '{"a":"ü","b":[1,2.5]}'.encode()
    for bad in (float("nan"), {"a": object()}):
        with pytest.raises(ManifestError, match="cannot record this as JSON"):
            canonical_json(bad)


def test_a_commit_reads_back_and_its_bytes_have_its_hash(store: ObjectStore):
    made = commit_stage(store, commit())
    assert read_commit(store, "r0001-p1", "plan") == made == commit()
    assert hashlib.sha256(store.get("rounds/r0001-p1/plan/commit.json")).hexdigest() == made.hash
    assert read_commit(store, "r0001-p1", "annotate") is None
    assert made.file("plan") == FILE
    with pytest.raises(ManifestError, match="has no file 'effort'"):
        made.file("effort")


def test_every_field_changes_the_hash():
    other = {
        "round_id": "r0002-p1",
        "stage": "verify",
        "parents": ("p",),
        "settings_hash": "x",
        "code_version": "x",
        "checkpoint_hash": "x",
        "seed": 2,
        "files": (),
        "summary": {},
    }
    assert set(other) == {field.name for field in dataclasses.fields(Commit)}
    hashes = {dataclasses.replace(commit(), **{name: value}).hash for name, value in other.items()}
    assert len(hashes | {commit().hash}) == len(other) + 1


def test_the_first_commit_of_a_stage_stands(store: ObjectStore):
    first = commit_stage(store, commit())
    assert commit_stage(store, commit(seed=2)) == first
    assert commit_stage(store, commit()) == first
    assert [c.seed for c in iter_commits(store)] == [1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"round_id": "../x"}, "cannot name a round or stage"),
        ({"stage": ""}, "cannot name a round or stage"),
        ({"files": (FILE, FILE)}, "names a file twice"),
    ],
)
def test_bad_commits_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ManifestError, match=message):
        commit(**changes)


@pytest.mark.parametrize("damage", ["cut", "edited", "pretty"])
def test_a_damaged_commit_is_named(store: ObjectStore, damage: str):
    key = commit_stage(store, commit()).key
    data = store.get(key)
    if damage == "cut":
        store.put(key, data[: len(data) // 2])
    elif damage == "edited":
        store.put(key, data.replace(b'"seed":1', b'"seed":1,"extra":1'))
    else:
        store.put(key, json.dumps(json.loads(data), indent=1).encode())
    with pytest.raises(ManifestError, match=r"rounds/r0001-p1/plan/commit.json in .* is damaged"):
        read_commit(store, "r0001-p1", "plan")


def test_the_chain_puts_parents_first(store: ObjectStore):
    plan = commit_stage(store, commit("plan"))
    verify = commit_stage(store, commit("verify", parents=(plan.hash,)))
    annotate = commit_stage(store, commit("annotate", parents=(verify.hash,)))
    second = commit_stage(store, commit("auto", round_id="r0000", parents=(annotate.hash, plan.hash)))
    assert list(chain(store)) == [plan, verify, annotate, second]
    assert {c.hash for c in iter_commits(store)} == {c.hash for c in chain(store)}


def test_a_missing_parent_breaks_the_chain(store: ObjectStore):
    plan = commit_stage(store, commit("plan"))
    commit_stage(store, commit("verify", parents=(plan.hash,)))
    store.delete(plan.key)
    with pytest.raises(ManifestError, match=f"names the parent {plan.hash[:16]}…, which is not there"):
        list(chain(store))


def test_shards_are_found_by_number_and_the_first_stands(store: ObjectStore):
    assert finished_shards(store, "r0001-p1", "prelabel") == {}
    assert finish_shard(store, "r0001-p1", "prelabel", 12, [FILE]) == (FILE,)
    assert finish_shard(store, "r0001-p1", "prelabel", 2, []) == ()
    assert finish_shard(store, "r0001-p1", "prelabel", 2, [FILE]) == ()
    assert finished_shards(store, "r0001-p1", "prelabel") == {2: (), 12: (FILE,)}
    assert list(iter_commits(store)) == []


def test_a_round_is_opened_once(store: ObjectStore):
    first = open_round(store, opening())
    assert open_round(store, opening(seed=8)) == first
    assert read_round(store, "r0001-p1") == first
    assert read_round(store, "r0009-p1") is None
    open_round(store, opening(10, 2))
    open_round(store, opening(2, 3, parents=("a", "b")))
    assert [found.round_id for found in list_rounds(store)] == ["r0001-p1", "r0002-p3", "r0010-p2"]


@pytest.mark.parametrize(("number", "phase"), [(0, 1), (1, 0), (1, 4)])
def test_rounds_and_phases_have_limits(number: int, phase: int):
    with pytest.raises(ManifestError, match="a round has a number from 1"):
        make_round_id(number, phase)


def test_a_round_id_says_number_and_phase():
    assert make_round_id(1, 1) == "r0001-p1"
    with pytest.raises(ManifestError, match="must be called 'r0001-p1'"):
        opening(round_id="r0001-p2")
