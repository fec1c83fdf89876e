"""Whole rounds through a real Label Studio: people of three accounts work by its own API, and the engine is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotation.errors import SiteError
from annotation.pages.events import EventLog, StudioEvent
from annotation.pages.marks import mask_region, read_marks
from annotation.pages.tickets import Ticket, TicketStore
from annotation.site import Site, read_secrets
from annotation.site.access import Api, browser, open_api, sign_in
from annotation.site.config import SiteConfig
from annotation.site.lifecycle import down, invite_member, up
from annotation.work import Submission
from engine.cli import main
from engine.home import EngineHome, open_home
from engine.machine import advance_round, open_round
from engine.queues import queue_reader
from storage.commits import RoundOpening
from storage.masks import decode, encode
from tests.servers import free_ports
from tests.studio_site import STAND_IN_COMMAND, environment_missing, prepared_home, site_template

KILLER = Path(__file__).with_name("killer.py")
CODE = Path(__file__).parents[2]
ANN, BOB, VERA = "ann@example.com", "bob@example.com", "vera@example.com"
needs_label_studio = pytest.mark.skipif(bool(environment_missing()), reason=environment_missing())


def test_a_round_for_real_people_is_not_opened_without_a_site(home: EngineHome) -> None:
    with pytest.raises(SiteError, match="engine studio up"):
        open_round(home, phase=1, annotators="label-studio")
    assert open_round(home, phase=1).settings["people"]["kind"] == "simulated"


class Person:
    """Somebody signed in to Label Studio, who finds tasks by their tickets."""

    def __init__(self, world: World, email: str) -> None:
        self._world = world
        self.email = email
        self._drafts: dict[str, int] = {}
        client = world.stack.enter_context(browser(world.site.url))
        assert sign_in(client, email, "a-good-password")
        self._api = Api(client)

    def submit(self, ticket_id: str, result: list[dict[str, Any]], *, lead_time: float = 20.0) -> int:
        task = self._world.task(ticket_id)
        body = {"result": result, "lead_time": lead_time, "was_cancelled": False}
        return int(self._api.post(f"/api/tasks/{task['id']}/annotations/", body)["id"])

    def skip(self, ticket_id: str) -> None:
        task = self._world.task(ticket_id)
        self._api.post(f"/api/tasks/{task['id']}/annotations/", {"result": [], "was_cancelled": True})

    def update(self, annotation: int, result: list[dict[str, Any]]) -> None:
        self._api.patch(f"/api/annotations/{annotation}/", {"result": result})

    def delete(self, annotation: int) -> None:
        self._api.delete(f"/api/annotations/{annotation}/")

    def save_draft(self, ticket_id: str, result: Sequence[Mapping[str, Any]] = ()) -> None:
        task = self._world.task(ticket_id)
        body = {"result": list(result), "lead_time": 1.0}
        if ticket_id in self._drafts:
            self._api.patch(f"/api/drafts/{self._drafts[ticket_id]}/", body)
        else:
            self._drafts[ticket_id] = self._api.post(f"/api/tasks/{task['id']}/drafts", body)["id"]

    def ask(self, ticket_id: str, context: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the page does at a click: the model's answer."""
        task = self._world.task(ticket_id)
        (backend,) = self._api.list("/api/ml/", project=task["project"])
        body = {"task": task["id"], "context": {"result": context}}
        answer = self._api.post(f"/api/ml/{backend['id']}/interactive-annotating", body)
        return list(answer["data"]["result"])

    def judge(self, ticket_id: str, verdict: str, *ranges: tuple[int, int]) -> int:
        regions: list[dict[str, Any]] = [
            {
                "id": "verdict", "from_name": "verdict", "to_name": "video", "type": "choices",
                "value": {"choices": [verdict]},
            }
        ]  # fmt: skip
        for number, (start, end) in enumerate(ranges):
            value = {"ranges": [{"start": start, "end": end}], "timelinelabels": ["bad mask"]}
            regions.append(
                {"id": f"b{number}", "from_name": "bad", "to_name": "video", "type": "timelinelabels", "value": value}
            )  # fmt: skip
        return self.submit(ticket_id, regions, lead_time=5.0)


