"""evaluate: champion and challenger on the frozen split and the retention set, and the verdict of the gate.

Both are scored by J&F and by the seconds of a simulated annotator (docs/metrics.md). The weights that the home began
with are scored too, on the retention set alone (role `start`): they are the floor below which many small falls must not
lead. The gate's comparisons are rows of the same manifest, roles `gate` and `floor`. What a round is judged on is
written down when this stage begins (`judged`), so that references which come or change meanwhile count from the next
round on, and all models see the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from engine.judging.pinned import changes, pinned_before, pinned_by, pinned_now
from engine.references import unjudged_reason
from engine.rounds import start_checkpoint
from engine.stages.base import Finished, Row, StageContext, Summary, Waiting, in_shard_order
from engine.version import code_version
from engine.weights import load_weights
from qa.gate import GateDecision, decide
from qa.metric_rows import RETENTION, MetricRow
from storage.commits import Commit, RoundOpening, read_commit
from storage.manifests import FileRef

CHAMPION, CHALLENGER, START, GATE = 0, 1, 2, 3
ROLES = ("champion", "challenger", "start")


class Evaluate:
    """How good the weights before and after retraining are, and which of them are used."""

    name = "evaluate"

    def shard_count(self, context: StageContext) -> int:
        """One shard a role; none without evaluation videos, only the champion's without a challenger.

        A champion that is the start needs no shard for it.
        """
        if not pinned_now(context).of(""):
            return 0
        if not _challenger(context):
            return 1
        return 2 if _champion_is_start(context) else 3

    def run_shard(self, context: StageContext, shard: int) -> tuple[FileRef, ...]:
        """Evaluate one role's weights by every protocol."""
        rows = _metrics(context, ROLES[shard], _weights(context, shard))
        if shard == CHAMPION:
            rows += _baseline(context)
        return (context.write("metrics", rows, part=shard),)

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """Decide promotion from both roles' rows."""
        pinned = pinned_now(context)
        files = (*(in_shard_order(shards) or (context.write("metrics", []),)), pinned.file)
        rows = context.read(files, "metrics")
        scores: Summary = {f"{role} {protocol} J&F": value for (role, protocol), value in means(rows).items()}
        scores |= {f"{role} seconds per masklet": value for role, value in mean_seconds(rows).items()}
        scores["judged_on"] = pinned.digest
        decision = _decision(context, rows)
        if decision is None:
            return Finished(files, {"promote": 0, "reason": _no_comparison(context), **scores})
        compared = _comparisons(context, decision)
        verdict = _verdict(decision)
        verdict["reason"] = f"{verdict['reason']}{_another_set(context)}"
        return Finished((*files, *compared), {**verdict, **scores})


def _decision(context: StageContext, rows: list[Row]) -> GateDecision | None:
    """The gate's decision; None where there are not two models, or nothing to judge them on."""
    if not _challenger(context) or not rows:
        return None
    champion, challenger, start = (
        [_metric_row(row) for row in rows if row["role"] == role] for role in ROLES
    )
    return decide(
        champion,
        challenger,
        context.settings.gate,
        primary=context.phase.gate_protocol,
        start=champion if _champion_is_start(context) else start,
    )


def _no_comparison(context: StageContext) -> str:
    if not _challenger(context):
        why = "the data set is empty" if context.settings.retrain.enabled else "retrain.enabled is off"
        return f"nothing was retrained, since {why}"
    return (
        unjudged_reason(context.home) or "the evaluation videos got their references too late for this round"
    )


def _another_set(context: StageContext) -> str:
    """A sentence where the round before was judged on another set, so that nobody compares their scores."""
    before = pinned_before(context)
    different = changes(before[1], pinned_now(context)) if before else ""
    return f". Judged on another set than {before[0]}: {different}" if before and different else ""


def _comparisons(context: StageContext, decision: GateDecision) -> tuple[FileRef, ...]:
    """The gate's rows of the `metrics` manifest, none where the evaluations could not be compared."""
    rows = [
        row.to_row(round_id=context.round.round_id, checkpoint_hash=_challenger(context))
        for row in decision.criteria
    ]
    return (context.write("metrics", rows, part=GATE),) if rows else ()


def _verdict(decision: GateDecision) -> Summary:
    """The decision as numbers and a reason."""
    summary: Summary = {"promote": int(decision.promote), "reason": decision.reason}
    summary["sure"] = int(decision.sure)
    if decision.delta is not None:
        summary["delta"] = round(decision.delta, 4)
    if decision.interval is not None:
        summary["delta_low"], summary["delta_high"] = (round(bound, 4) for bound in decision.interval)
    return summary


