"""The pages: `render_round` and `render_run` give one self-contained HTML document each.

Style, plots and pictures are written into the file, there is no script, and nothing is fetched from anywhere:
the file can be mailed, archived and opened in ten years.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from qa.report import charts, detail_tables, gallery, gate_view, lineage, phase_table, summary, tables
from qa.report.data import SIMULATED_NOTICE, RoundReportData, RunReportData
from qa.report.measures import measure, measure_phases
from qa.report.paper import CITATION, PAPER
from qa.report.plots import Plot


def render_round(data: RoundReportData) -> str:
    """The report of one round as an HTML document."""
    return _page("round.html", **_round_context(data), round=data, paper=PAPER[data.phase])


def render_run(data: RunReportData) -> str:
    """The report of all rounds of a home as an HTML document."""
    return _page("run.html", **_run_context(data), run=data, citation=CITATION)


def _page(template: str, **context: Any) -> str:
    environment = Environment(
        loader=PackageLoader("qa.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(notice=SIMULATED_NOTICE, **context)


def _round_context(data: RoundReportData) -> dict[str, Any]:
    return {
        "sentences": summary.round_sentences(data),
        "facts": summary.round_facts(data),
        "effort_plots": _plots(charts.effort_plot(data), charts.stage_plot(data)),
        "effort_table": tables.effort_table([data]),
        "result_plots": _plots(charts.acceptance_plot([data]), charts.dataset_plot([data])),
        "outcome_table": tables.outcome_table([data]),
        "training_plots": [
            *_plots(charts.training_plot(data), charts.loss_parts_plot(data)),
            *charts.training_course_plots(data),
        ],
        "metrics_table": tables.metrics_table(data),
        "gate_plots": gate_view.gate_plots(data),
        "criteria_table": gate_view.gate_criteria_table(data),
        "groups": gallery.within_budget(gallery.round_groups(data, gallery.ROUND_AMOUNTS)),
        "chain": lineage.round_chain(data),
        **_details(data),
    }


def _details(data: RoundReportData) -> dict[str, Any]:
    return {
        "commits_table": detail_tables.commits_table(data),
        "plan_table": detail_tables.plan_table(data),
        "videos_table": detail_tables.videos_table(data.videos),
        "settings_table": detail_tables.pairs_table(data.settings),
        "time_table": detail_tables.pairs_table(data.time_model),
    }


def _run_context(run: RunReportData) -> dict[str, Any]:
    phases = measure_phases(run.rounds)
    extra = gallery.extra_groups(run)
    latest = run.rounds[-1] if run.rounds else None
    single = [measure([one], run.rounds) for one in run.rounds]
    return {
        "sentences": summary.run_sentences(run, phases),
        "facts": summary.run_facts(run, phases),
        "phase_table": phase_table.phase_table(phases),
        "rounds_table": tables.rounds_table(run.rounds, single),
        "accuracy_plots": charts.accuracy_plots(run),
        "accuracy_table": tables.accuracy_table(run),
        "gate_table": tables.gate_table(run.rounds),
        "decisions_table": gate_view.decisions_table(run),
        "effort_plots": charts.effort_per_frame_plots(run.rounds),
        "outcome_table": tables.outcome_table(run.rounds),
        "effort_table": tables.effort_table(run.rounds),
        "result_plots": _plots(charts.acceptance_plot(run.rounds), charts.dataset_plot(run.rounds)),
        "training_plots": _plots(*(charts.training_plot(one) for one in run.rounds)),
        "chain": lineage.run_chain(run.rounds),
        "sections": _round_sections(run, taken=sum(group.size_bytes for group in extra)),
        "extra": extra,
        "settings_table": detail_tables.pairs_table(latest.settings if latest else {}),
        "time_table": detail_tables.pairs_table(latest.time_model if latest else {}),
    }


def _round_sections(run: RunReportData, *, taken: int) -> list[dict[str, Any]]:
    """What is said about each round besides the comparisons: its strips and its chain."""
    strips = gallery.run_groups(run, taken=taken)
    return [
        {
            "data": one,
            "sentences": summary.round_sentences(one),
            "groups": strips.get(one.round_id),
            "chain": lineage.round_chain(one),
        }
        for one in run.rounds
    ]


def _plots(*plots: Plot | None) -> list[Plot]:
    return [plot for plot in plots if plot is not None]