class World:
    """An engine home with a running site and three people."""

    def __init__(self, home: EngineHome, config: SiteConfig, site: Site, stack: ExitStack) -> None:
        self.home, self.config, self.site, self.stack = home, config, site, stack
        for email, role in ((ANN, "annotator"), (BOB, "annotator"), (VERA, "verifier")):
            password = home.path / "password.txt"
            password.write_text("a-good-password\n")
            invite_member(home.path, email=email, role=role, password_file=password)
        self.ann, self.bob, self.vera = (Person(self, email) for email in (ANN, BOB, VERA))
        self.tickets, self.events = TicketStore(home.store), EventLog(home.store)

    def open_round(self, phase: int) -> RoundOpening:
        self.opening = open_round(self.home, phase=phase, annotators="label-studio")
        return self.opening

    def advance(self) -> str:
        return advance_round(self.home, self.opening.round_id).state

    def killed(self, pattern: str, when: str, count: int = 1) -> None:
        command = [
            sys.executable,
            str(KILLER),
            str(self.home.path),
            str(self.opening.phase),
            pattern,
            when,
            str(count),
        ]
        environment = {**os.environ, "PYTHONPATH": str(CODE)}
        assert subprocess.run(command, check=False, env=environment).returncode == -signal.SIGKILL

    def tasks(self) -> list[dict[str, Any]]:
        with open_api(self.site.url, read_secrets(self.home.path)) as api:
            found = [
                task
                for project in self.site.projects.values()
                for task in api.get("/api/tasks/", project=project, fields="all", page_size=500)["tasks"]
            ]
        return [task for task in found if task["data"]["round_id"] == self.opening.round_id]

    def task(self, ticket_id: str) -> dict[str, Any]:
        (task,) = [task for task in self.tasks() if task["data"]["ticket_id"] == ticket_id]
        return task

    def open_tickets(self, kind: str) -> list[str]:
        """Tickets nobody has answered, each of them shown by one task."""
        tickets = [task["data"]["ticket_id"] for task in self.tasks()]
        assert len(tickets) == len(set(tickets))
        return sorted(
            task["data"]["ticket_id"]
            for task in self.tasks()
            if task["data"]["kind"] == kind
            and not any(not one["was_cancelled"] for one in task["annotations"])
        )

    def ticket(self, ticket_id: str) -> Ticket:
        return self.tickets.get(self.opening.round_id, ticket_id)

    def masks(self, ticket_id: str) -> list[dict[str, Any]]:
        """What the page of a task hands in when nothing is changed, without the frames that show no object."""
        ticket = self.ticket(ticket_id)
        masks = {frame: decode(rle) for frame, rle in ticket.item.masks.items()}
        return [self.region(ticket, frame, mask) for frame, mask in masks.items() if mask.any()]

    def whole(self, ticket_id: str) -> list[dict[str, Any]]:
        """A square on every frame."""
        ticket = self.ticket(ticket_id)
        return [self.region(ticket, frame, square(frame)) for frame in ticket.view.frames]

    def region(self, ticket: Ticket, frame: int, mask: np.ndarray) -> dict[str, Any]:
        return mask_region(ticket.view.page_of(frame), ticket.view.shown(mask), ticket.view)

    def click(self, ticket_id: str, frame: int, mask: np.ndarray, *, region: str) -> None:
        """What the model server writes down of a click."""
        event = StudioEvent(
            event_id=f"e{region}", at=time.time(), ticket_id=ticket_id, person=ANN, kind="click", frame=frame, x=3.0,
            y=3.0, positive=True, answers={frame: encode(mask)}, region=region,
        )  # fmt: skip
        self.events.append(self.opening.round_id, event)

    def select_everything(self) -> None:
        for ticket_id in self.open_tickets("select"):
            ticket = self.ticket(ticket_id)
            value = {
                "x": 20,
                "y": 20,
                "width": 30,
                "height": 30,
                "rotation": 0,
                "rectanglelabels": ["object"],
            }
            box = {
                "id": "one", "from_name": "object", "to_name": "frames", "type": "rectanglelabels", "value": value,
                "item_index": 0, "original_width": ticket.view.width, "original_height": ticket.view.height,
            }  # fmt: skip
            self.ann.submit(ticket_id, [box])


def square(frame: int) -> np.ndarray:
    mask = np.zeros((64, 64), dtype=bool)
    mask[10 : 20 + frame, 12:30] = True
    return mask


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(params=["stand-in"])
def world(
    request: pytest.FixtureRequest, make_home: Callable[..., EngineHome], template: Path
) -> Iterator[World]:
    home = make_home("studio-home")
    port, model_port = free_ports(2)
    with (home.path / "engine.toml").open("a") as file:
        file.write(f"\n[studio]\nport = {port}\nmodel_port = {model_port}\nworkers = 1\n")
    command = STAND_IN_COMMAND if request.param == "stand-in" else ()
    config = prepared_home(home.path, {}, template=template, model_command=command)
    with ExitStack() as stack:
        stack.callback(down, home.path, lambda _: None)
        site = up(config, lambda _: None)
        yield World(open_home(home.path), config, site, stack)