def _metric_row(row: Row) -> MetricRow:
    known = {name.name: row[name.name] for name in fields(MetricRow)}
    return MetricRow(**known | {"suite": row["suite"] or ""})


def means(rows: list[Row]) -> dict[tuple[str, str], float]:
    """Mean J&F over all objects of the frozen set by (role, protocol), rounded to 0.01."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["object_id"] >= 0 and row["suite"] is None and row["seconds"] is None:
            found.setdefault((row["role"], row["protocol"]), []).append(row["jf"])
    return {key: round(sum(values) / len(values), 2) for key, values in sorted(found.items())}


def mean_seconds(rows: list[Row]) -> dict[str, float]:
    """A simulated annotator's mean seconds per masklet of the frozen set by role, rounded to 0.1."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["seconds"] is not None and row["suite"] is None:
            found.setdefault(row["role"], []).append(row["seconds"])
    return {role: round(sum(values) / len(values), 1) for role, values in sorted(found.items())}


def _challenger(context: StageContext) -> str:
    return str(context.commit("retrain").summary["challenger"])


def _champion_is_start(context: StageContext) -> bool:
    return context.round.checkpoint_hash == start_checkpoint(context.home)


def _weights(context: StageContext, shard: int) -> str:
    """Hash of the weights that a shard scores."""
    if shard == CHALLENGER:
        return _challenger(context)
    return context.round.checkpoint_hash if shard == CHAMPION else start_checkpoint(context.home)


def _metrics(context: StageContext, role: str, digest: str) -> list[Row]:
    """Scores of weights, of an earlier round if they are the same weights, videos, settings and code."""
    from engine.judging.sets import judged_names

    suites = (RETENTION,) if role == "start" else ("", RETENTION)
    names = judged_names(pinned_now(context).videos, context.settings.evaluate)
    wanted = {name for name in names if name[0] in suites}
    for rows in _earlier_rows(context, digest, suites):
        known = [row for row in rows if role != "start" or _is_floor(row)]
        if {(row["suite"] or "", row["video_id"]) for row in known if row["object_id"] >= 0} == wanted:
            return [{**row, "role": role, "round_id": context.round.round_id} for row in known]
    return evaluate_weights(context, role, digest)


def _is_floor(row: Row) -> bool:
    """Whether the start is scored by such rows."""
    return row["suite"] == RETENTION and row["seconds"] is None


def _baseline(context: StageContext) -> list[Row]:
    """What copying the first true mask scores: every report shows it beside the models. Role `base`, no weights."""
    from engine.judging.sets import judged_videos
    from qa.evaluation import evaluate_copy

    return [
        row.to_row(round_id=context.round.round_id, role="base", checkpoint_hash="")
        for row in evaluate_copy(judged_videos(context.home, pinned_now(context).of("")))
    ]


def _earlier_rows(context: StageContext, digest: str, suites: Sequence[str]) -> Iterator[list[Row]]:
    """Rows of weights in each earlier round that had the same videos and references in some sets, newest first.

    Settings and code must have been such that they give the same scores.
    """
    now = pinned_now(context)
    for opening, _ in reversed(list(context.earlier_rounds())):
        commit = read_commit(context.home.store, opening.round_id, "evaluate")
        pinned = pinned_by(context.home, commit)
        same_sets = pinned is not None and all(pinned.of(suite) == now.of(suite) for suite in suites)
        if commit and same_sets and _scores_alike(opening, commit, context.round):
            rows = context.read(commit.files, "metrics")
            for role in ROLES:
                yield [row for row in rows if row["checkpoint_hash"] == digest and row["role"] == role]


def _scores_alike(opening: RoundOpening, commit: Commit, now: RoundOpening) -> bool:
    """Whether an earlier round gave weights the scores that they would have now."""
    same_settings = all(opening.settings[name] == now.settings[name] for name in ("evaluate", "model"))
    return same_settings and commit.code_version == code_version()


def evaluate_weights(context: StageContext, role: str, digest: str) -> list[Row]:
    """Rows of the `metrics` manifest for one set of weights: on both sets, the start's on the retention set alone."""
    from engine.judging.sets import judged_sets, score
    from model.video.session_config import SessionConfig

    settings = context.settings.evaluate
    sets = judged_sets(context.home, pinned_now(context).videos, settings)
    if role == "start":
        sets = [judged for judged in sets if judged.suite == RETENTION]
        settings = settings.model_copy(update={"online_objects": 0})
    model = load_weights(context.home, digest)
    config = SessionConfig(fill_hole_area=0, precision=context.settings.model.precision)
    return [
        row.to_row(round_id=context.round.round_id, role=role, checkpoint_hash=digest)
        for judged in sets
        for row in score(model, judged, settings, session_config=config)
    ]
