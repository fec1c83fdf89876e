"""Asking Label Studio what pages have saved: a small client with one purpose; the SDK knows no drafts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

import httpx

from annotation.errors import AnnotationError, PageError
from annotation.server.wire import Draft, read_drafts

__all__ = ["DraftError", "DraftSource", "LabelStudioDrafts"]

_TOKEN_LIFE_S = 240.0  # Label Studio's access tokens live 300 s


class DraftError(PageError):
    """Label Studio cannot be asked for drafts now; the message says why and holds no token."""


class DraftSource(Protocol):
    """Where saved pages can be read."""

    async def drafts(self, task_id: int) -> tuple[Draft, ...]:
        """Everybody's drafts of a task. DraftError if they cannot be had now."""
        ...

    async def email(self, user_id: int) -> str:
        """A user's e-mail address, empty if unknown."""
        ...


class LabelStudioDrafts:
    """Drafts and addresses through Label Studio's API, with a personal access token.

    access: its URL and the token, read anew for every fresh access token, since both may come after us.
    """

    def __init__(
        self,
        access: Callable[[], tuple[str, str]],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = 4.0,
    ) -> None:
        self._access = access
        self._client = httpx.AsyncClient(transport=transport, timeout=timeout_s, trust_env=False)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._url = self._token = ""
        self._fresh_until = 0.0
        self._emails: dict[int, str] = {}

    async def drafts(self, task_id: int) -> tuple[Draft, ...]:
        """Everybody's drafts of a task."""
        return read_drafts(await self._get(f"/api/tasks/{task_id}/drafts"))

    async def email(self, user_id: int) -> str:
        """A user's e-mail address, asked for once."""
        if user_id not in self._emails:
            value = await self._get(f"/api/users/{user_id}")
            self._emails[user_id] = str(value.get("email") or "") if isinstance(value, dict) else ""
        return self._emails[user_id]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _get(self, path: str) -> Any:
        """The JSON at a path; a token that was refused is replaced once."""
        response = await self._ask(path)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._fresh_until = 0.0
            response = await self._ask(path)
        if response.status_code != httpx.codes.OK:
            raise DraftError(f"Label Studio answers {response.status_code} to {path}.")
        try:
            return response.json()
        except ValueError as error:
            raise DraftError(f"Label Studio's answer to {path} is not JSON.") from error

    async def _ask(self, path: str) -> httpx.Response:
        await self._renew()
        try:
            return await self._client.get(
                self._url + path, headers={"Authorization": f"Bearer {self._token}"}
            )
        except httpx.HTTPError as error:
            raise DraftError(f"Label Studio does not answer {path}: {type(error).__name__}.") from error

    async def _renew(self) -> None:
        """A fresh access token, unless there is one."""
        async with self._lock:
            if self._clock() < self._fresh_until:
                return
            try:
                url, token = self._access()
                response = await self._client.post(f"{url}/api/token/refresh", json={"refresh": token})
                self._token = str(response.raise_for_status().json()["access"])
            except AnnotationError as error:
                raise DraftError(f"Label Studio cannot be asked: {error}") from error
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                raise DraftError(f"Label Studio gives no access token: {type(error).__name__}.") from error
            self._url, self._fresh_until = url, self._clock() + _TOKEN_LIFE_S
