"""The model server as a web application: the four addresses that Label Studio knows, and numbers for operators.

Label Studio calls `/health` (it waits 1 s), `/setup` (3 s), `/predict` (100 s), `/versions`, and posts to `/webhook`.
Only `/predict` ever waits for the network. There are no pages with documentation: nothing here is for browsers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request, Response
from starlette.background import BackgroundTask

from annotation.errors import PageError
from annotation.pages.events import EventLog, StudioEvent
from annotation.pages.tickets import TicketStore
from annotation.server.answering import Answering, Outcome
from annotation.server.auth import BodyError, RateLimit, basic_matches, read_body, secret_matches
from annotation.server.config import ServerConfig
from annotation.server.desk import Desk, OpenSitting
from annotation.server.label_studio import DraftError, DraftSource
from annotation.server.metrics import Metrics
from annotation.server.watching import Watcher
from annotation.server.wire import PredictRequest, WebhookCall, answer, read_predict, read_webhook
from annotation.server.worker import Worker
from storage.errors import EngineError

__all__ = ["WEBHOOK_HEADER", "create_app"]

WEBHOOK_HEADER = "X-Engine-Secret"
_LOG = logging.getLogger("engine.model_server")
_SUBMITS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
_NOTHING = b'{"results":[]}'


def create_app(
    config: ServerConfig,
    *,
    tickets: TicketStore,
    events: EventLog,
    open_sitting: OpenSitting,
    drafts: DraftSource,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The application. open_sitting loads what a ticket needs, in the worker's thread; clock: seconds since 1970."""
    server = _Server(
        config, tickets=tickets, events=events, open_sitting=open_sitting, drafts=drafts, clock=clock
    )
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=server.lifespan)
    app.add_api_route("/health", server.health, methods=["GET"])
    app.add_api_route("/setup", server.setup, methods=["POST"])
    app.add_api_route("/versions", server.versions, methods=["GET"])
    app.add_api_route("/predict", server.predict, methods=["POST"])
    app.add_api_route("/webhook", server.webhook, methods=["POST"])
    app.add_api_route("/metrics", server.metrics, methods=["GET"])
    return app


