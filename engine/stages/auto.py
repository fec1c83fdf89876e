"""auto: the model mines masklets by itself from first-frame point grids; people verify them (SAM 2, §5.1 and D.1).

Satisfactory ones join the data set as they are. Of the unsatisfactory ones a share goes to annotators, who refine them
with this phase's help, and back to verification; the others are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from engine.dataset import MaskReader, previous_dataset
from engine.desk import handed_in, work_through, workbench
from engine.rounds import last_object_id
from engine.stages.annotate import annotation_bench, effort_rows, revision_rows
from engine.stages.base import Finished, Row, StageContext, Waiting, in_shard_order
from engine.stages.plan import masklet_id
from engine.stages.verify import verdict_rows
from engine.workbench import Candidate, Desk, Workbench
from storage.commits import finished_shards
from storage.manifests import FileRef
from storage.masks import Rle, iou
from storage.videos import Video

if TYPE_CHECKING:
    from model.image.auto_masklets import AutoMasklet

DESK: Desk = "auto"


class Auto:
    """Masklets nobody asked for, verified by people."""

    name = "auto"

    def shard_count(self, context: StageContext) -> int:
        """One shard a mined video; none in phases whose model cannot be asked by clicks."""
        return len(_mined_videos(context))

    def run_shard(self, context: StageContext, shard: int) -> tuple[FileRef, ...]:
        """Mine one video."""
        video = context.home.library.get(_mined_videos(context)[shard])
        return (context.write("auto_masklets", _mine(context, video), part=shard),)

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """Exchange verdicts and refinements with people until every candidate is settled."""
        files = in_shard_order(shards)
        candidates = _candidates(context, context.read(files, "auto_masklets"))
        bench, received = work_through(context, DESK, candidates)
        if not bench.done:
            return Waiting(f"automatic masklets: {bench.describe()}")
        written = (
            context.write("annotations", list(revision_rows(bench.works))),
            context.write("effort", list(effort_rows(context.round.round_id, bench.works, received))),
            context.write("verdicts", list(verdict_rows(bench))),
        )
        counts = {str(state): count for state, count in sorted(bench.counts.items())}
        return Finished((*files, *written), {"candidates": len(candidates), **counts})


def auto_bench(context: StageContext) -> Workbench:
    """Where the round's automatic masklets stand, from the stage's shards and the inbox."""
    files = in_shard_order(finished_shards(context.home.store, context.round.round_id, "auto"))
    rows = context.read(files, "auto_masklets")
    return workbench(context, DESK, _candidates(context, rows), handed_in(context, DESK))


def _mined_videos(context: StageContext) -> list[str]:
    if not context.phase.mines:
        return []
    chosen = [row["video_id"] for row in context.rows("plan", "chosen")]
    order = np.random.default_rng([context.round.seed, context.round.number, 2]).permutation(len(chosen))
    return sorted(chosen[index] for index in order[: context.settings.auto.videos])


def _mine(context: StageContext, video: Video) -> list[Row]:
    from engine.weights import load_weights
    from model.image.auto_masklets import generate_masklets

    found = generate_masklets(
        load_weights(context.home, context.round.checkpoint_hash),
        context.home.library.frames(video),
        context.settings.grid,
        precision=context.settings.model.precision,
    )
    known = _known_first_masks(context, video)
    fresh = [masklet for masklet in found if _is_new(context, masklet, known)]
    fresh = sorted(fresh, key=_doubt)[: context.settings.auto.max_masklets_per_video]
    first_id = _last_object_id(context, video.video_id) + 1
    return [
        row
        for object_id, masklet in enumerate(fresh, start=first_id)
        for row in _rows(context, video, object_id, masklet)
    ]


def _doubt(masklet: AutoMasklet) -> float:
    """How unsure the model is of a masklet over all its frames; people see the surest first."""
    return -sum(masklet.predicted_ious) / len(masklet.predicted_ious)


def _known_first_masks(context: StageContext, video: Video) -> list[Rle]:
    """First-frame masks of the video's masklets in the data set and of those accepted in this round."""
    reader = MaskReader(context.home.store)
    first = video.annotated_frames[0]
    known = [reader.masks(row) for row in previous_dataset(context) if row["video_id"] == video.video_id]
    known += [
        work.latest.rles()
        for work in annotation_bench(context).works
        if work.candidate.video_id == video.video_id and work.state == "accepted"
    ]
    return [masks[first] for masks in known if first in masks]


def _is_new(context: StageContext, masklet: AutoMasklet, known: list[Rle]) -> bool:
    return all(iou(masklet.masks[0], mask) < context.settings.auto.known_iou for mask in known)


def _last_object_id(context: StageContext, video_id: str) -> int:
    planned: list[int] = [
        row["object_id"] for row in context.rows("plan", "plan") if row["video_id"] == video_id
    ]
    earlier = last_object_id(context.home, video_id, before=context.round.number)
    return max([earlier, *planned])


def _rows(context: StageContext, video: Video, object_id: int, masklet: AutoMasklet) -> list[Row]:
    return [
        {
            "masklet_id": masklet_id(video.video_id, object_id, context.round.number),
            "video_id": video.video_id,
            "object_id": object_id,
            "frame": frame,
            "height": rle.height,
            "width": rle.width,
            "counts": rle.counts,
            "object_score": masklet.object_scores[position],
            "predicted_iou": masklet.predicted_ious[position],
            "stability": masklet.stabilities[position],
            "point_x": masklet.point[0],
            "point_y": masklet.point[1],
            "grid": masklet.level,
        }
        for position, (frame, rle) in enumerate(zip(video.annotated_frames, masklet.masks, strict=True))
    ]


def _candidates(context: StageContext, rows: list[Row]) -> list[Candidate]:
    by_masklet: dict[str, list[Row]] = {}
    for row in rows:
        by_masklet.setdefault(row["masklet_id"], []).append(row)
    return [_candidate(context, name, frames) for name, frames in sorted(by_masklet.items())]


def _candidate(context: StageContext, name: str, rows: list[Row]) -> Candidate:
    first = rows[0]
    return Candidate(
        masklet_id=name,
        video_id=first["video_id"],
        object_id=first["object_id"],
        phase=context.round.phase,
        first_frame=min(row["frame"] for row in rows),
        point=(first["point_x"], first["point_y"]),
        box=None,
        name="object",
        masks={row["frame"]: Rle(row["height"], row["width"], row["counts"]) for row in rows},
        mined=True,
        refine_if_failed=_sampled(context, name),
    )


def _sampled(context: StageContext, name: str) -> bool:
    """Whether this masklet, if unsatisfactory, is refined by people: a fixed draw per masklet, so unbiased."""
    draw = np.random.default_rng([context.round.seed, *name.encode()]).random()
    return bool(draw < context.settings.auto.failure_share)
