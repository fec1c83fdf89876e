"""Finding rounds: which are open, which closed last, and which checkpoint the next one starts from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RoundError
from engine.home import EngineHome
from storage.commits import Commit, RoundOpening, list_rounds, read_commit
from storage.promotions import Promotion, list_promotions


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


@dataclass(frozen=True, slots=True)
class ModelChange:
    """Weights came into use, or stayed, at the end of a round or by hand.

    `how`: start (before the first round), promoted or kept (by a round's gate), superseded (a round that ended after a
    decision by hand, which stood), promote or rollback (by hand). `round_id` is empty but for rounds.
    """

    checkpoint_hash: str
    how: str
    round_id: str = ""
    promotion: Promotion | None = None


def champion_checkpoint(home: EngineHome) -> str:
    """Hash of the weights in use: the last round's champion unless a person decided otherwise since.

    Before the first round those it would start from.
    """
    return model_history(home)[-1].checkpoint_hash


def model_history(home: EngineHome) -> list[ModelChange]:
    """Which weights were in use, oldest first: the start, then every closed round and decision by hand.

    A round that did not begin with what a person had decided (it was open then) leaves that in use.
    """
    closed = _closed_rounds(home)
    first = closed[0].opening.checkpoint_hash if closed else base_checkpoint(home)
    history = [ModelChange(first, "start")]
    events: list[tuple[int, int, ClosedRound | Promotion]] = [
        *((row.opening.number, 0, row) for row in closed),
        *((row.after_round, row.number, row) for row in list_promotions(home.store)),
    ]
    by_hand = False
    for _, _, event in sorted(events, key=lambda row: row[:2]):
        by_hand = by_hand or isinstance(event, Promotion)
        history.append(_change(event, present=history[-1].checkpoint_hash, by_hand=by_hand))
    return history


def _change(event: ClosedRound | Promotion, *, present: str, by_hand: bool) -> ModelChange:
    if isinstance(event, Promotion):
        return ModelChange(event.checkpoint_hash, event.action, promotion=event)
    before, after = event.opening.checkpoint_hash, event.checkpoint_after
    if by_hand and before != present:
        return ModelChange(present, "superseded", event.opening.round_id)
    return ModelChange(after, "promoted" if after != before else "kept", event.opening.round_id)


def _closed_rounds(home: EngineHome) -> list[ClosedRound]:
    """Rounds with their close commits, oldest first."""
    pairs = [(row, read_commit(home.store, row.round_id, "close")) for row in list_rounds(home.store)]
    return [ClosedRound(opening, close) for opening, close in pairs if close is not None]


def last_object_id(home: EngineHome, video_id: str, *, before: int) -> int:
    """The highest object id given in a video by rounds numbered below `before`; 0 if there is none."""
    earlier = {opening.round_id for opening in list_rounds(home.store) if opening.number < before}
    rows = home.catalog.rows("masklets", video_id=video_id)
    return max((row["object_id"] for row in rows if row["round_id"] in earlier), default=0)


def start_checkpoint(home: EngineHome) -> str:
    """Hash of the weights that the home's first round began with; `base_checkpoint` before there is one."""
    rounds = list_rounds(home.store)
    return rounds[0].checkpoint_hash if rounds else base_checkpoint(home)


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
    """File that a setting or option names by path, or by the name it was pulled by; RoundError if it is not there."""
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
