"""The catalog: derived by one function from the record, rebuilt to the same rows, leased by one worker at a time."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from storage.catalog import Catalog
from storage.catalog.tables import Base
from storage.commits import Commit, RoundOpening, commit_stage, list_rounds, make_round_id, open_round
from storage.errors import CatalogError, LeaseLost, ManifestError
from storage.manifests import FileRef, store_file, write_manifest
from storage.objects import ObjectStore, open_store
from storage.videos import Video, VideoLibrary


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/home/catalog.sqlite"
    server: str = request.getfixturevalue("postgres_url")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS catalog WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE catalog"))
    engine.dispose()
    return server.rpartition("/")[0] + "/catalog"


@pytest.fixture
def catalog(url: str) -> Any:
    catalog = Catalog(url)
    catalog.migrate()
    yield catalog
    catalog.close()


# -- a small history ----------------------------------------------------------------------------------------

DOT = {"height": 4, "width": 4, "counts": "`0"}


def plan_row(masklet: str, round_id: str, video: str, phase: int) -> dict[str, Any]:
    names = {
        "masklet_id": masklet,
        "round_id": round_id,
        "video_id": video,
        "name": "cup",
        "reason": "selected",
    }
    return names | {"object_id": 1, "phase": phase, "first_frame": 0, "x": 1.0, "y": 2.0, "seed": 3}


def annotation_row(masklet: str, revision: int, frame: int, video: str, phase: int) -> dict[str, Any]:
    names = {"masklet_id": masklet, "video_id": video, "origin": "manual", "annotator": "anna"}
    numbers = {"revision": revision, "object_id": 1, "frame": frame, "area": 0, "clicks": 2, "phase": phase}
    return names | numbers | DOT | {"edited": True, "locked": False}


def verdict_row(masklet: str, revision: int, verdict: str, verifier: str = "vera") -> dict[str, Any]:
    names = {
        "masklet_id": masklet,
        "verifier": verifier,
        "verdict": verdict,
        "reason": "",
        "desk": "annotation",
    }
    return names | {"revision": revision, "duration_s": 1.0}


def dataset_row(masklet: str, revision: int, round_id: str, video: str) -> dict[str, Any]:
    names = {
        "masklet_id": masklet,
        "video_id": video,
        "round_id": round_id,
        "origin": "manual",
        "split": "train",
    }
    keys = {"group": "g", "masks_key": "k", "masks_sha256": "s"}
    numbers = {"revision": revision, "object_id": 1, "phase": 1, "first_frame": 0, "frames_visible": 1}
    return names | keys | numbers | {"edited_frames": 1, "mean_area": 0.0}


def auto_row(masklet: str, frame: int, video: str) -> dict[str, Any]:
    names = {"masklet_id": masklet, "video_id": video, "object_id": 9, "frame": frame, "grid": 0}
    return names | DOT | {"point_x": 1.0, "point_y": 1.0, "object_score": 1.0}


def metric_row(round_id: str, role: str, j: float) -> dict[str, Any]:
    names = {"round_id": round_id, "role": role, "checkpoint_hash": "c", "protocol": "mask", "video_id": "v"}
    return names | {"object_id": -1, "j": j, "f": j, "jf": j, "frames": 3}


class History:
    """Writes commits to the record and, as the live engine does, tells the catalog of each."""

    def __init__(self, store: ObjectStore, catalog: Catalog, tmp_path: Path) -> None:
        self.store, self.catalog, self.tmp_path = store, catalog, tmp_path
        self.last: tuple[str, ...] = ()
        self.checkpoint = "base"

    def open(self, number: int, phase: int) -> str:
        round_id = make_round_id(number, phase)
        opening = RoundOpening(
            round_id, number, phase, 7, {"a": 1}, "s", "0.1", "key", self.checkpoint, self.last, "cli"
        )
        self.catalog.record_round(open_round(self.store, opening))
        return round_id

    def commit(self, round_id: str, stage: str, *files: FileRef, **summary: Any) -> Commit:
        made = Commit(round_id, stage, self.last, "s", "0.1", self.checkpoint, 7, files, summary)
        self.last = (commit_stage(self.store, made).hash,)
        assert self.catalog.apply_commit(self.store, made)
        return made

    def file(self, round_id: str, schema: str, rows: list[dict[str, Any]]) -> FileRef:
        return write_manifest(self.store, f"rounds/{round_id}/x", schema, rows, schema)

    def checkpoint_file(self, content: bytes) -> FileRef:
        (self.tmp_path / "c.safetensors").write_bytes(content)
        return store_file(self.store, "checkpoints", "checkpoint", self.tmp_path / "c.safetensors")


@pytest.fixture
def history(store: ObjectStore, catalog: Catalog, tmp_path: Path, tiny_video: Video) -> History:
    """Two rounds: people annotate three masklets, one of them twice; then the model finds two by itself."""
    told, video = History(store, catalog, tmp_path), tiny_video.video_id
    catalog.record_video(tiny_video)
    first = told.open(1, 1)
    told.commit(first, "plan", told.file(first, "plan", [plan_row(m, first, video, 1) for m in "abc"]))
    pages = [annotation_row(m, 0, f, video, 1) for m in "ab" for f in (0, 4)]
    pages += [annotation_row("a", 1, f, video, 1) for f in (0, 4)]
    told.commit(first, "annotate", told.file(first, "annotations", pages), masklets=2)
    verdicts = [verdict_row("a", 0, "unsatisfactory"), verdict_row("a", 1, "satisfactory")]
    told.commit(first, "verify", told.file(first, "verdicts", [*verdicts, verdict_row("b", 0, "rejected")]))
    told.commit(first, "dataset", told.file(first, "dataset", [dataset_row("a", 1, first, video)]))
    new = told.checkpoint_file(b"weights")
    told.commit(first, "retrain", new)
    told.commit(first, "evaluate", told.file(first, "metrics", [metric_row(first, "champion", 50.0)]))
    told.commit(first, "close", checkpoint_hash_end=new.sha256)
    told.checkpoint = new.sha256
    second = told.open(2, 3)
    autos = [auto_row(m, f, video) for m in ("x", "y") for f in (0, 4)]
    told.commit(second, "auto", told.file(second, "auto_masklets", autos))
    told.commit(second, "verify", told.file(second, "verdicts", [verdict_row("y", 0, "unsatisfactory")]))
    return told


def states(catalog: Catalog) -> dict[str, str]:
    return {row["masklet_id"]: row["state"] for row in catalog.rows("masklets")}


def test_commits_become_rows(catalog: Catalog, history: History, tiny_video: Video):
    assert states(catalog) == {
        "a": "accepted",
        "b": "rejected",
        "c": "planned",
        "x": "annotated",
        "y": "unsatisfactory",
    }
    (a,) = catalog.rows("masklets", masklet_id="a")
    assert (a["revision"], a["in_dataset"], a["origin"], a["phase"]) == (1, True, "manual", 1)
    (x,) = catalog.rows("masklets", masklet_id="x")
    assert (x["round_id"], x["origin"], x["phase"], x["in_dataset"]) == ("r0002-p3", "auto", 3, False)
    assert catalog.count_masklets("r0001-p1") == {"accepted": 1, "rejected": 1, "planned": 1}
    assert sum(catalog.count_masklets().values()) == 5
    assert [(r["round_id"], r["state"]) for r in catalog.rows("rounds")] == [
        ("r0001-p1", "closed"),
        ("r0002-p3", "open"),
    ]
    (weights,) = catalog.rows("checkpoints")
    assert (weights["round_id"], weights["parent_hash"], weights["promoted"]) == ("r0001-p1", "base", True)
    assert catalog.rows("rounds")[0]["checkpoint_hash_end"] == weights["hash"] == history.checkpoint
    assert [row["summary"] for row in catalog.rows("stages", stage="annotate")] == [{"masklets": 2}]
    assert len(catalog.rows("verdicts")) == 4
    assert catalog.rows("metrics")[0]["jf"] == 50.0
    assert catalog.rows("videos")[0]["annotated_count"] == len(tiny_video.annotated_frames)


def test_a_rebuild_gives_the_same_rows(catalog: Catalog, history: History):
    before = catalog.snapshot()
    assert catalog.rebuild(history.store) is None
    assert catalog.snapshot() == before
    assert catalog.rebuild(history.store) is None
    assert catalog.snapshot() == before


def test_a_new_catalog_is_rebuilt_from_the_record(history: History, tmp_path: Path):
    other = Catalog(tmp_path / "other.sqlite")
    other.rebuild(history.store)
    assert other.snapshot() == history.catalog.snapshot()
    other.close()


def test_a_commit_is_applied_once(catalog: Catalog, history: History):
    before = catalog.snapshot()
    commit = history.commit("r0002-p3", "plan", history.file("r0002-p3", "plan", []))
    assert not catalog.apply_commit(history.store, commit)
    after = catalog.snapshot()
    assert len(after.pop("stages")) == len(before.pop("stages")) + 1
    assert after == before


def test_opening_a_known_round_does_not_open_it_again(catalog: Catalog, history: History):
    before = catalog.snapshot()
    for opening in list_rounds(history.store):
        catalog.record_round(opening)
    assert catalog.snapshot() == before


def test_a_later_data_set_replaces_the_earlier(catalog: Catalog, history: History, tiny_video: Video):
    rows = [dataset_row("x", 0, "r0002-p3", tiny_video.video_id)]
    history.commit("r0002-p3", "dataset", history.file("r0002-p3", "dataset", rows))
    assert {row["masklet_id"] for row in catalog.rows("masklets", in_dataset=True)} == {"x"}
    assert states(catalog)["x"] == "accepted"
    before = catalog.snapshot()
    catalog.rebuild(history.store)
    assert catalog.snapshot() == before


@pytest.mark.parametrize(
    ("votes", "state"),
    [
        (["satisfactory"], "accepted"),
        (["satisfactory", "satisfactory", "rejected"], "accepted"),
        (["satisfactory", "unsatisfactory"], "unsatisfactory"),
        (["satisfactory", "unsatisfactory", "rejected"], "rejected"),
    ],
)
def test_most_verdicts_count_and_ties_go_to_the_strictest(history: History, votes: list[str], state: str):
    rows = [verdict_row("x", 0, vote, f"v{n}") for n, vote in enumerate(votes)]
    history.commit("r0002-p3", "second", history.file("r0002-p3", "verdicts", rows))
    assert states(history.catalog)["x"] == state


def test_a_verdict_on_an_old_revision_changes_no_state(history: History, tiny_video: Video):
    history.commit(
        "r0002-p3", "late", history.file("r0002-p3", "verdicts", [verdict_row("a", 0, "rejected", "v2")])
    )
    assert states(history.catalog)["a"] == "accepted"


def test_files_of_one_commit_count_in_the_order_of_a_masklets_life(history: History, tiny_video: Video):
    round_id, video = "r0002-p3", tiny_video.video_id
    verdicts = history.file(round_id, "verdicts", [verdict_row("w", 1, "satisfactory")])
    refined = history.file(round_id, "annotations", [annotation_row("w", 1, 0, video, 3)])
    found = history.file(round_id, "auto_masklets", [auto_row("w", 0, video)])
    history.commit(round_id, "mined", verdicts, refined, found)
    (row,) = history.catalog.rows("masklets", masklet_id="w")
    assert (row["state"], row["revision"], row["origin"]) == ("accepted", 1, "manual")


def test_a_damaged_manifest_leaves_the_catalog_as_it_was(catalog: Catalog, history: History):
    before = catalog.snapshot()
    ref = history.file("r0002-p3", "plan", [plan_row("z", "r0002-p3", "v", 3)])
    history.store.put(ref.key, b"rubbish")
    commit = Commit("r0002-p3", "plan", (), "s", "0.1", "c", 7, (ref,))
    with pytest.raises(ManifestError, match="is damaged"):
        catalog.apply_commit(history.store, commit)
    assert catalog.snapshot() == before


def test_queries_name_what_they_do_not_know(catalog: Catalog):
    with pytest.raises(CatalogError, match="no table 'films'; it has videos"):
        catalog.rows("films")
    with pytest.raises(CatalogError, match="videos has no column 'colour'"):
        catalog.rows("videos", colour="red")


# -- schema -------------------------------------------------------------------------------------------------


def test_migrations_make_the_declared_tables(catalog: Catalog, url: str):
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    catalog.migrate()


def migrate(url: str) -> str:
    catalog = Catalog(url)
    try:
        catalog.migrate()
        return catalog.check() or "ok"
    finally:
        catalog.close()


def test_many_may_migrate_at_once(url: str):
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(migrate, [url] * 4)) == ["ok"] * 4


def test_a_new_file_that_another_writes_to_is_waited_for(tmp_path: Path):
    file = tmp_path / "catalog.sqlite"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE anything (x)")
    # outside of WAL mode, which SQLite refuses to enter now, without waiting
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, other.execute, ["COMMIT"])
    done.start()
    assert migrate(f"sqlite:///{file}") == "ok"
    done.join()
    other.close()


def test_a_newer_catalog_is_refused(catalog: Catalog, url: str):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(CatalogError, match=r"made by a newer engine \(schema 9999\)"):
        catalog.migrate()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/x", "runs on SQLite or PostgreSQL, not on mysql"),
        ("nonsense://host/x", "not on nonsense"),
        ("postgresql+nodriver://u:secret@host/x", "cannot use the database URL"),
    ],
)
def test_bad_urls_say_what_is_wrong(url: str, message: str):
    with pytest.raises(CatalogError, match=message) as caught:
        Catalog(url)
    assert "secret" not in str(caught.value)


@pytest.mark.postgres
def test_a_server_that_does_not_answer_is_explained():
    pytest.importorskip("psycopg")
    catalog = Catalog("postgresql+psycopg://me:secret@127.0.0.1:9/x")
    with pytest.raises(CatalogError, match="check that the database server runs") as caught:
        catalog.migrate()
    assert "secret" not in str(caught.value)


# -- damage -------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "catalog.sqlite"


def test_a_missing_catalog_says_how_to_get_one(file: Path):
    file.parent.mkdir()
    catalog = Catalog(file)
    with pytest.raises(CatalogError, match="its tables are missing; run 'engine doctor --rebuild'"):
        catalog.snapshot()
    catalog.close()


@pytest.mark.parametrize("damage", ["header", "middle", "deleted"])
def test_a_damaged_file_is_moved_aside_and_rebuilt(
    store: ObjectStore, file: Path, tmp_path: Path, tiny_video: Video, damage: str
):
    catalog = Catalog(file)
    catalog.migrate()
    catalog.record_video(tiny_video)
    before = catalog.snapshot()
    catalog.close()
    if damage == "deleted":
        file.unlink()
    else:
        with file.open("r+b") as handle:
            handle.seek(0 if damage == "header" else 4096)
            handle.write(b"rubbish " * 2000)
    catalog = Catalog(file)
    assert catalog.check() is not None
    aside = catalog.rebuild(store)
    assert catalog.snapshot() == before
    assert catalog.check() is None
    assert (aside is not None and aside.exists()) == (damage != "deleted")
    catalog.close()


def test_sqlite_is_in_wal_mode(file: Path):
    catalog = Catalog(file)
    catalog.migrate()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    catalog.close()


# -- leases -------------------------------------------------------------------------------------------------


def test_a_lease_has_one_holder(catalog: Catalog):
    lease = catalog.lease("r", "s", 0, "me", 60)
    assert lease is not None
    assert catalog.lease("r", "s", 0, "you", 60) is None
    assert catalog.lease("r", "s", 0, "me", 60) is None
    assert catalog.lease("r", "s", 1, "you", 60) is not None
    (first, _) = catalog.leases()
    assert (first["owner"], first["shard"]) == ("me", 0)
    assert 0 < first["remaining_s"] <= 60
    with lease:
        lease.renew()
    assert catalog.lease("r", "s", 0, "you", 60) is not None


def test_an_expired_lease_is_taken_over(catalog: Catalog):
    dead = catalog.lease("r", "s", 0, "dead", 0.01)
    assert dead is not None
    time.sleep(0.05)
    heir = catalog.lease("r", "s", 0, "heir", 60)
    assert heir is not None
    with pytest.raises(LeaseLost, match="dead lost the lease of r/s shard 0"):
        dead.renew()
    dead.release()
    heir.renew()


def test_a_late_renewal_holds_if_nobody_took_over(catalog: Catalog):
    lease = catalog.lease("r", "s", 0, "me", 0.01)
    assert lease is not None
    time.sleep(0.05)
    lease.renew(60)
    assert catalog.lease("r", "s", 0, "you", 60) is None
    lease.release()
    with pytest.raises(LeaseLost):
        lease.renew()


def test_expired_and_broken_leases_are_dropped(catalog: Catalog):
    catalog.lease("r", "s", 0, "dead", 0.01)
    catalog.lease("r", "s", 1, "killed", 60)
    catalog.lease("r", "s", 2, "alive", 60)
    time.sleep(0.05)
    assert catalog.drop_expired_leases() == 1
    assert not catalog.break_lease("r", "s", 2, owner="killed")
    assert catalog.break_lease("r", "s", 1, owner="killed")
    assert [row["owner"] for row in catalog.leases()] == ["alive"]


def test_a_lease_must_last(catalog: Catalog):
    with pytest.raises(CatalogError, match="longer than 0 s"):
        catalog.lease("r", "s", 0, "me", 0)


def lease_all(task: tuple[str, str]) -> list[int]:
    url, owner = task
    catalog = Catalog(url)
    won = [shard for shard in range(20) if catalog.lease("r", "s", shard, owner, 60)]
    catalog.close()
    return won


def test_processes_share_shards_without_overlap(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    migrate(url)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(lease_all, [(url, "one"), (url, "two")])
    assert sorted(first + second) == list(range(20))


def test_threads_race_for_one_shard(catalog: Catalog):
    for shard in range(5):
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda n, s=shard: catalog.lease("r", "s", s, str(n), 60), range(8)))
        assert sum(lease is not None for lease in found) == 1


# -- runs ---------------------------------------------------------------------------------------------------


def test_runs_have_times_and_an_end(catalog: Catalog):
    before = time.time()
    run = catalog.start_stage_run("r1", "plan", "me")
    other = catalog.start_stage_run("r2", "plan", "me")
    catalog.finish_stage_run(run, "done", "3 masklets")
    (row,) = catalog.stage_runs("r1")
    assert (row["state"], row["message"], row["owner"]) == ("done", "3 masklets", "me")
    assert before - 5 <= row["started_at"] <= row["finished_at"] <= time.time() + 5
    assert [(r["run_id"], r["state"]) for r in catalog.stage_runs()] == [(run, "done"), (other, "running")]


def test_live_tables_are_no_part_of_the_snapshot_and_outlive_a_rebuild(catalog: Catalog, store: ObjectStore):
    catalog.start_stage_run("r1", "plan", "me")
    catalog.lease("r", "s", 0, "me", 60)
    assert set(catalog.snapshot()) == {
        "videos", "rounds", "stages", "masklets", "verdicts", "checkpoints", "metrics"
    }  # fmt: skip
    catalog.rebuild(store)
    assert len(catalog.stage_runs()) == len(catalog.leases()) == 1


def test_a_rebuild_reads_only_the_record(catalog: Catalog, tmp_path: Path):
    catalog.rebuild(open_store(tmp_path / "nothing"))
    assert all(rows == [] for rows in catalog.snapshot().values())
    assert VideoLibrary(open_store(tmp_path / "nothing")).videos() == []
