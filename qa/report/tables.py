"""Tables of results: rounds, verdicts, effort and accuracy. Numbers become text here."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from qa.effort import by_role
from qa.report import formats
from qa.report.data import RoundReportData, RunReportData
from qa.report.measures import Outcomes, PhaseMeasures, joined, mean_jf, outcomes, protocols
from qa.report.svg import element
from qa.report.table import Cell, Column, Table, badge


def rounds_table(rounds: Sequence[RoundReportData], measures: Sequence[PhaseMeasures]) -> Table:
    """One row a round: what it cost, what it gave, whether the model was promoted."""
    columns = (
        Column("Round", numeric=False),
        Column("Phase"),
        Column("Videos"),
        Column("Frames"),
        Column("Time per frame", "s"),
        Column("Edited frames", "%"),
        Column("Clicks per clicked frame"),
        Column("Aligned to phase 1", "%"),
        Column("Accepted by people"),
        Column("Accepted automatic, as found"),
        Column("Gate", numeric=False),
    )
    return Table(columns, tuple(_round_row(one, m) for one, m in zip(rounds, measures, strict=True)))


def _round_row(data: RoundReportData, measures: PhaseMeasures) -> tuple[Cell, ...]:
    people, auto = outcomes(data.verdicts, "annotation"), outcomes(data.verdicts, "auto")
    aligned = measures.alignment.get("all")
    return (
        element("a", str(data.number), href=f"#round-{data.number}"),
        str(data.phase),
        formats.count(len(data.videos)),
        formats.count(measures.effort.frames),
        formats.number(measures.effort.seconds_per_frame),
        formats.number(measures.effort.edited_percent),
        formats.number(measures.effort.clicks_per_clicked_frame, 2),
        formats.number(aligned.share if aligned and aligned.masks else None),
        _of(people.accepted, people.judged),
        _of(auto.first_look, auto.judged),
        gate_badge(data),
    )


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else formats.NOT_AVAILABLE


def gate_badge(data: RoundReportData) -> Markup:
    """Promoted, not promoted, not retrained, or still under way."""
    if data.gate is None:
        return badge("not retrained" if data.closed else "under way", "plain")
    if not data.gate.promote:
        return badge("not promoted", "fair")
    return badge("promoted" if data.gate.sure else "promoted, may be chance", "good")


def outcome_table(rounds: Sequence[RoundReportData]) -> Table:
    """Acceptance at both desks, a row a round and desk that judged anything, and a row of sums a desk."""
    rows: list[tuple[Cell, ...]] = []
    for desk, name in (("annotation", "made by people"), ("auto", "automatic")):
        judged = [(f"Round {one.number}", outcomes(one.verdicts, desk)) for one in rounds]
        rows += [(label, name, *_outcome_cells(result)) for label, result in judged if result.judged]
        if sum(result.judged > 0 for _, result in judged) > 1:
            total = outcomes(joined([one.verdicts for one in rounds]), desk)
            rows.append((element("b", "All rounds"), name, *_outcome_cells(total)))
    columns = (
        Column("Round", numeric=False),
        Column("Masklets", numeric=False),
        Column("Judged"),
        Column("Accepted at first look", "%"),
        Column("Accepted in the end", "%"),
        Column("Still unsatisfactory"),
        Column("Rejected"),
        Column("Verdicts given"),
    )
    return Table(columns, tuple(rows))


def _outcome_cells(result: Outcomes) -> tuple[str, ...]:
    return (
        formats.count(result.judged),
        f"{formats.number(result.first_look_percent)} ({result.first_look})",
        f"{formats.number(result.acceptance_percent)} ({result.accepted})",
        formats.count(result.unsatisfactory),
        formats.count(result.rejected),
        formats.count(result.verdicts),
    )


def effort_table(rounds: Sequence[RoundReportData]) -> Table:
    """Actions and time by role and kind of action."""
    events = joined([one.effort for one in rounds])
    if not len(events):
        return Table((), ())
    kinds = events.groupby(["role", "kind"], as_index=False)["duration_s"].agg(["size", "sum", "mean"])
    totals = dict(zip(by_role(events)["role"], by_role(events)["duration_s"], strict=True))
    rows: list[tuple[Cell, ...]] = []
    for row in kinds.to_dict("records"):
        share = 100 * row["sum"] / totals[row["role"]] if totals[row["role"]] else None
        cells = (formats.count(row["size"]), formats.duration(row["sum"]), formats.number(row["mean"], 2))
        rows.append((str(row["role"]), str(row["kind"]), *cells, formats.number(share)))
    columns = (
        Column("Role", numeric=False),
        Column("Action", numeric=False),
        Column("Actions"),
        Column("Time"),
        Column("Mean", "s"),
        Column("Share of the role's time", "%"),
    )
    return Table(columns, tuple(rows))


def accuracy_table(run: RunReportData) -> Table:
    """J&F on the frozen set: a row before the first round, then one a round that retrained."""
    trained = [one for one in run.rounds if len(one.metrics)]
    names = protocols([run.baseline, *(one.metrics for one in trained)])
    three = [Column("champion"), Column("challenger"), Column("change")]
    rows = [
        _baseline_row("First mask copied to all frames", [mean_jf(run.copy_first_mask)] * len(names)),
        _baseline_row("Model before round 1", [mean_jf(run.baseline, protocol=name) for name in names]),
        *(_accuracy_row(one, names) for one in trained),
    ]
    return Table(
        columns=(Column("", numeric=False), *(three * len(names)), Column("Gate", numeric=False)),
        rows=tuple(rows) if names else (),
        groups=(("", "", 1), *((f"{name} protocol", "J&F", 3) for name in names), ("", "", 1)),
    )


def _baseline_row(label: str, scores: Sequence[float | None]) -> tuple[Cell, ...]:
    cells: list[Cell] = [label]
    for score in scores:
        cells += [formats.number(score), "", ""]
    return (*cells, "")


def _accuracy_row(data: RoundReportData, names: Sequence[str]) -> tuple[Cell, ...]:
    cells: list[Cell] = [f"Round {data.number}, phase {data.phase}"]
    for name in names:
        before, after = _before_and_after(data, name)
        change = None if before is None or after is None else after - before
        cells += [_winner(before, not data.promoted), _winner(after, data.promoted), formats.signed(change)]
    return (*cells, gate_badge(data))


def _before_and_after(data: RoundReportData, protocol: str) -> tuple[float | None, float | None]:
    """J&F of champion and challenger."""
    champion = mean_jf(data.metrics, role="champion", protocol=protocol)
    return champion, mean_jf(data.metrics, role="challenger", protocol=protocol)


def _winner(value: float | None, wins: bool) -> Cell:
    text = formats.number(value)
    return element("b", text) if wins else text


def metrics_table(data: RoundReportData) -> Table:
    """J, F and J&F of champion and challenger by protocol, with the difference."""
    rows: list[tuple[Cell, ...]] = []
    for protocol in protocols([data.metrics]):
        before, after = _before_and_after(data, protocol)
        delta = None if before is None or after is None else after - before
        objects = data.metrics[(data.metrics["protocol"] == protocol) & (data.metrics["object_id"] >= 0)]
        count = len(objects.drop_duplicates(["video_id", "object_id"]))
        cells = (
            formats.number(before),
            formats.number(after),
            formats.signed(delta, 2),
            formats.count(count),
        )
        rows.append((protocol, *cells))
    columns = (
        Column("Protocol", numeric=False),
        Column("Champion", "J&F"),
        Column("Challenger", "J&F"),
        Column("Difference", "points"),
        Column("Objects"),
    )
    return Table(columns, tuple(rows))


def gate_table(rounds: Sequence[RoundReportData]) -> Table:
    """What the gate decided in each round that retrained, and why."""
    columns = (
        Column("Round", numeric=False),
        Column("Decision", numeric=False),
        Column("Why", numeric=False),
    )
    decided = [one for one in rounds if one.gate is not None]
    return Table(
        columns,
        tuple((f"Round {one.number}", gate_badge(one), one.gate.reason) for one in decided if one.gate),
    )
