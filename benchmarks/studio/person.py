"""A person without a browser: prompts, saved drafts and hand-ins as the page of Label Studio sends them.

`Copy` is what the page would hold; `Direct` asks the model server itself, `ThroughStudio` asks Label Studio with the
session of a member who signed in.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

import httpx
import numpy as np
from numpy.typing import NDArray

from annotation.pages.bitmask import decode_bitmask
from annotation.pages.views import PageView
from annotation.site import Secrets
from annotation.site.access import sign_in
from benchmarks.studio.bench_site import Work

__all__ = ["Copy", "Direct", "Door", "ThroughStudio", "click_region", "masks_in"]

Region = dict[str, Any]
BoolMask = NDArray[np.bool_]

PATIENCE_S = 110.0


def click_region(view: PageView, page: int, x: float, y: float, *, positive: bool = True) -> Region:
    """A click at pixel (x, y) of a page, as the page sends it."""
    x_percent, y_percent = view.to_percent(x, y)
    return {
        "id": secrets.token_urlsafe(8),
        "type": "keypoint",
        "from_name": "click",
        "to_name": "frames",
        "origin": "manual",
        "original_width": view.width,
        "original_height": view.height,
        "image_rotation": 0,
        "item_index": page,
        "value": {"x": x_percent, "y": y_percent, "width": 0.2, "labels": []},
        "is_positive": positive,
    }


def masks_in(regions: Sequence[Mapping[str, Any]], view: PageView) -> dict[int, BoolMask]:
    """The masks of an answer by page, bool [h, w]."""
    return {
        int(region["item_index"]): decode_bitmask(
            region["value"]["imageDataURL"], height=view.height, width=view.width
        )
        for region in regions
        if region["from_name"] == "mask"
    }


@dataclass
class Copy:
    """What one person's page holds of a task."""

    work: Work
    email: str
    regions: dict[str, Region] = field(default_factory=dict)
    draft_id: int | None = None

    @classmethod
    def opened(cls, work: Work, email: str) -> Copy:
        """A page that was just opened: it shows the predictions."""
        predicted = work.predictions[0]["result"] if work.predictions else []
        assert isinstance(predicted, list), "made by the publisher"
        return cls(work, email, {region["id"]: dict(region) for region in predicted})

    @property
    def result(self) -> list[Region]:
        """All regions, as a draft or an annotation holds them."""
        return list(self.regions.values())

    def take(self, answer: Sequence[Region]) -> None:
        """Accept an answer: regions of known ids are replaced, others come in."""
        self.regions.update({region["id"]: dict(region) for region in answer})


class Door(Protocol):
    """Where a person's prompts go."""

    async def ask(self, copy: Copy, prompt: Region) -> list[Region]:
        """The regions of the answer. RuntimeError when there is none."""
        ...

    async def save(self, copy: Copy) -> None:
        """Save the page as a draft, as it does every five seconds."""
        ...


class Direct:
    """Asks the model server as Label Studio does, with the whole task in every request."""

    def __init__(self, url: str, secret: Secrets) -> None:
        auth = httpx.BasicAuth(secret.model_user, secret.model_password)
        self._client = httpx.AsyncClient(base_url=url, auth=auth, timeout=PATIENCE_S, trust_env=False)
        self._drafts: dict[int, Region] = {}

    async def ask(self, copy: Copy, prompt: Region) -> list[Region]:
        """The regions of the answer."""
        draft = self._drafts.get(id(copy))
        task = {
            "id": copy.work.task_id,
            "data": copy.work.data,
            "drafts": [draft] if draft else [],
            "predictions": copy.work.predictions,
            "annotations": [],
        }
        context = {"login": None, "password": None, "context": {"result": [prompt]}}
        body = {"tasks": [task], "project": "1.1", "label_config": "", "params": context}
        return _regions(await self._client.post("/predict", json=body))

    async def save(self, copy: Copy) -> None:
        """Remember the page for the next request."""
        now = datetime.now(UTC).isoformat()
        self._drafts[id(copy)] = {
            "id": id(copy),
            "user": copy.email,
            "result": copy.result,
            "updated_at": now,
        }

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class ThroughStudio:
    """Asks Label Studio, as the browser of a member who signed in."""

    def __init__(self, url: str, project: int, *, email: str, password: str) -> None:
        with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as visitor:
            if not sign_in(visitor, email, password):
                raise RuntimeError(f"Label Studio refuses {email}")
            cookies, token = dict(visitor.cookies), visitor.headers["X-CSRFToken"]
            backends = visitor.get("/api/ml/", params={"project": project}).raise_for_status().json()
        self._backend = backends[0]["id"]
        self._client = httpx.AsyncClient(
            base_url=url,
            cookies=cookies,
            headers={"X-CSRFToken": token, "Referer": url},
            timeout=PATIENCE_S,
            trust_env=False,
        )

    async def ask(self, copy: Copy, prompt: Region) -> list[Region]:
        """The regions of the answer."""
        body = {"task": copy.work.task_id, "context": {"result": [prompt]}}
        path = f"/api/ml/{self._backend}/interactive-annotating"
        answer = await self._client.post(path, json=body)
        return _regions(answer, wrapped=True)

    async def save(self, copy: Copy) -> None:
        """Make the draft, or bring it up to date."""
        values = {"result": copy.result, "lead_time": 1.0}
        if copy.draft_id is None:
            made = await self._client.post(f"/api/tasks/{copy.work.task_id}/drafts", json=values)
            copy.draft_id = int(_checked(made).json()["id"])
        else:
            _checked(await self._client.patch(f"/api/drafts/{copy.draft_id}/", json=values))

    async def hand_in(self, copy: Copy) -> int:
        """Submit the annotation; returns its number."""
        values = {"result": copy.result, "lead_time": 1.0, "draft_id": copy.draft_id or 0}
        made = await self._client.post(f"/api/tasks/{copy.work.task_id}/annotations/", json=values)
        return int(_checked(made).json()["id"])

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _regions(answer: httpx.Response, *, wrapped: bool = False) -> list[Region]:
    value = _checked(answer).json()
    results = value["data"] if wrapped else value["results"]
    found = results if isinstance(results, dict) else results[0]
    regions: list[Region] = found["result"]
    return regions


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code not in (HTTPStatus.OK, HTTPStatus.CREATED):
        raise RuntimeError(f"{answer.status_code} from {answer.url}: {answer.text[:300]}")
    return answer
