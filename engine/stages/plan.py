"""plan: choose videos within the budget, let people select objects in them, and list the masklets to be made.

Selection is decoupled from tracking (SAM 2, appendix D.2.1): people point at objects in a video that shows what is
already annotated. Phases 2 and 3 also repeat a few phase-1 objects ("control") so that their masks can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from annotation.work import Desk, Selection, Submission, WorkItem
from engine.dataset import MaskReader, previous_dataset
from engine.desk import exchange, handed_in
from engine.rounds import last_object_id
from engine.stages.base import Finished, Row, StageContext, Waiting
from engine.training.leaks import left_out
from storage.commits import read_commit
from storage.manifests import FileRef
from storage.masks import Rle

DESK: Desk = "selection"


class Plan:
    """Which videos, which objects."""

    name = "plan"

    def shard_count(self, context: StageContext) -> int:
        """One: the choice of videos, kept apart so that videos ingested meanwhile do not change it."""
        return 1

    def run_shard(self, context: StageContext, shard: int) -> tuple[FileRef, ...]:
        """Choose the videos with the fewest masklets first, ties by the round's seed."""
        return (context.write("chosen", _choose_videos(context)),)

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """Ask for selections; when all are in, write the plan."""
        chosen = context.read(shards[0], "chosen")
        items = _selection_items(context, chosen)
        received = exchange(context, DESK, lambda _: items)
        if any(item.task_id not in received for item in items):
            return Waiting(selection_progress(context, shards))
        rows = _selected_rows(context, items, received) + _control_rows(context)
        files = (*shards[0], context.write("plan", rows))
        reasons = [row["reason"] for row in rows]
        return Finished(
            files,
            {
                "videos": len(chosen),
                "selected": reasons.count("selected"),
                "control": reasons.count("control"),
            },
        )


def selection_progress(context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> str:
    """`objects are selected in 2 of 4 videos`; empty before videos are chosen."""
    if not shards:
        return ""
    wanted = len(context.read(shards[0], "chosen"))
    return f"objects are selected in {len(handed_in(context, DESK))} of {wanted} videos"


def masklet_id(video_id: str, object_id: int, number: int) -> str:
    """A masklet's name: one object of a video in one round."""
    return f"{video_id[:8]}-{object_id:03d}-r{number:04d}"


def _choose_videos(context: StageContext) -> list[Row]:
    late = left_out(context.home)
    videos = sorted(
        (
            video
            for video in context.home.library.videos()
            if video.split == "train" and video.video_id not in late
        ),
        key=lambda video: video.video_id,
    )
    order = np.random.default_rng([context.round.seed, context.round.number]).permutation(len(videos))
    done = {video.video_id: 0 for video in videos}
    for row in previous_dataset(context):
        done[row["video_id"]] = done.get(row["video_id"], 0) + 1
    ranked = sorted(
        order.tolist(), key=lambda index: done[videos[index].video_id]
    )  # stable: ties stay shuffled
    settings = context.settings.round
    return [
        {
            "round_id": context.round.round_id,
            "video_id": videos[index].video_id,
            "wanted": settings.objects_per_video,
        }
        for index in ranked[: settings.videos]
    ]


def _selection_items(context: StageContext, chosen: Sequence[Row]) -> list[WorkItem]:
    known = _known_masks(context)
    return [
        WorkItem(
            task_id=f"{context.round.round_id}-{row['video_id']}-select",
            round_id=context.round.round_id,
            desk=DESK,
            kind="select",
            video_id=row["video_id"],
            masklet_id=None,
            object_id=None,
            phase=context.round.phase,
            revision=0,
            first_frame=context.home.library.get(row["video_id"]).annotated_frames[0],
            point=None,
            box=None,
            name="",
            masks={},
            bad_range=None,
            excluded_people=frozenset(),
            wanted=row["wanted"],
            taken=tuple(known.get(row["video_id"], ())),
        )
        for row in chosen
    ]


def _known_masks(context: StageContext) -> dict[str, list[Rle]]:
    """First-frame masks of what the data set already holds, by video: selectors see them as taken."""
    reader = MaskReader(context.home.store)
    known: dict[str, list[Rle]] = {}
    for row in previous_dataset(context):
        masks = reader.masks(row)
        first = context.home.library.get(row["video_id"]).annotated_frames[0]
        if first in masks:
            known.setdefault(row["video_id"], []).append(masks[first])
    return known


def _selected_rows(
    context: StageContext, items: Sequence[WorkItem], received: Mapping[str, Submission]
) -> list[Row]:
    rows: list[Row] = []
    for item in items:
        next_id = last_object_id(context.home, item.video_id, before=context.round.number) + 1
        for object_id, selection in enumerate(received[item.task_id].selections, start=next_id):
            rows.append(_plan_row(context, item.video_id, object_id, selection))
    return rows


def _plan_row(context: StageContext, video_id: str, object_id: int, selection: Selection) -> Row:
    box = selection.box
    return {
        "round_id": context.round.round_id,
        "masklet_id": masklet_id(video_id, object_id, context.round.number),
        "video_id": video_id,
        "object_id": object_id,
        "phase": context.round.phase,
        "reason": "selected",
        "first_frame": selection.first_frame,
        "x": selection.x,
        "y": selection.y,
        "x0": box.x0 if box else None,
        "y0": box.y0 if box else None,
        "x1": box.x1 if box else None,
        "y1": box.y1 if box else None,
        "name": selection.name,
        "seed": context.round.seed,
    }


def _control_rows(context: StageContext) -> list[Row]:
    """Phase-1 masklets of the data set to be made again with this phase's help."""
    if context.round.phase == 1:
        return []
    pool = [row for row in previous_dataset(context) if row["phase"] == 1 and row["origin"] == "manual"]
    generator = np.random.default_rng([context.round.seed, context.round.number, 1])
    picks = generator.permutation(len(pool))[: context.settings.round.control_objects]
    wanted = {(pool[index]["video_id"], pool[index]["object_id"]) for index in picks}
    rows = []
    for opening, _ in context.earlier_rounds():
        for row in _plan_of(context, opening.round_id):
            key = (row["video_id"], row["object_id"])
            if opening.phase == 1 and row["reason"] == "selected" and key in wanted:
                rows.append(_repeat(context, row))
    return rows


def _plan_of(context: StageContext, round_id: str) -> list[Row]:
    commit = read_commit(context.home.store, round_id, "plan")
    return context.read(commit.files, "plan") if commit else []


def _repeat(context: StageContext, row: Row) -> Row:
    return {
        **row,
        "round_id": context.round.round_id,
        "masklet_id": masklet_id(row["video_id"], row["object_id"], context.round.number),
        "phase": context.round.phase,
        "reason": "control",
        "seed": context.round.seed,
    }
