"""The model server of a home: its sittings, and a real process that answers."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from annotation.errors import SiteError
from annotation.pages.bitmask import decode_bitmask
from annotation.pages.events import EventLog
from annotation.pages.marks import mask_region
from annotation.pages.tickets import Ticket, TicketStore
from annotation.pages.views import PageView
from annotation.site.records import Secrets, new_secrets, write_secrets
from annotation.work import WorkItem
from engine.errors import HomeError
from engine.home import EngineHome, create_home, open_home
from engine.model_server import PageFrames, Sittings, create, load_ahead
from engine.rounds import champion_checkpoint, store_checkpoint
from engine.weights import load_weights
from model.files.checkpoints import default_checkpoint
from storage.masks import decode, encode

ROOT = Path(__file__).parents[2]
FRAMES, HEIGHT, WIDTH = 6, 48, 64


@pytest.fixture
def home(tmp_path: Path) -> EngineHome:
    return create_home(tmp_path / "home")


@pytest.fixture
def ticket(home: EngineHome) -> Ticket:
    """The last four of six frames of a moving disc, with the mask of the first of them carried over."""
    pictures = np.stack([np.where(moved(t)[..., None], (230, 180, 60), (30, 30, 40)) for t in range(FRAMES)])
    video = home.library.ingest_array(pictures.astype(np.uint8), name="moving", fps=6).video
    item = WorkItem(
        task_id="m1-annotate-1",
        round_id="r0001",
        desk="annotation",
        kind="annotate",
        video_id=video.video_id,
        masklet_id="m1",
        object_id=1,
        phase=3,
        first_frame=0,
        masks={0: encode(moved(0))},
    )
    view = PageView(
        frames=(2, 3, 4, 5),
        source_height=HEIGHT,
        source_width=WIDTH,
        height=24,
        width=32,
        window=1,
        windows=2,
        carried=1,
    )
    found = Ticket(
        ticket_id="m1-annotate-1-w02",
        item=item,
        view=view,
        carried={2: encode(moved(2))},
        checkpoint_hash=store_checkpoint(home, default_checkpoint()),
    )
    TicketStore(home.store).put(found)
    return found


def test_the_first_frame_to_look_at_is_the_one_the_pre_labels_are_least_sure_of(home, ticket):
    sure = {2: 0.9, 3: 0.9, 4: 0.3, 5: 0.8}
    masks = {t: encode(moved(t)) for t in range(FRAMES)}
    session = Sittings(home).open(replace(ticket, item=replace(ticket.item, masks=masks, scores=sure)))
    assert session.suggest() == (2,)


def moved(t: int) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (columns - 16 - 5 * t) ** 2 + (rows - 24) ** 2 <= 100


def test_a_window_opens_on_its_own_frames_with_what_was_carried(home, ticket):
    session = Sittings(home).open(ticket)
    assert len(session) == 4
    assert session.first_position == 0
    assert np.array_equal(session.masks[0], moved(2))
    assert list(session.masks[1:]) == [None, None, None]
    frames = PageFrames(home.library.frames(home.library.get(ticket.item.video_id)), [2, 3, 4, 5])
    assert frames[1][24, 31].tolist() == [230, 180, 60]


def test_it_needs_a_home_and_a_site(home, monkeypatch):
    monkeypatch.delenv("ENGINE_HOME", raising=False)
    with pytest.raises(HomeError, match="ENGINE_HOME"):
        create()
    monkeypatch.setenv("ENGINE_HOME", str(home.path))
    with pytest.raises(SiteError, match="engine studio up"):
        create()


@pytest.mark.slow
def test_the_weights_in_use_are_loaded_before_anybody_clicks(home, monkeypatch):
    load_ahead(home)
    champion = champion_checkpoint(home)
    monkeypatch.setattr(type(home.store), "local_copy", None)  # nothing is read again
    assert load_weights(home, champion) is load_weights(home, champion)


def test_weights_that_are_missing_keep_no_server_from_starting(home, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("engine.model_server"), "propagate", True)
    monkeypatch.setenv("ENGINE_MODEL__CHECKPOINT", "/nowhere.pt")
    load_ahead(open_home(home.path))
    assert "the weights in use cannot be loaded" in caplog.text
    assert "/nowhere.pt" in caplog.text


def test_a_real_server_answers_and_goes_on_after_it_was_killed(home, ticket):
    secrets = new_secrets()
    write_secrets(home.path, secrets)
    with served(home, secrets) as (client, process):
        regions = clicked(client, ticket, "k1", None)
        process.kill()
    log = EventLog(home.store).read("r0001", ticket.ticket_id)
    assert [event.kind for event in log] == ["click"]
    answered = decode(log[0].answers[3])
    shown = decode_bitmask(regions[0]["value"]["imageDataURL"], height=24, width=32)
    assert np.array_equal(ticket.view.shown(answered), shown)
    with served(home, secrets) as (client, _):
        published = mask_region(0, ticket.view.shown(moved(2)), ticket.view)
        draft = {
            "id": 1,
            "user": "a@b.c",
            "result": [published, *regions],
            "updated_at": "2200-01-01T00:00:00Z",
        }
        clicked(client, ticket, "k2", draft)
    kinds = [(event.kind, event.person) for event in EventLog(home.store).read("r0001", ticket.ticket_id)]
    assert kinds == [("click", ""), ("open", "a@b.c"), ("click", "a@b.c")]


def clicked(
    client: httpx.Client, ticket: Ticket, name: str, draft: dict[str, object] | None
) -> list[dict[str, dict[str, str]]]:
    """A click on the disc on the second page; the mask regions of the answer."""
    value = {"x": 100 * 31.5 / WIDTH, "y": 50.0, "width": 0.2}
    point = {
        "id": name,
        "from_name": "click",
        "to_name": "frames",
        "type": "keypoint",
        "item_index": 1,
        "value": value,
    }
    data = {"round_id": "r0001", "ticket_id": ticket.ticket_id, "frames": ["/data/x"] * 4}
    task = {"id": 5, "data": data, "drafts": [draft] if draft else [], "annotations": []}
    body = {"tasks": [task], "params": {"context": {"result": [point]}}}
    response = client.post("/predict", content=json.dumps(body))
    regions = response.raise_for_status().json()["results"][0]["result"]
    return [region for region in regions if region["from_name"] == "mask"]


@contextmanager
def served(home: EngineHome, secrets: Secrets) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """uvicorn with the home's model server, as `engine studio` starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    command = [sys.executable, "-m", "uvicorn", "--factory", "engine.model_server:create", *address]
    environment = os.environ | {"ENGINE_HOME": str(home.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    auth = (secrets.model_user, secrets.model_password)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", auth=auth, timeout=90, trust_env=False
        ) as client:
            wait_for(client, process)
            yield client, process
    finally:
        process.terminate()
        process.wait(20)


def wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("the server does not answer")
