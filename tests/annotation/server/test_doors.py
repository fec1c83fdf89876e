"""Who comes in at the model server, how much they may bring, and what it tells about itself."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import httpx
import pytest

from annotation.server import ServerConfig
from annotation.server.auth import RateLimit, basic_matches
from tests.annotation.server.world import AUTH, CONFIG, World


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


HOOK = {"X-Engine-Secret": CONFIG.webhook_secret}


def submitted(world: World, **annotation: Any) -> dict[str, Any]:
    """What Label Studio's webhook posts."""
    page = world.page()
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": {"id": 17, "completed_by": 1, "result": [], **annotation},
        "task": page.request([])["tasks"][0],
        "project": {"id": 29},
    }


@pytest.mark.parametrize("path", ["/predict", "/setup"])
@pytest.mark.parametrize("auth", [None, ("label-studio", "wrong"), ("wrong", CONFIG.password)])
def test_wrong_passwords_are_turned_away_before_the_body_is_read(make_world, path, auth):
    async def story():
        async with make_world(phase=1) as world:
            world.client.auth = auth
            response = await world.client.post(path, content=b"not json at all")
            assert response.status_code == 401
            assert CONFIG.password not in response.text

    run(story())


@pytest.mark.parametrize("header", [None, "", "Basic", "Basic ???", "Bearer eHg=", "Basic w6Q6w6Q="])
def test_no_other_header_passes(header):
    assert not basic_matches(header, user="a", password="b")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/", "/train"])
def test_there_is_nothing_else(make_world, path):
    async def story():
        async with make_world(phase=1) as world:
            assert (await world.client.get(path)).status_code == 404

    run(story())


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_is_measured_while_it_is_read(make_world, declared):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(max_body_bytes=1000)

            async def parts() -> AsyncIterator[bytes]:
                for _ in range(50):
                    yield b" " * 100

            headers = {"Content-Length": "5000"} if declared else {}
            response = await world.client.post("/predict", content=parts(), headers=headers)
            assert response.status_code == 413
            assert "1000" in response.text

    run(story())


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"tasks": [], "params": {"context": {"result": [1]}}}',
        b'{"tasks": [{"id": 1, "data": {}}], "params": {"context": {"result": [1]}}}',
        b'{"tasks": [{"id": 1, "data": {"round_id": "r", "ticket_id": "t"}}], "params": {"context": {"result": [1]}}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_label_studio_never_sends_is_a_bad_request(make_world, body):
    async def story():
        async with make_world(phase=1) as world:
            assert (await world.client.post("/predict", content=body)).status_code == 400

    run(story())


def test_a_ticket_is_asked_only_so_often(make_world):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(rate_burst=2, rate_per_s=0.001)
            page = world.page()
            answers = [await page.click(0, 18 + n, 30) for n in range(3)]
            assert [bool(answer.pages) for answer in answers] == [True, True, False]
            assert "faster than the model" in answers[2].says

    run(story())


def test_the_bucket_fills_again():
    rate = RateLimit(per_s=2, burst=1)
    assert [rate.allows("a", now) for now in (0, 0.1, 0.5, 0.6, 10, 10)] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    assert rate.allows("b", 10)


def test_setup_answers_without_loading_anything(make_world):
    async def story():
        async with make_world(phase=1) as world:
            body = {"project": "29.1", "schema": "<View/>", "access_token": "t0ken", "extra_params": None}
            response = await world.client.post("/setup", json=body)
            assert response.json() == {"model_version": "engine"}
            assert (await world.client.get("/versions")).json() == {"versions": ["engine"]}
            assert world.opened == 0

    run(story())


def test_health_answers_whatever_the_worker_does(make_world):
    async def story():
        async with make_world(phase=1) as world:
            world.gate.clear()
            clicking = asyncio.create_task(world.page().click(0, 18, 30))
            while not world.opened:
                await asyncio.sleep(0.01)
            world.client.auth = None
            begun = time.perf_counter()
            assert (await world.client.get("/health")).json()["status"] == "UP"
            assert time.perf_counter() - begun < 0.05
            world.gate.set()
            await clicking

    run(story())


