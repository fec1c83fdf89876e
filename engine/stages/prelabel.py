"""prelabel: what the model offers before a person looks (SAM 2, §5.1).

Phase 1: SAM answers the selection prompt on every frame by itself. Phase 2: SAM's mask of the first frame is propagated
by SAM 2 Mask. Phase 3: SAM 2 propagates the selection prompt. SAM is SAM 1 where the round has weights for it (setting
`model.sam_checkpoint`), else SAM 2 on single frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.stages.base import Finished, Row, StageContext, Summary, Waiting, group, in_shard_order
from storage.manifests import FileRef
from storage.videos import Video

if TYPE_CHECKING:
    from annotation.prelabel import Prelabel as Proposal

VIDEOS_PER_SHARD = 1
"""A shard is one video: its frames are encoded once for all objects."""


class Prelabel:
    """Model proposals for every planned masklet."""

    name = "prelabel"

    def shard_count(self, context: StageContext) -> int:
        """One shard a video of the plan."""
        return len(_shards(context))

    def run_shard(self, context: StageContext, shard: int) -> tuple[FileRef, ...]:
        """Propose masks for the objects of the shard's videos."""
        rows = []
        for video_id in _shards(context)[shard]:
            video = context.home.library.get(video_id)
            rows += _propose(context, video)
        return (context.write("prelabels", rows, part=shard),)

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """All shards' files are the stage's."""
        files = in_shard_order(shards)
        summary: Summary = {"masks": sum(ref.rows for ref in files)}
        if context.settings.model.sam_checkpoint:
            summary["sam_checkpoint_hash"] = context.settings.model.sam_checkpoint
        return Finished(files, summary)


def _shards(context: StageContext) -> list[list[str]]:
    videos = sorted({row["video_id"] for row in context.rows("plan", "plan")})
    return group(videos, VIDEOS_PER_SHARD)


def _propose(context: StageContext, video: Video) -> list[Row]:
    from annotation.prelabel import ObjectPrompt, propose
    from engine.weights import load_sam, load_weights
    from model.video.session_config import SessionConfig

    plan = [row for row in context.rows("plan", "plan") if row["video_id"] == video.video_id]
    prompts = [ObjectPrompt.from_plan(row) for row in plan]
    proposals = propose(
        load_weights(context.home, context.round.checkpoint_hash),
        context.home.library.frames(video),
        video.annotated_frames,
        prompts,
        rules=context.phase.rules,
        config=SessionConfig(precision=context.settings.model.precision),
        sam=load_sam(context.home, context.settings.model.sam_checkpoint),
    )
    by_object = {row["object_id"]: row for row in plan}
    return [_row(by_object[proposal.object_id], proposal) for proposal in proposals]


def _row(plan: Row, proposal: Proposal) -> Row:
    return {
        "masklet_id": plan["masklet_id"],
        "video_id": plan["video_id"],
        "object_id": proposal.object_id,
        "frame": proposal.frame,
        "height": proposal.rle.height,
        "width": proposal.rle.width,
        "counts": proposal.rle.counts,
        "object_score": proposal.object_score,
        "predicted_iou": proposal.predicted_iou,
        "stability": proposal.stability,
    }
