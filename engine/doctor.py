"""Checks a home: can the store be written, do all manifests match their commits, does the catalog say the same."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotation.site.lifecycle import site_status
from annotation.site.records import site_folder
from engine.home import EngineHome
from engine.queues import people_kind, queue_reader
from engine.references import missing_references, reference_states, unjudged_reason
from storage.catalog import Catalog
from storage.commits import RoundOpening, chain, list_rounds, read_commit
from storage.errors import EngineError, ManifestError
from storage.manifests import FileRef, read_manifest
from storage.videos import KEPT_OUT, Video

PROBE_KEY = "doctor/probe"
_DESKS = tuple(f"{desk}{kind}" for desk in ("selection", "annotation", "auto") for kind in ("", "-answers"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, whether all is well, and what was found."""

    name: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def check(home: EngineHome) -> list[Finding]:
    """Run every check; a check that fails says why and the others go on."""
    checks: dict[str, Callable[[EngineHome], str]] = {
        "store": _check_store,
        "commits": _check_commits,
        "manifests": _check_manifests,
        "videos": _check_videos,
        "splits": _check_splits,
        "references": _check_references,
        "catalog": _check_catalog,
        "hand-ins": _check_hand_ins,
    }
    if site_folder(home.path).exists():
        checks |= {"site": _check_site, "label-studio": _check_label_studio}
    return [_run(name, test, home) for name, test in checks.items()]


def rebuild_catalog(home: EngineHome) -> None:
    """Throw away what the catalog derives from commits and derive it again."""
    home.catalog.rebuild(home.store)


def _run(name: str, test: Callable[[EngineHome], str], home: EngineHome) -> Finding:
    try:
        return Finding(name, True, test(home))
    except EngineError as error:
        return Finding(name, False, str(error))


def _check_store(home: EngineHome) -> str:
    home.store.put(PROBE_KEY, b"probe")
    home.store.delete(PROBE_KEY)
    return f"{home.store.url} can be written"


def _check_commits(home: EngineHome) -> str:
    commits = list(chain(home.store))
    return f"{len(commits)} commits of {len(list_rounds(home.store))} rounds form a chain"


def _check_manifests(home: EngineHome) -> str:
    """Every file that a commit names is there and has its hash."""
    problems = list(_damaged(home))
    if problems:
        raise EngineError("; ".join(problems))
    return "every committed file has its hash"


def _damaged(home: EngineHome) -> Iterator[str]:
    for commit in chain(home.store):
        for ref in commit.files:
            try:
                _verify(home, ref)
            except EngineError as error:
                yield str(error)


def _verify(home: EngineHome, ref: FileRef) -> None:
    """Raise ManifestError or StoreError unless the file is there with the bytes its commit names."""
    if ref.schema:
        read_manifest(home.store, ref)
        return
    with home.store.local_copy(ref.key) as path, path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != ref.sha256:
        raise ManifestError(
            f"{ref.key} is damaged: its SHA-256 is {found[:16]}…, its commit says {ref.sha256[:16]}…"
        )


def _check_videos(home: EngineHome) -> str:
    videos = home.library.videos()
    stored = set(home.store.list("frames/"))
    frames = sum(len(video.annotated_frames) for video in videos)
    missing = [
        f"{video.name}: frame {index}"
        for video in videos
        for index in video.annotated_frames
        if video.frame_key(index) not in stored
    ]
    if missing:
        raise EngineError(
            f"{len(missing)} frames are missing, the first {missing[0]}; ingest the video again"
        )
    return f"{len(videos)} videos with {frames} annotated frames"


def _check_splits(home: EngineHome) -> str:
    """No training video is tied to an evaluation video; every pair is compared."""
    book = home.library.splits()
    leaks = [f"{home.library.get(key).name}: {why}" for key, why in book.leaks(thorough=True).items()]
    if leaks:
        raise EngineError(
            f"{len(leaks)} training videos belong to evaluation groups, the first {leaks[0]}; "
            "they are left out of training from now on, but models trained before may have seen them"
        )
    aside = sum(video.split == KEPT_OUT for video in home.library.videos())
    return f"{len(book.evaluation_groups())} evaluation groups, none trained on; {aside} videos kept out"


def _check_references(home: EngineHome) -> str:
    """References of evaluation videos can be read and fit their video; where none can judge, what to do."""
    states = reference_states(home)
    for state in states:
        if state.version:
            _check_fit(home, home.library.get(state.video_id))
    missing = len(missing_references(home))
    told = f"{len(states) - missing} of {len(states)} evaluation and retention videos have references"
    advice = unjudged_reason(home)
    return f"{told}; {advice}" if advice else told


def _check_fit(home: EngineHome, video: Video) -> None:
    for number, masks in home.references.read(video.video_id).items():
        stray = sorted(set(masks) - set(video.annotated_frames))
        sizes = {(rle.height, rle.width) for rle in masks.values()} - {(video.height, video.width)}
        if stray or sizes:
            what = f"frame {stray[0]}, which is not annotated" if stray else f"masks of another size: {sizes}"
            raise EngineError(
                f"the references of {video.name} have {what} (object {number}); bring the right ones in with "
                "`engine references add FOLDER --replace`"
            )


def _check_catalog(home: EngineHome) -> str:
    problem = home.catalog.check()
    if problem:
        raise EngineError(f"{problem}; run `engine doctor --rebuild`")
    with tempfile.TemporaryDirectory() as folder:
        fresh = Catalog(Path(folder) / "catalog.db")
        fresh.rebuild(home.store)
        same = fresh.snapshot() == home.catalog.snapshot()
        fresh.close()
    if not same:
        raise EngineError("the catalog differs from the commits; run `engine doctor --rebuild`")
    return "the catalog says what the commits say"


def _check_site(home: EngineHome) -> str:
    """Both servers are well, or were taken down; wrong while an open round needs them."""
    status = site_status(home.path)
    states = ", ".join(f"{service.name} {service.state}" for service in status.services)
    if not status.ok:
        raise EngineError("; ".join([states, *status.problems, "run `engine studio up`"]))
    needed = [row.round_id for row in _rounds_of_people(home) if not _is_closed(home, row)]
    if needed and not status.running:
        raise EngineError(f"{states}, but people work on {', '.join(needed)}: run `engine studio up`")
    return states


def _check_label_studio(home: EngineHome) -> str:
    """Whether what was accepted is still there as it was; the engine's own record counts in any case."""
    if not site_status(home.path).running:
        return "not looked at: the site does not run"
    found: list[str] = []
    for opening in _rounds_of_people(home):
        with queue_reader(home, opening) as reader:
            found += reader.audit()
    return f"{len(found)} accepted annotations changed or gone in Label Studio" + (
        f": {found[0]}" if found else ""
    )


def _rounds_of_people(home: EngineHome) -> list[RoundOpening]:
    return [opening for opening in list_rounds(home.store) if people_kind(opening) == "label-studio"]


def _is_closed(home: EngineHome, opening: RoundOpening) -> bool:
    return read_commit(home.store, opening.round_id, "close") is not None


def _check_hand_ins(home: EngineHome) -> str:
    """Second hand-ins for one work item are kept aside; somebody should know."""
    aside = [
        f"{opening.round_id}/{desk}/{key}"
        for opening in list_rounds(home.store)
        for desk in _DESKS
        for key in home.inbox.conflicts(opening.round_id, desk)
    ]
    return f"{len(aside)} hand-ins kept aside (second answers)" + (f": {aside[0]}" if aside else "")
