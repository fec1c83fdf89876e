"""Whole pages: they are well formed, complete in themselves, and say the numbers of the history."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from qa.report import SIMULATED_NOTICE, RunReportData, render_round, render_run
from qa.report.gallery import PICTURE_BUDGET, ROUND_AMOUNTS, round_groups, within_budget
from tests.qa.report.history import make_empty_round, make_run, without

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Text, attributes and nesting of a page; raises AssertionError where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.ids += [values["id"]] if values.get("id") else []
        self.addresses += [values[name] or "" for name in ("src", "href") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def run_html(run: RunReportData) -> str:
    return render_run(run)


@pytest.fixture(scope="module")
def round_html(run: RunReportData) -> str:
    return render_round(run.rounds[1])


@pytest.mark.parametrize("page", ["run_html", "round_html"])
def test_a_page_is_well_formed_and_fetches_nothing(page: str, request: pytest.FixtureRequest) -> None:
    html = request.getfixturevalue(page)
    parsed = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert "script" not in parsed.tags and "link" in parsed.tags
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    assert "http:" not in html and "https:" not in html and "url(" not in html and "@import" not in html
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {address[1:] for address in parsed.addresses if address.startswith("#")} <= set(parsed.ids)
    assert len(html.encode()) < 8_000_000


@pytest.mark.parametrize("page", ["run_html", "round_html"])
def test_simulated_people_are_named_before_anything_else(page: str, request: pytest.FixtureRequest) -> None:
    text = Page(request.getfixturevalue(page)).text
    assert "The annotators and verifiers in this run are simulated; see time model" in text
    assert text.index("are simulated") < 200
    assert SIMULATED_NOTICE.startswith("The annotators and verifiers in this run are simulated")


def test_the_run_report_sets_our_phases_beside_the_paper(run_html: str) -> None:
    # phase 1: 12 frames × 26.5 s; phase 3: see history.py, 100.7 s on 60 frames
    text = Page(run_html).text
    for ours_and_paper in (
        "Seconds per frame 26.5 37.8 – 7.4 1.7 4.5",
        "Speed-up over phase 1 1.0× 1.0× – 5.1× 15.8× 8.4×",
        "… on the same objects (n) – 1.0× – 5.1× 18.0× (1) 8.4×",
        "Clicks per clicked frame 5.00 4.80 – 3.61 3.00 2.68",
        "Alignment to phase 1 (masks) – – – 86.4 % 100.0 % (12) 89.1 %",
        "Masklets collected 3 16K – 63.5K 3 197.0K",
        "… automatic ones besides 0 – – – 2 –",
        "Retrains (promoted) 1 (1) – – 2 1 (1) 5",
    ):
        assert ours_and_paper in text


def test_the_run_report_tells_accuracy_acceptance_and_growth(run_html: str) -> None:
    text = Page(run_html).text
    assert (
        "J&F of the model in use went from 30.0 to 42.0 on the frozen evaluation set (3-click protocol)"
        in text
    )
    assert "First mask copied to all frames 22.5 22.5" in text
    assert "Round 2, phase 3 46.0 52.0 +6.0 36.0 42.0 +6.0 promoted" in text
    assert "Round 2 made by people 4 50.0 (2) 75.0 (3) 0 1 5" in text
    assert "Round 2 automatic 4 50.0 (2) 75.0 (3) 1 0 5" in text
    assert "The data set holds 8 verified masklets, 2 of them found by the model itself." in text


def test_the_round_report_shows_strips_lineage_and_reasons(round_html: str) -> None:
    text = Page(round_html).text
    assert "Simulated people annotated 5 masklets on 60 frames, taking 1.7 s per frame." in text
    assert "verifier: “drifts <off> the object”" in text and "drifts <off>" not in round_html
    assert "✕ wrong" in text and "● edited" in text and "absent" in text
    assert "annotations.parquet: 72 rows" in text
    assert "Promoted: J&F +6.00" in text
    assert round_html.count("data:image/jpeg;base64,") > 60


def test_frames_of_a_strip_are_at_most_twelve(round_html: str) -> None:
    strips = round_html.split('<div class="strip')[1:]
    assert strips and all(strip.count("<img") <= 12 for strip in strips)


def test_the_same_history_gives_the_same_bytes(run_html: str) -> None:
    assert render_run(make_run((1, 3))) == run_html


def test_a_round_that_was_only_opened_says_so() -> None:
    text = Page(render_round(make_empty_round())).text
    assert "Nobody has annotated in this round yet." in text
    assert "No masklet has been verified in this round yet." in text
    assert "This round mined no automatic masklets." in text
    assert "The round is under way; no model has been retrained yet." in text
    assert "simulated" not in text


def test_a_run_without_rounds_and_one_with_an_empty_round_can_be_shown() -> None:
    assert "No round has been run." in Page(render_run(RunReportData(title="Nothing yet", rounds=()))).text
    empty = RunReportData(title="Opened", rounds=(make_empty_round(),))
    assert "No masklet has been accepted yet." in Page(render_run(empty)).text


def test_missing_stages_are_said_not_hidden(run: RunReportData) -> None:
    last = run.rounds[1]
    bare = without(last, "auto_masklets", "training", "metrics", "prelabels")
    bare_verdicts = bare.verdicts[
        (bare.verdicts["desk"] == "annotation") & (bare.verdicts["verdict"] == "satisfactory")
    ]
    text = Page(render_round(replace(bare, verdicts=bare_verdicts, videos=pd.DataFrame()))).text
    assert "No masklet was sent back or rejected in this round." in text
    assert "This round mined no automatic masklets." in text
    assert "Automatic masklets, not accepted" not in text


def test_text_from_outside_is_escaped(run: RunReportData) -> None:
    nasty = replace(run, title="<script>alert(1)</script> & co")
    html = render_run(nasty)
    assert "<script" not in html and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in html


def test_strips_that_do_not_fit_are_counted(run: RunReportData) -> None:
    groups = round_groups(run.rounds[1], ROUND_AMOUNTS)
    assert sum(group.left_out for group in within_budget(groups, PICTURE_BUDGET)) == 0
    one_strip = groups[0].strips[0].size_bytes
    cut = within_budget(groups, one_strip)
    assert len(cut[0].strips) == 1
    assert sum(len(group.strips) + group.left_out for group in cut) == sum(
        len(group.strips) for group in groups
    )
