"""evaluate: champion and challenger on the frozen split, and the verdict of the gate (data-engine.md §12, §17)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from engine.home import EngineHome
from engine.stages.base import Finished, Row, StageContext, Summary, Waiting, in_shard_order
from engine.version import code_version
from engine.weights import load_weights
from qa.gate import decide
from qa.metric_rows import MetricRow
from storage.commits import read_commit
from storage.manifests import FileRef
from storage.videos import Video

if TYPE_CHECKING:
    from qa.evaluation import EvaluationVideo

CHAMPION, CHALLENGER = 0, 1
ROLES = ("champion", "challenger")


class Evaluate:
    """J&F of the weights before and after retraining."""

    name = "evaluate"

    def shard_count(self, context: StageContext) -> int:
        """One shard a role; none without evaluation videos, no challenger shard without a challenger."""
        if not evaluation_videos(context.home):
            return 0
        return 2 if _challenger(context) else 1

    def run_shard(self, context: StageContext, shard: int) -> tuple[FileRef, ...]:
        """Evaluate one role's weights by every protocol."""
        digest = context.round.checkpoint_hash if shard == CHAMPION else _challenger(context)
        rows = _metrics(context, ROLES[shard], digest)
        if shard == CHAMPION:
            rows += _baseline(context)
        return (context.write("metrics", rows, part=shard),)

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """Decide promotion from both roles' rows."""
        files = in_shard_order(shards) or (context.write("metrics", []),)
        rows = context.read(files, "metrics")
        scores = {f"{role} {protocol} J&F": value for (role, protocol), value in means(rows).items()}
        return Finished(files, {**_decision(context, rows), **scores})


def _decision(context: StageContext, rows: list[Row]) -> Summary:
    """The gate's verdict as numbers and a reason."""
    if not _challenger(context):
        why = "the data set is empty" if context.settings.retrain.enabled else "retrain.enabled is off"
        return {"promote": 0, "reason": f"nothing was retrained, since {why}"}
    if not rows:
        return {
            "promote": 0,
            "reason": "there are no evaluation videos with references, so nothing is promoted",
        }
    champion, challenger = (
        [_metric_row(row) for row in rows if row["role"] == role] for role in ("champion", "challenger")
    )
    decision = decide(champion, challenger, context.settings.gate, primary=context.phase.gate_protocol)
    summary: Summary = {"promote": int(decision.promote), "reason": decision.reason}
    if decision.delta is not None:
        summary["delta"] = round(decision.delta, 4)
    if decision.interval is not None:
        summary["delta_low"], summary["delta_high"] = (round(bound, 4) for bound in decision.interval)
    return summary


def _metric_row(row: Row) -> MetricRow:
    return MetricRow(**{name.name: row[name.name] for name in fields(MetricRow)})


def evaluation_videos(home: EngineHome) -> list[Video]:
    """The frozen split: evaluation videos that have reference masks."""
    return [
        video
        for video in home.library.videos()
        if video.split == "eval" and home.references.has(video.video_id)
    ]


def means(rows: list[Row]) -> dict[tuple[str, str], float]:
    """Mean J&F over all objects by (role, protocol), rounded to 0.01."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["object_id"] >= 0:
            found.setdefault((row["role"], row["protocol"]), []).append(row["jf"])
    return {key: round(sum(values) / len(values), 2) for key, values in sorted(found.items())}


def _challenger(context: StageContext) -> str:
    return str(context.commit("retrain").summary["challenger"])


def _metrics(context: StageContext, role: str, digest: str) -> list[Row]:
    known = _known_rows(context, digest)
    if known:
        return [{**row, "role": role, "round_id": context.round.round_id} for row in known]
    return evaluate_weights(context, role, digest)


def _baseline(context: StageContext) -> list[Row]:
    """What copying the first true mask scores: every report shows it beside the models. Role `base`, no weights."""
    from qa.evaluation import evaluate_copy

    return [
        row.to_row(round_id=context.round.round_id, role="base", checkpoint_hash="")
        for row in evaluate_copy(evaluation_set(context.home))
    ]


def _known_rows(context: StageContext, digest: str) -> list[Row]:
    """Rows of the same weights, by the same settings and videos, from the round before; they need no second run."""
    earlier = list(context.earlier_rounds())
    if not earlier or earlier[-1][0].settings_hash != context.round.settings_hash:
        return []
    commit = read_commit(context.home.store, earlier[-1][0].round_id, "evaluate")
    same_code = commit is not None and commit.code_version == code_version()
    rows = context.read(commit.files, "metrics") if commit and same_code else []
    rows = [row for row in rows if row["checkpoint_hash"] == digest]
    videos = {row["video_id"] for row in rows if row["object_id"] >= 0}
    return rows if videos == {video.video_id for video in evaluation_videos(context.home)} else []


def evaluate_weights(context: StageContext, role: str, digest: str) -> list[Row]:
    """Rows of the `metrics` manifest for one set of weights."""
    from model.video.session_config import SessionConfig
    from qa.evaluation import evaluate

    model = load_weights(context.home, digest)
    config = SessionConfig(fill_hole_area=0, precision=context.settings.model.precision)
    videos = evaluation_set(context.home)
    return [
        row.to_row(round_id=context.round.round_id, role=role, checkpoint_hash=digest)
        for protocol in context.settings.evaluate.protocols
        for row in evaluate(model, videos, protocol=protocol, session_config=config)
    ]


def evaluation_set(home: EngineHome) -> list[EvaluationVideo]:
    """The frozen split with frames and references."""
    from qa.evaluation import EvaluationVideo

    return [
        EvaluationVideo(
            video_id=video.video_id,
            frames=home.library.frames(video),
            frame_numbers=video.annotated_frames,
            truth=home.references.read(video.video_id),
        )
        for video in evaluation_videos(home)
    ]