@pytest.mark.slow
@needs_label_studio
def test_a_round_of_people_from_selection_to_the_next_model(world: World) -> None:
    opening = world.open_round(phase=3)
    assert world.advance() == "waiting"
    assert len(world.open_tickets("select")) == 2
    world.select_everything()

    world.killed("studio/tickets/.*-annotate-1", "after")  # a ticket, and no task yet
    assert world.advance() == "waiting"
    first, second = world.open_tickets("annotate")
    world.ann.skip(second)
    world.ann.save_draft(second)
    with queue_reader(world.home, opening) as reader:
        queues = reader.read()
        assert [(held.person, held.ticket_id) for held in queues.holdings] == [(ANN, second)]
        assert {queue.work: queue.waiting for queue in queues.queues} == {
            "select": 0,
            "annotate": 1,
            "verify": 0,
        }

    # one person clicks; each click arrives twice at the model server and is one event
    frames = world.ticket(first).view.frames
    world.click(first, frames[0], square(frames[0]), region="a")
    world.click(first, frames[0], square(frames[0]), region="a2")
    clicked = world.whole(first)
    annotation = world.ann.submit(first, clicked)
    bad = world.bob.submit(second, [clicked[0] | {"item_index": 77}])
    world.killed("inbox/.*/annotation-answers/", "before")  # kept as received, not yet judged
    assert world.advance() == "waiting"
    assert "NOT ACCEPTED YET" in world.task(second)["data"]["notice"]
    verify_first = first.replace("annotate", "verify")
    assert world.open_tickets("verify") == [verify_first]
    world.bob.update(bad, world.whole(second))
    assert world.advance() == "waiting"
    assert "NOT ACCEPTED" not in world.task(second)["data"]["notice"]
    verify_second = second.replace("annotate", "verify")

    # an annotator may not judge; a verifier sends the first one back, somebody else mends it
    world.ann.judge(verify_first, "satisfactory")
    world.vera.judge(verify_second, "satisfactory")
    assert world.advance() == "waiting"
    assert world.open_tickets("verify") == [f"{verify_first}-a2"]
    world.vera.judge(f"{verify_first}-a2", "unsatisfactory", (2, 3))
    world.killed("studio/tickets/.*-annotate-2", "before")
    assert world.advance() == "waiting"
    (again,) = world.open_tickets("annotate")
    assert again == first.replace("annotate-1", "annotate-2")
    assert f"frames {frames[1]} to {frames[2]} bad" in world.task(again)["data"]["notice"]
    assert len(world.task(again)["predictions"][0]["result"]) == len(frames), (
        "pre-filled with the masks before"
    )
    world.bob.submit(again, world.whole(again))
    world.ann.update(annotation, [])  # too late, and noticed
    assert world.advance() == "waiting"
    assert world.open_tickets("verify") == [first.replace("annotate-1", "verify-2")]
    with queue_reader(world.home, opening) as reader:
        assert [text for text in reader.audit() if "was changed" in text and str(annotation) in text]
    world.vera.judge(first.replace("annotate-1", "verify-2"), "satisfactory")

    while (state := world.advance()) == "waiting":  # what the model mined by itself
        for ticket_id in world.open_tickets("verify"):
            world.vera.judge(ticket_id, "satisfactory")
        for ticket_id in world.open_tickets("annotate"):
            world.ann.submit(ticket_id, world.whole(ticket_id))
    assert state == "done"
    check_record(world, first, second)


def check_record(world: World, first: str, second: str) -> None:
    """What the manifests say is what people did."""
    from engine.stages.base import StageContext

    context = StageContext(world.home, world.opening, "close")
    rows = context.rows("annotate", "annotations")
    made = {(row["masklet_id"], row["revision"]): row["annotator"] for row in rows}
    one, two = (ticket.removesuffix("-annotate-1") for ticket in (first, second))
    assert made == {(one, 1): ANN, (one, 2): BOB, (two, 1): BOB}
    shown = {row["frame"]: decode(encode(square(row["frame"]))) for row in rows}
    for row in rows:
        assert row["area"] == shown[row["frame"]].sum()
    clicks = [row for row in context.rows("annotate", "effort") if row["kind"] == "click"]
    assert [
        (row["masklet_id"], row["actor"], row["frame"]) for row in clicks if row["role"] == "annotator"
    ] == [(one, ANN, rows[0]["frame"])] * 2
    verdicts = [
        (row["masklet_id"], row["verifier"], row["verdict"]) for row in context.rows("verify", "verdicts")
    ]
    assert sorted(verdicts) == sorted(
        [(one, VERA, "unsatisfactory"), (one, VERA, "satisfactory"), (two, VERA, "satisfactory")]
    )


