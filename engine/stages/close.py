"""close: promotion or not, and the round's lineage record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from engine.stages.base import STAGE_NAMES, Finished, StageContext, Unsharded, Waiting
from storage.commits import canonical_json
from storage.manifests import FileRef


class Close(Unsharded):
    """The round is over."""

    name = "close"

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """Promote the challenger if the gate said so, and write `round.json`."""
        gate = context.commit("evaluate").summary
        challenger = str(context.commit("retrain").summary["challenger"])
        promoted = bool(gate["promote"]) and bool(challenger)
        champion = challenger if promoted else context.round.checkpoint_hash
        return Finished(
            (_write_record(context, champion),),
            {
                "promoted": int(promoted),
                "reason": gate["reason"],
                "checkpoint_hash_start": context.round.checkpoint_hash,
                "checkpoint_hash_end": champion,
            },
        )


def _write_record(context: StageContext, champion: str) -> FileRef:
    """`round.json`: the whole round in one readable record, from its opening to the champion."""
    stages = [context.commit(stage) for stage in STAGE_NAMES if stage != "close"]
    record = {
        "round_id": context.round.round_id,
        "phase": context.round.phase,
        "opening": context.round.hash,
        "parents": list(context.round.parents),
        "checkpoint_before": context.round.checkpoint_hash,
        "checkpoint_after": champion,
        "stages": [
            {
                "stage": commit.stage,
                "commit": commit.hash,
                "files": [ref.to_dict() for ref in commit.files],
                "summary": dict(commit.summary),
            }
            for commit in stages
        ],
    }
    data = canonical_json(record)
    digest = hashlib.sha256(data).hexdigest()
    key = f"rounds/{context.round.round_id}/close/round-{digest[:16]}.json"
    context.home.store.put(key, data)
    return FileRef(name="round", key=key, sha256=digest)
