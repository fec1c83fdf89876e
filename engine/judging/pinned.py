"""What a round is judged on, written down once: videos, and the version of the references of each.

Whoever looks first, when the round comes to its evaluation, puts the record; all others read it. References that are
added or replaced later change nothing in a round that is being evaluated, only what later rounds are judged on, and
`changes` says so there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from engine.errors import RoundError
from engine.home import EngineHome
from engine.stages.base import StageContext
from qa.metric_rows import RETENTION
from storage.commits import Commit, canonical_json, read_commit
from storage.manifests import FileRef

__all__ = ["JudgedOn", "Pinned", "changes", "pinned_before", "pinned_by", "pinned_now", "reference_set"]

NAME = "judged"
SUITES = {"eval": "", "retention": RETENTION}


@dataclass(frozen=True, slots=True)
class JudgedOn:
    """A video that models are judged on, and the key of the references that count."""

    suite: str
    video_id: str
    references: str


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a round is judged on, and the file that says it."""

    videos: tuple[JudgedOn, ...]
    file: FileRef

    @property
    def digest(self) -> str:
        """Twelve hex digits that tell this set from others."""
        return self.file.sha256[:12]

    def of(self, suite: str) -> tuple[JudgedOn, ...]:
        """The videos of a set."""
        return tuple(video for video in self.videos if video.suite == suite)


def reference_set(home: EngineHome) -> tuple[JudgedOn, ...]:
    """Every evaluation and retention video that has references, with their newest version."""
    newest = home.references.newest()
    return tuple(
        JudgedOn(SUITES[video.split], video.video_id, newest[video.video_id])
        for video in home.library.videos()
        if video.split in SUITES and video.video_id in newest
    )


def pinned_now(context: StageContext) -> Pinned:
    """What this round is judged on; the first call writes it down."""
    store, key = context.home.store, f"rounds/{context.round.round_id}/evaluate/{NAME}.json"
    if not store.exists(key):
        videos = [asdict(video) for video in reference_set(context.home)]
        store.put_if_absent(key, canonical_json({"videos": videos}))
    return _read(context.home, FileRef(NAME, key, hashlib.sha256(store.get(key)).hexdigest()))


def pinned_before(context: StageContext) -> tuple[str, Pinned] | None:
    """The round before this one and what it was judged on; None if there is none, or it did not say."""
    earlier = [opening.round_id for opening, _ in context.earlier_rounds()]
    commit = read_commit(context.home.store, earlier[-1], "evaluate") if earlier else None
    pinned = pinned_by(context.home, commit)
    return (earlier[-1], pinned) if pinned else None


def pinned_by(home: EngineHome, commit: Commit | None) -> Pinned | None:
    """What a round was judged on, by the commit of its evaluation; None without one, or if it did not say."""
    files = [file for file in commit.files if file.name == NAME] if commit else []
    return _read(home, files[0]) if files else None


def changes(before: Pinned, now: Pinned) -> str:
    """How the set differs from that of an earlier round, in words; empty if it does not."""
    old, new = (
        {(one.suite, one.video_id): one.references for one in pinned.videos} for pinned in (before, now)
    )
    counts = {
        "new": new.keys() - old.keys(),
        "gone": old.keys() - new.keys(),
        "with other references": {key for key in new.keys() & old.keys() if new[key] != old[key]},
    }
    return ", ".join(f"{_videos(found)} {what}" for what, found in counts.items() if found)


def _videos(found: Iterable[object]) -> str:
    count = len(list(found))
    return f"{count} video{'s' if count > 1 else ''}"


def _read(home: EngineHome, file: FileRef) -> Pinned:
    data = home.store.get(file.key)
    try:
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise ValueError("it was altered")
        return Pinned(tuple(JudgedOn(**video) for video in json.loads(data)["videos"]), file)
    except (ValueError, KeyError, TypeError) as error:
        raise RoundError(
            f"{file.key} in {home.store.url} is damaged: {error}; restore it from a backup"
        ) from error