@pytest.mark.slow
@needs_label_studio
@pytest.mark.parametrize("world", ["engine"], indirect=True)
def test_what_the_model_answers_is_what_is_handed_in(world: World) -> None:
    """Clicks by Label Studio's own door to the model server, a command, and the count of both."""
    opening = world.open_round(phase=3)
    world.advance()
    world.select_everything()
    world.advance()
    ticket_id = world.open_tickets("annotate")[0]
    shown = {region["id"]: region for region in world.masks(ticket_id)}

    def ask(control: str, page: int, **value: Any) -> None:
        region = {
            "id": f"{control}-{len(asked)}",
            "from_name": control,
            "to_name": "frames",
            "item_index": page,
            **value,
        }
        answered = world.ann.ask(ticket_id, [region])
        shown.update({one["id"]: one for one in answered if one["from_name"] == "mask"})
        asked.append(region)
        texts.update({one["id"]: one for one in answered if one["from_name"] != "mask"})
        world.ann.save_draft(ticket_id, [*shown.values(), *texts.values()])

    asked: list[dict[str, Any]] = []
    texts: dict[str, dict[str, Any]] = {}
    ask("click", 0, type="keypoint", is_positive=True, value={"x": 30.0, "y": 30.0, "width": 0.2})
    ask("click", 0, type="keypoint", is_positive=False, value={"x": 80.0, "y": 80.0, "width": 0.2})
    world.ann.ask(ticket_id, [asked[-1]])  # delivered a second time
    typed = {"id": "cmd-0", "from_name": "cmd", "to_name": "frames", "item_index": 0, "type": "textarea"}
    typed |= {"value": {"text": ["p"]}}
    world.ann.save_draft(ticket_id, [*shown.values(), typed])
    answered = world.ann.ask(ticket_id, [typed])
    shown.update({one["id"]: one for one in answered if one["from_name"] == "mask"})
    absent = [
        {"id": f"v{page}", "from_name": "visibility", "to_name": "frames", "type": "choices", "item_index": page,
         "value": {"choices": ["absent"]}}
        for page in range(4) if f"f{page:05d}" not in shown
    ]  # fmt: skip
    world.ann.submit(ticket_id, [*shown.values(), *absent])
    world.advance()
    submission = Submission.from_json(world.home.inbox.read(opening.round_id, "annotation")[ticket_id])
    kinds = [event.kind for event in submission.effort if event.kind not in ("idle", "absent")]
    assert kinds == ["click", "click", "propagate", "submit"]
    assert [event.positive for event in submission.effort if event.kind == "click"] == [True, False]
    assert submission.masks[0].clicks == 2 and submission.masks[0].edited
    marks = read_marks([*shown.values()], world.ticket(ticket_id).view)
    for page, mask in enumerate(submission.masks):
        on_page = marks.mask(page, world.ticket(ticket_id).view)
        assert np.array_equal(
            decode(mask.rle), on_page if on_page is not None else np.zeros((64, 64), dtype=bool)
        )


@pytest.mark.slow
@needs_label_studio
def test_two_engines_at_once_publish_nothing_twice_and_a_stopped_site_loses_nothing(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = world.open_round(phase=1)
    code = (
        "import sys; from pathlib import Path; from engine.home import open_home; "
        "from engine.machine import advance_round; "
        f"advance_round(open_home(Path(sys.argv[1])), {opening.round_id!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(CODE)}
    command = [sys.executable, "-c", code, str(world.home.path)]
    engines = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [engine.wait(timeout=120) for engine in engines] == [0, 0, 0]
    assert len(world.open_tickets("select")) == 2
    world.select_everything()
    down(world.home.path, lambda _: None)
    with pytest.raises(SiteError, match=r"Label Studio at .* does not answer"):
        world.advance()
    up(world.config, lambda _: None)

    def command_line(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["engine", "--home", str(world.home.path), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    monkeypatch.setenv("COLUMNS", "200")
    code, out = command_line("round", "--phase", "1", "--no-prefect", "--annotators", "simulated")
    assert code == 75
    assert (
        "in front of Label Studio, as when the round was opened" in out
        and "waits for people in annotate" in out
    )
    assert len(world.open_tickets("annotate")) == 2
    code, out = command_line("status", "--json")
    people = json.loads(out)["people"][opening.round_id]
    assert [(queue["work"], queue["waiting"]) for queue in people["queues"]][1] == ("annotate", 2)
    assert [(row["person"], row["work"], row["total"]) for row in people["throughput"]] == [
        (ANN, "select", 2)
    ]
    assert "select objects" in command_line("status")[1]
    code, out = command_line("doctor")
    assert code == 0, out
