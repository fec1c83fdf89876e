"""annotate: publish the planned masklets with their pre-labels and take what people hand in.

Annotation and verification go hand in hand: a masklet refused by a verifier comes back to an annotator, so this stage
is done when every masklet of the plan has its final verdict. While people work it *returns*: waiting holds no process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from annotation.work import Submission
from engine.desk import handed_in, work_through, workbench
from engine.stages.base import Finished, Row, StageContext, Unsharded, Waiting
from engine.workbench import Candidate, Desk, MaskletWork, Workbench, task_id
from model.prompts import Box
from storage.manifests import FileRef
from storage.masks import Rle, area

DESK: Desk = "annotation"


class Annotate(Unsharded):
    """People make the masklets."""

    name = "annotate"

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """Exchange with people; when every masklet has its last verdict, write all revisions and efforts."""
        candidates = planned_candidates(context)
        bench, received = work_through(context, DESK, candidates)
        if not bench.done:
            return Waiting(bench.describe())
        files = (
            context.write("annotations", list(revision_rows(bench.works))),
            context.write("effort", _all_efforts(context, bench, received)),
        )
        return Finished(files, {str(state): count for state, count in sorted(bench.counts.items())})


def annotation_bench(context: StageContext) -> Workbench:
    """Where the planned masklets stand, from the inbox."""
    return workbench(context, DESK, planned_candidates(context), handed_in(context, DESK))


def planned_candidates(context: StageContext) -> list[Candidate]:
    """The plan's masklets with their pre-labels, in plan order."""
    masks: dict[str, dict[int, Rle]] = {}
    scores: dict[str, dict[int, float]] = {}
    for row in context.rows("prelabel", "prelabels"):
        rle = Rle(row["height"], row["width"], row["counts"])
        masks.setdefault(row["masklet_id"], {})[row["frame"]] = rle
        scores.setdefault(row["masklet_id"], {})[row["frame"]] = row["predicted_iou"] * row["stability"]
    return [
        Candidate(
            masklet_id=row["masklet_id"],
            video_id=row["video_id"],
            object_id=row["object_id"],
            phase=row["phase"],
            first_frame=row["first_frame"],
            point=(row["x"], row["y"]),
            box=None if row["x0"] is None else Box(row["x0"], row["y0"], row["x1"], row["y1"]),
            name=row["name"],
            masks=masks.get(row["masklet_id"], {}),
            scores=scores.get(row["masklet_id"], {}),
        )
        for row in context.rows("plan", "plan")
    ]


def revision_rows(works: Iterable[MaskletWork]) -> Iterable[Row]:
    """Rows of the `annotations` manifest: every revision people made, frame by frame."""
    for work in works:
        for revision in work.revisions:
            if revision.number == 0:
                continue  # the model's own; it stands in the auto_masklets manifest
            for mask in revision.masks:
                yield {
                    "masklet_id": work.candidate.masklet_id,
                    "revision": revision.number,
                    "video_id": work.candidate.video_id,
                    "object_id": work.candidate.object_id,
                    "frame": mask.frame,
                    "height": mask.rle.height,
                    "width": mask.rle.width,
                    "counts": mask.rle.counts,
                    "area": area(mask.rle),
                    "edited": mask.edited,
                    "clicks": mask.clicks,
                    "origin": "auto" if work.candidate.mined else "manual",
                    "annotator": revision.annotator,
                    "phase": work.candidate.phase,
                    "locked": mask.locked,
                    "occluded": mask.occluded,
                }


def effort_rows(
    round_id: str, works: Iterable[MaskletWork], received: Mapping[str, Submission]
) -> Iterable[Row]:
    """Rows of the `effort` manifest: every act of the people who annotated and verified these masklets."""
    for work in works:
        masklet = work.candidate.masklet_id
        for revision in work.revisions:
            if revision.number > 0:
                submission = received[task_id(masklet, "annotate", revision.number)]
                yield from act_rows(round_id, submission, "annotator", masklet, revision.number)
        for judged in work.verdicts:
            submission = received[task_id(masklet, "verify", judged.revision)]
            yield from act_rows(round_id, submission, "verifier", masklet, judged.revision)


def act_rows(
    round_id: str, submission: Submission, role: str, masklet_id: str, revision: int
) -> Iterable[Row]:
    """Rows of the `effort` manifest for one hand-in."""
    for number, event in enumerate(submission.effort):
        yield {
            "event_id": f"{submission.task_id}-{number:05d}",
            "round_id": round_id,
            "masklet_id": masklet_id,
            "revision": revision,
            "actor": submission.actor,
            "role": role,
            **asdict(event),
        }


def _all_efforts(context: StageContext, bench: Workbench, received: Mapping[str, Submission]) -> list[Row]:
    round_id = context.round.round_id
    rows = list(effort_rows(round_id, bench.works, received))
    for submission in handed_in(context, "selection").values():
        rows += act_rows(round_id, submission, "selector", "", 0)
    return rows