def test_a_server_that_cannot_work_any_more_is_not_well(make_world):
    async def story():
        world = make_world(phase=1)
        async with world:
            pass  # ends the worker's thread
        transport = httpx.ASGITransport(world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://model", auth=AUTH) as client:
            response = await client.get("/health")
            world.client = client
            told = await world.page().click(0, 18, 30)
        assert (response.status_code, response.json()["status"]) == (503, "DOWN")
        assert "engine studio up" in told.says

    run(story())


def test_webhooks_of_a_ticket_are_written_down_only_so_often(make_world):
    async def story():
        async with make_world(phase=1) as world:
            await world.restart(rate_burst=2, rate_per_s=0.001)
            for _ in range(4):
                response = await world.client.post("/webhook", json=submitted(world), headers=HOOK)
                assert response.status_code == 200
            assert len(world.log("submit")) == 2

    run(story())


def test_the_webhook_writes_down_when_work_was_handed_in(make_world):
    async def story():
        async with make_world(phase=1) as world:
            response = await world.client.post("/webhook", json=submitted(world), headers=HOOK)
            assert response.status_code == 200
            (event,) = world.log("submit")
            assert (event.person, event.text) == ("anno1@example.com", "ANNOTATION_CREATED 17")

    run(story())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"action": "TASKS_CREATED", "tasks": [{"id": 3}]}, 200),
        ({"action": "ANNOTATION_CREATED", "annotation": {"id": 1}, "task": {"data": {"image": "x"}}}, 200),
        ("nonsense", 400),
    ],
)
def test_other_webhooks_are_passed_over(make_world, body, status):
    async def story():
        async with make_world(phase=1) as world:
            assert (await world.client.post("/webhook", json=body, headers=HOOK)).status_code == status
            assert world.log() == []

    run(story())


@pytest.mark.parametrize("headers", [{}, {"X-Engine-Secret": "wrong"}])
def test_a_webhook_without_the_secret_is_turned_away(make_world, headers):
    async def story():
        async with make_world(phase=1) as world:
            response = await world.client.post("/webhook", json=submitted(world), headers=headers)
            assert response.status_code == 401
            assert world.log() == []

    run(story())


def test_nobody_waits_for_whoever_left(make_world):
    """Label Studio hung up: what had not begun is dropped."""

    async def story():
        async with make_world(phase=1) as world:
            world.gate.clear()
            page = world.page()
            begun = asyncio.create_task(page.click(0, 18, 30))
            while not world.opened:
                await asyncio.sleep(0.01)
            point = page._drawn("keypoint", "click", 1, {"x": 40, "y": 45, "width": 0.2, "labels": []})
            body = json.dumps(page.request([point])).encode()
            received = iter([{"type": "http.request", "body": body, "more_body": False}])

            async def receive() -> dict[str, Any]:
                return next(received, {"type": "http.disconnect"})

            async def send(message: dict[str, Any]) -> None:
                pass

            auth = next(
                httpx.BasicAuth(CONFIG.user, CONFIG.password).auth_flow(httpx.Request("GET", "http://a"))
            )
            headers = [(b"authorization", auth.headers["authorization"].encode())]
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/predict",
                "headers": headers,
                "query_string": b"",
            }
            await world.app(scope, receive, send)
            world.gate.set()
            await begun
            await page.click(2, 18, 30)
            assert [event.frame for event in world.log("click")] == [0, 8]

    run(story())


def test_numbers_for_operators(make_world):
    async def story():
        async with make_world(phase=1) as world:
            page = world.page()
            await page.click(0, 18, 30)
            await page.enter(0, "?", save=False)
            text = (await world.client.get("/metrics")).text
            lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
            assert lines['engine_model_server_requests_total{kind="click",result="answered"}'] == "1"
            assert lines['engine_model_server_request_seconds_count{kind="help"}'] == "1"
            assert lines["engine_model_server_queue_length"] == "0"
            assert lines["engine_model_server_sittings"] == "1"
            assert float(lines["engine_model_server_sitting_bytes"]) > 1000
            assert float(lines["engine_model_server_received_bytes_total"]) > 500
            world.client.auth = None
            assert (await world.client.get("/metrics")).status_code == 401

    run(story())


def test_the_log_has_a_line_for_each_prompt_and_no_secrets(make_world, caplog):
    async def story():
        async with make_world(phase=1) as world:
            with caplog.at_level(logging.INFO, logger="engine.model_server"):
                page = world.page()
                await page.click(1, 18, 30)
                page.save()
                await page.enter(1, "?", save=False)
                await world.client.post("/webhook", json=submitted(world), headers=HOOK)

    run(story())
    assert "ticket='m1-annotate-1' kind=click page=1 result=answered regions=1" in caplog.text
    for secret in (CONFIG.password, CONFIG.webhook_secret, "anno1@", "base64"):
        assert secret not in caplog.text
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "change", [{"password": ""}, {"webhook_secret": ""}, {"queue": 0}, {"deadline_s": 100}]
)
def test_a_server_without_secrets_or_bounds_does_not_start(change):
    values = {"user": "a", "password": "b", "webhook_secret": "c"} | change
    with pytest.raises(ValueError, match=next(iter(change)).replace("_", ".")):
        ServerConfig(**values)


def test_secrets_are_not_in_the_configuration_s_text():
    assert CONFIG.password not in repr(CONFIG)
    assert CONFIG.webhook_secret not in repr(CONFIG)
