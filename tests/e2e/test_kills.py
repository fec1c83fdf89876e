"""Label Studio, the model server and the engine die at random moments; nothing is lost and nothing is done twice."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable

import psutil
import pytest

from annotation.site import read_secrets
from annotation.site.access import open_api
from annotation.site.processes import is_running
from annotation.site.records import LABEL_STUDIO, MODEL_SERVER
from tests.e2e.conftest import WAITING, Clip, Workplace
from tests.e2e.steps import acts_of, check_masks, judge, open_annotation, select, shown_masks

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

DESKS = ("selection", "annotation")


def test_whatever_dies_nothing_is_lost_or_doubled(workplace: Workplace, clip: Callable[[int], Clip]) -> None:
    moments = random.Random(20261122)
    cells = clip(6)
    workplace.engine("ingest", str(cells.path))
    frames = workplace.home.library.videos()[0].annotated_frames
    anna, bert = workplace.person("anna"), workplace.person("bert", role="verifier")
    round_with_kills(workplace, moments)
    select(workplace, anna, cells.box(0), name="cell")
    kill(workplace, LABEL_STUDIO)
    round_with_kills(workplace, moments)

    page = open_annotation(workplace, anna, phase=3)
    page.click(*cells.middle(0))
    first = page.painted()
    kill(workplace, MODEL_SERVER)
    page.turn_to(3)
    page.click(*cells.middle(3))
    page.wait_until_saved()
    kill(workplace, MODEL_SERVER)
    page.brush([cells.middle(3), cells.box(3)[:2]])
    kill(workplace, LABEL_STUDIO)
    # A page that could not save tries again with the next act.
    page.brush([cells.middle(3), cells.box(3)[2:]])
    page.wait_until_saved()
    page.command("p")
    page.turn_to(0)
    page.check_painted(first)
    shown = shown_masks(page)
    page.submit()
    kill(workplace, LABEL_STUDIO, MODEL_SERVER)
    round_with_kills(workplace, moments)
    judge(workplace, bert, "satisfactory")
    round_with_kills(workplace, moments, code=0)

    check_masks(workplace, shown, revision=1)
    assert acts_of(workplace, revision=1) == [
        ("click", frames[0]),
        ("click", frames[3]),
        ("brush", frames[3]),
        ("propagate", frames[3]),
    ]
    assert all(workplace.home.inbox.conflicts(workplace.round_id, desk) == {} for desk in DESKS)
    tickets = published_tickets(workplace)
    assert len(tickets) == len(set(tickets)) == 3
    # Her page asked in vain while the site was down; no other complaint is forgiven.
    anna.complaints = [text for text in anna.complaints if text != "Failed to fetch"]


def round_with_kills(workplace: Workplace, moments: random.Random, *, code: int = WAITING) -> None:
    """Begin the round again and again and kill it somewhere on its way, then let it come to its end."""
    for _ in range(3):
        running = workplace.start_round(3)
        try:
            assert running.wait(timeout=moments.uniform(1.0, 6.0)) == code
            return
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
    workplace.engine("doctor")
    workplace.round(3, code=code)


def kill(workplace: Workplace, *names: str) -> None:
    """End servers of the site with no warning, and start them again as the operator does."""
    for name in names:
        process = workplace.site.processes[name]
        found = psutil.Process(process.pid)
        family = [*found.children(recursive=True), found]
        for one in family:
            one.kill()
        psutil.wait_procs(family, timeout=30)
        assert not is_running(process)
    workplace.engine("studio", "up")


def published_tickets(workplace: Workplace) -> list[str]:
    """The tickets of all tasks in Label Studio."""
    site = workplace.site
    with open_api(site.url, read_secrets(workplace.path)) as api:
        return [
            task["data"]["ticket_id"]
            for project in site.projects.values()
            for task in api.get("/api/tasks/", project=project, page_size=100)["tasks"]
        ]
