"""Finding rounds: which are open, which closed last, and which checkpoint the next one starts from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RoundError
from engine.home import EngineHome
from storage.commits import Commit, RoundOpening, list_rounds, read_commit


@dataclass(frozen=True, slots=True)
class ClosedRound:
    """A round that has its close commit."""

    opening: RoundOpening
    close: Commit

    @property
    def checkpoint_after(self) -> str:
        """Hash of the champion when the round closed."""
        return str(self.close.summary["checkpoint_hash_end"])


def open_rounds(home: EngineHome) -> list[RoundOpening]:
    """Rounds without a close commit, oldest first."""
    return [
        opening
        for opening in list_rounds(home.store)
        if read_commit(home.store, opening.round_id, "close") is None
    ]


def latest_closed(home: EngineHome) -> ClosedRound | None:
    """The closed round with the highest number."""
    for opening in sorted(list_rounds(home.store), key=lambda row: -row.number):
        close = read_commit(home.store, opening.round_id, "close")
        if close is not None:
            return ClosedRound(opening, close)
    return None


def checkpoint_key(checkpoint_hash: str) -> str:
    """Where weights with that SHA-256 lie in the store."""
    return f"checkpoints/{checkpoint_hash}.safetensors"


def store_checkpoint(home: EngineHome, path: Path) -> str:
    """Put a checkpoint file into the store under its SHA-256, once; returns the hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    key = checkpoint_key(digest)
    if not home.store.exists(key):
        home.store.put_file(key, path)
    return digest


def champion_checkpoint(home: EngineHome) -> str:
    """Hash of the weights in use: the last closed round's champion, or those a first round starts from."""
    closed = latest_closed(home)
    return closed.checkpoint_after if closed else base_checkpoint(home)


def last_object_id(home: EngineHome, video_id: str, *, before: int) -> int:
    """The highest object id given in a video by rounds numbered below `before`; 0 if there is none."""
    earlier = {opening.round_id for opening in list_rounds(home.store) if opening.number < before}
    rows = home.catalog.rows("masklets", video_id=video_id)
    return max((row["object_id"] for row in rows if row["round_id"] in earlier), default=0)


def base_checkpoint(home: EngineHome) -> str:
    """Hash of the weights a first round starts from: the settings' checkpoint or the packaged nano."""
    return store_checkpoint(home, base_checkpoint_path(home))


def base_checkpoint_path(home: EngineHome) -> Path:
    """File of the weights a first round starts from; RoundError if it is not there."""
    from model.files.checkpoints import default_checkpoint

    configured = home.settings.model.checkpoint
    return weights_path(configured, "model.checkpoint") if configured else default_checkpoint()


def sam_checkpoint(home: EngineHome) -> str:
    """Hash of the SAM 1 weights that the settings name, now in the store; empty if they name none.

    Raises RoundError if the file is not there or holds something else, CheckpointError if it is damaged.
    """
    configured = home.settings.model.sam_checkpoint
    if not configured:
        return ""
    from model.sam1.checkpoints import read_sam1_info

    path = weights_path(configured, "model.sam_checkpoint")
    if read_sam1_info(path) is None:
        raise RoundError(f"Checkpoint {path} (setting `model.sam_checkpoint`) holds no SAM 1 network.")
    return store_checkpoint(home, path)


def weights_path(configured: str, setting: str) -> Path:
    """File that a setting names by its path, or by the name it was pulled by; RoundError if it is not there."""
    from model.files.download import pulled_path

    path = Path(configured)
    if path.is_file():
        return path
    pulled = pulled_path(configured)
    if pulled is None:
        raise RoundError(f"Checkpoint {path} (setting `{setting}`) does not exist.")
    if not pulled.is_file():
        raise RoundError(
            f"{configured} (setting `{setting}`) is not on this machine. Run `engine model pull {configured}`."
        )
    return pulled
