"""What stands at the top of a report: one or two sentences, and a handful of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qa.effort import summarise
from qa.report import formats
from qa.report.data import RoundReportData, RunReportData
from qa.report.measures import Outcomes, PhaseMeasures, deployed_jf, mean_jf, outcomes, protocols
from qa.report.paper import PAPER


@dataclass(frozen=True, slots=True)
class Fact:
    """One headline number: what it is, its value, and what to compare it with."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """J&F of the model in use before the first round and after the last, under one protocol."""

    protocol: str
    before: float
    after: float


def run_sentences(run: RunReportData, measures: Sequence[PhaseMeasures]) -> list[str]:
    """The result of a run in words."""
    cost = _cost_sentence(measures, of_time=" of modelled time" if run.simulated else "")
    return [text for text in (cost, _progress_sentence(run), _dataset_sentence(run)) if text]


def _cost_sentence(measures: Sequence[PhaseMeasures], *, of_time: str) -> str:
    last = _latest(measures)
    if last is None:
        return ""
    seconds = formats.number(last.effort.seconds_per_frame)
    text = f"In phase {last.phase}, annotating a frame takes {seconds} s{of_time}"
    if last.phase > 1 and math.isfinite(last.speed_up):
        times = formats.number(last.speed_up)
        text += f", {times} times less than in phase 1 (paper: {PAPER[last.phase].speed_up} times)"
    aligned = last.alignment.get("all")
    if aligned is not None and aligned.masks:
        text += f"; {formats.percent(aligned.share)} of its masks agree with phase 1"
    return text + "."


def _progress_sentence(run: RunReportData) -> str:
    progress = run_progress(run)
    if progress is None:
        return ""
    before, after = formats.number(progress.before), formats.number(progress.after)
    return (
        f"J&F of the model in use went from {before} to {after} on the frozen evaluation set "
        f"({progress.protocol} protocol)."
    )


def _dataset_sentence(run: RunReportData) -> str:
    versions = [one.dataset for one in run.rounds if len(one.dataset)]
    if not versions:
        return "No masklet has been accepted yet."
    automatic = int((versions[-1]["origin"] == "auto").sum())
    text = f"The data set holds {formats.plural(len(versions[-1]), 'verified masklet')}"
    return f"{text}, {automatic} of them found by the model itself." if automatic else f"{text}."


def run_progress(run: RunReportData) -> Progress | None:
    """Progress under the last protocol (clicks, if measured); None if no model was evaluated."""
    names = protocols([run.baseline, *(one.metrics for one in run.rounds)])
    for name in reversed(names):
        scores = deployed_jf(run, name)
        if scores[0] is not None and scores[-1] is not None:
            return Progress(name, scores[0], scores[-1])
    return None


def run_facts(run: RunReportData, measures: Sequence[PhaseMeasures]) -> list[Fact]:
    """Headline numbers of a run; what was not measured is left out."""
    facts = _cost_facts(measures, modelled=run.simulated) + _progress_facts(run) + _dataset_facts(run)
    trained = sum(one.gate is not None for one in run.rounds)
    promoted = sum(one.promoted for one in run.rounds)
    note = f"{trained} retrained, {promoted} promoted"
    return [*facts, Fact("Rounds", formats.count(len(run.rounds)), note)]


def _cost_facts(measures: Sequence[PhaseMeasures], *, modelled: bool) -> list[Fact]:
    last = _latest(measures)
    if last is None:
        return []
    paper = PAPER[last.phase]
    seconds = f"{formats.number(last.effort.seconds_per_frame)} s"
    note = f"{'modelled; ' if modelled else ''}paper: {paper.seconds_per_frame} s"
    facts = [Fact(f"Time per frame, phase {last.phase}", seconds, note)]
    if last.phase > 1 and math.isfinite(last.speed_up):
        facts.append(Fact("Speed-up over phase 1", formats.times(last.speed_up), f"paper: {paper.speed_up}×"))
    aligned = last.alignment.get("all")
    if aligned is not None and aligned.masks:
        note = f"{formats.plural(aligned.masks, 'mask')}; paper: {formats.percent(paper.alignment['all'])}"
        facts.append(Fact("Alignment to phase 1", formats.percent(aligned.share), note))
    return facts


def _progress_facts(run: RunReportData) -> list[Fact]:
    progress = run_progress(run)
    if progress is None:
        return []
    change = formats.signed(progress.after - progress.before)
    note = f"{change} since before round 1, {progress.protocol} protocol"
    return [Fact("J&F, model in use", formats.number(progress.after), note)]


def _dataset_facts(run: RunReportData) -> list[Fact]:
    versions = [one.dataset for one in run.rounds if len(one.dataset)]
    if not versions:
        return []
    automatic = int((versions[-1]["origin"] == "auto").sum())
    note = f"{len(versions[-1]) - automatic} by people, {automatic} automatic"
    return [Fact("Masklets in the data set", formats.count(len(versions[-1])), note)]


def _latest(measures: Sequence[PhaseMeasures]) -> PhaseMeasures | None:
    worked = [one for one in measures if one.effort.frames]
    return worked[-1] if worked else None


def round_sentences(data: RoundReportData) -> list[str]:
    """The result of a round in words."""
    effort = summarise(data.effort, data.annotations)
    sentences = ["Nobody has annotated in this round yet."]
    if effort.frames:
        masklets, frames = formats.plural(effort.masklets, "masklet"), formats.plural(effort.frames, "frame")
        seconds = formats.number(effort.seconds_per_frame)
        who = "Simulated people" if data.simulated else "People"
        sentences = [f"{who} annotated {masklets} on {frames}, taking {seconds} s per frame."]
    people, auto = outcomes(data.verdicts, "annotation"), outcomes(data.verdicts, "auto")
    if people.judged:
        sentences.append(f"Verifiers accepted {people.accepted} of {people.judged}.")
    if auto.judged:
        sentences.append(f"Of {auto.judged} automatic masklets they accepted {auto.first_look} as found.")
    if data.gate is not None:
        sentences.append(f"The retrained model was {'' if data.gate.promote else 'not '}promoted.")
    return sentences


def round_facts(data: RoundReportData) -> list[Fact]:
    """Headline numbers of a round; what was not measured is left out."""
    judged = [
        _acceptance_fact(label, outcomes(data.verdicts, desk))
        for desk, label in (("annotation", "Accepted, by people"), ("auto", "Accepted, automatic"))
        if (data.verdicts["desk"] == desk).any()
    ]
    return [*_effort_facts(data), *judged, *_gate_facts(data)]


def _effort_facts(data: RoundReportData) -> list[Fact]:
    effort = summarise(data.effort, data.annotations)
    if not effort.frames:
        return []
    paper = PAPER[data.phase]
    note = f"paper, phase {data.phase}: "
    seconds = f"{formats.number(effort.seconds_per_frame)} s"
    edited = formats.percent(effort.edited_percent)
    clicks = formats.number(effort.clicks_per_clicked_frame, 2)
    modelled = "modelled; " if data.simulated else ""
    return [
        Fact("Time per frame", seconds, f"{modelled}{note}{paper.seconds_per_frame} s"),
        Fact("Edited frames", edited, f"{note}{paper.edited_percent} %"),
        Fact("Clicks per clicked frame", clicks, f"{note}{paper.clicks_per_clicked_frame}"),
    ]


def _acceptance_fact(label: str, result: Outcomes) -> Fact:
    note = (
        f"{result.accepted} of {formats.plural(result.judged, 'masklet')}; {result.first_look} at first look"
    )
    return Fact(label, formats.percent(result.acceptance_percent, 0), note)


def _gate_facts(data: RoundReportData) -> list[Fact]:
    if data.gate is None:
        return []
    names = protocols([data.metrics])
    role = "challenger" if data.gate.promote else "champion"
    score = mean_jf(data.metrics, role=role, protocol=names[-1]) if names else None
    decision = "promoted" if data.gate.promote else "not promoted"
    change = "" if data.gate.delta is None else f", {formats.signed(data.gate.delta, 2)} points"
    protocol = f" ({names[-1]})" if names else ""
    return [Fact(f"J&F, model in use{protocol}", formats.number(score), f"challenger {decision}{change}")]
