"""dataset: the next version of the data set: everything in the last one and what this round accepted.

One masklet an object: an object annotated again as a control is measured, not added. Evaluation videos, and videos of
their leak-safe groups, never enter; a video of which this was found out late leaves the data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.dataset import previous_dataset
from engine.errors import RoundError
from engine.stages.annotate import annotation_bench
from engine.stages.auto import auto_bench
from engine.stages.base import Finished, Row, StageContext, Summary, Unsharded, Waiting
from engine.training.leaks import left_out, refuse_leaks
from engine.workbench import MaskletWork
from storage.manifests import FileRef
from storage.masks import area


class Dataset(Unsharded):
    """Accepted masklets join the data set."""

    name = "dataset"

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """Write the whole new version."""
        late = left_out(context.home)
        before = previous_dataset(context)
        added = list(_accepted(context))
        rows = [row for row in before + added if row["video_id"] not in late]
        refuse_leaks(context.home, rows)
        return Finished(
            (context.write("dataset", rows),),
            _counts(before, added, rows),
        )


def _counts(before: list[Row], added: list[Row], rows: list[Row]) -> Summary:
    """What the data set gained and, where a video was found to belong to the evaluation, lost."""
    manual = sum(row["origin"] == "manual" for row in added)
    counts: Summary = {"masklets": len(rows), "added_manual": manual, "added_auto": len(added) - manual}
    lost = len(before) + len(added) - len(rows)
    return counts | ({"left_out": lost} if lost else {})


def _accepted(context: StageContext) -> Iterable[Row]:
    control = {row["masklet_id"] for row in context.rows("plan", "plan") if row["reason"] == "control"}
    for work in annotation_bench(context).works:
        if work.state == "accepted" and work.candidate.masklet_id not in control:
            yield _row(context, work, context.commit("annotate").file("annotations"))
    mined = context.commit("auto")
    for work in auto_bench(context).works:
        if work.state == "accepted":
            yield _row(context, work, _mined_file(context, mined.files, work))


def _mined_file(context: StageContext, files: tuple[FileRef, ...], work: MaskletWork) -> FileRef:
    """The manifest that holds the accepted revision: the model's own masks or people's refinement."""
    wanted = "auto_masklets" if work.latest.number == 0 else "annotations"
    for ref in files:
        if ref.schema == wanted:
            names = context.read((ref,), wanted, columns=["masklet_id"])
            if any(row["masklet_id"] == work.candidate.masklet_id for row in names):
                return ref
    raise RoundError(f"No manifest of stage auto holds masklet {work.candidate.masklet_id}.")


def _row(context: StageContext, work: MaskletWork, source: FileRef) -> Row:
    video = context.home.library.get(work.candidate.video_id)
    areas = {mask.frame: area(mask.rle) for mask in work.latest.masks}
    visible = [frame for frame, size in sorted(areas.items()) if size > 0]
    untouched = work.candidate.mined and work.latest.number == 0
    return {
        "masklet_id": work.candidate.masklet_id,
        "revision": work.latest.number,
        "video_id": video.video_id,
        "object_id": work.candidate.object_id,
        "round_id": context.round.round_id,
        "phase": work.candidate.phase,
        "origin": "auto" if untouched else "manual",
        "split": video.split,
        "group": video.group,
        "first_frame": visible[0] if visible else work.candidate.first_frame,
        "frames_visible": len(visible),
        "edited_frames": _edited_frames(work),
        "mean_area": sum(areas.values()) / len(visible) if visible else 0.0,
        "masks_key": source.key,
        "masks_sha256": source.sha256,
    }


def _edited_frames(work: MaskletWork) -> int:
    """Frames people edited in any revision."""
    return len({mask.frame for revision in work.revisions for mask in revision.masks if mask.edited})