class _Server:
    """What the addresses share."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        tickets: TicketStore,
        events: EventLog,
        open_sitting: OpenSitting,
        drafts: DraftSource,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._events = events
        self._drafts = drafts
        self._clock = clock
        self._desk = Desk(
            tickets=tickets, events=events, open_sitting=open_sitting, config=config, clock=clock
        )
        self._worker = Worker(queue=config.queue, idle=self._desk.warm)
        self._answering = Answering(self._desk, self._worker, drafts, config=config)
        self._watcher = Watcher(self._answering, self._desk, self._worker, drafts, events, config=config)
        self._hints = RateLimit(per_s=config.rate_per_s, burst=config.rate_burst)
        self._metrics = Metrics()
        self._metrics.gauge("queue_length", "Jobs that wait for the network.", lambda: self._worker.waiting)
        self._metrics.gauge("sittings", "Sittings in memory.", lambda: len(self._desk))
        self._metrics.gauge("sitting_bytes", "Bytes of sittings, roughly.", lambda: self._desk.byte_size)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Watch drafts while the server is up; at the end let the worker finish what it has begun."""
        watching = asyncio.create_task(self._watcher.run()) if self._config.watch_s else None
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
            await asyncio.to_thread(self._worker.close)

    async def health(self) -> Response:
        """Label Studio asks often, and waits one second. `engine studio up` starts anew what is not well."""
        if not self._worker.alive:
            return _json({"status": "DOWN"}, status=503)
        return _json({"status": "UP", "model_version": self._config.model_version})

    async def setup(self, request: Request) -> Response:
        """Label Studio asks at every look at its settings; what it tells us (a token, too) is not kept."""
        if (refused := self._refused(request)) is not None:
            return refused
        body = await self._body(request)
        return body if isinstance(body, Response) else _json({"model_version": self._config.model_version})

    async def versions(self, request: Request) -> Response:
        """The one version there is."""
        return self._refused(request) or _json({"versions": [self._config.model_version]})

    async def metrics(self, request: Request) -> Response:
        """For Prometheus, with the same user and password."""
        text = "text/plain; version=0.0.4; charset=utf-8"
        return self._refused(request) or Response(self._metrics.render(), media_type=text)

    async def predict(self, request: Request) -> Response:
        """A prompt comes in, masks go out; without a prompt, nothing."""
        arrived = time.monotonic()
        if (refused := self._refused(request)) is not None:
            return refused
        body = await self._body(request)
        if isinstance(body, Response):
            return body
        try:
            call = read_predict(body)
        except PageError as error:
            self._count("malformed", "refused", arrived)
            return _json({"error": str(error)}, status=400)
        if call is None:
            return Response(_NOTHING, media_type="application/json")
        outcome = await self._answering.answer(call, arrived=arrived, gone=request.is_disconnected)
        self._log(call, outcome, arrived)
        content = answer(outcome.regions, model_version=self._config.model_version)
        self._metrics.count("sent_bytes_total", "Bytes of answers.", len(content))
        return Response(content, media_type="application/json")

    async def webhook(self, request: Request) -> Response:
        """A hint that somebody handed in work; written down after the answer, for Label Studio waits for it."""
        if not secret_matches(request.headers.get(WEBHOOK_HEADER), self._config.webhook_secret):
            return self._unwelcome("webhook")
        body = await self._body(request)
        if isinstance(body, Response):
            return body
        try:
            call = read_webhook(body)
        except PageError as error:
            return _json({"error": str(error)}, status=400)
        task = BackgroundTask(self._submitted, call) if call is not None and self._wants(call) else None
        return Response(b"{}", media_type="application/json", background=task)

    def _wants(self, call: WebhookCall) -> bool:
        return call.action in _SUBMITS and self._hints.allows(call.ticket_id, time.monotonic())

    async def _submitted(self, call: WebhookCall) -> None:
        """Write down when work was handed in; truth is what the round collects from Label Studio."""
        try:
            await asyncio.to_thread(self._desk.ticket, call.round_id, call.ticket_id)
            event = StudioEvent(
                event_id=f"hook-{uuid.uuid4().hex[:12]}",
                at=self._clock(),
                ticket_id=call.ticket_id,
                person=await self._person(call.user_id),
                kind="submit",
                text=f"{call.action} {call.annotation_id}",
            )
            await asyncio.to_thread(self._events.append, call.round_id, event)
        except EngineError as error:
            _LOG.warning("webhook for %s: %s", call.ticket_id, error)

    async def _person(self, user_id: int) -> str:
        try:
            return await self._drafts.email(user_id)
        except DraftError:
            return ""

    def _refused(self, request: Request) -> Response | None:
        """The answer to somebody who may not come in; None for those who may."""
        header = request.headers.get("authorization")
        if basic_matches(header, user=self._config.user, password=self._config.password):
            return None
        return self._unwelcome("basic")

    def _unwelcome(self, door: str) -> Response:
        self._metrics.count("unauthorized_total", "Requests without the right secret.", door=door)
        response = _json({"error": "Not authorized."}, status=401)
        response.headers["WWW-Authenticate"] = "Basic"
        return response

    async def _body(self, request: Request) -> bytes | Response:
        """The body, or the answer to one that is too large or too slow."""
        try:
            body = await read_body(
                request.stream(),
                declared=request.headers.get("content-length"),
                limit=self._config.max_body_bytes,
                within_s=self._config.body_s,
            )
        except BodyError as error:
            return _json({"error": str(error)}, status=error.status)
        self._metrics.count("received_bytes_total", "Bytes of requests.", len(body))
        return body

    def _log(self, call: PredictRequest, outcome: Outcome, arrived: float) -> None:
        """One line for each prompt: no bodies, no names, no secrets."""
        if outcome.result == "empty":
            return
        self._count(outcome.kind, outcome.result, arrived)
        if outcome.result == "answered":
            about = "Time in the worker's hands by kind."
            self._metrics.observe("work_seconds", about, outcome.worked_s, kind=outcome.kind)
            self._metrics.observe(
                "aside_seconds", "Writing down and packing.", outcome.aside_s, kind=outcome.kind
            )
            self._metrics.observe("queue_seconds", "Time in the queue.", outcome.waited_s, kind=outcome.kind)
        _LOG.info(
            "ticket=%r kind=%s page=%s result=%s regions=%d queue_ms=%.0f work_ms=%.0f disk_ms=%.0f total_ms=%.0f",
            call.ticket_id[:120],
            outcome.kind,
            outcome.page,
            outcome.result,
            len(outcome.regions),
            outcome.waited_s * 1e3,
            outcome.worked_s * 1e3,
            outcome.aside_s * 1e3,
            (time.monotonic() - arrived) * 1e3,
        )

    def _count(self, kind: str, result: str, arrived: float) -> None:
        self._metrics.count("requests_total", "Prompts by kind and result.", kind=kind, result=result)
        seconds = time.monotonic() - arrived
        self._metrics.observe("request_seconds", "From arrival to answer.", seconds, kind=kind)


def _json(value: object, *, status: int = 200) -> Response:
    return Response(json.dumps(value), status_code=status, media_type="application/json")
