"""Getting in: the admin's session and personal access token, and requests made with it.

Label Studio's legacy tokens, which never expire and go to every model server, are switched off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx

from annotation.errors import SiteError
from annotation.site.records import Secrets

__all__ = ["Api", "browser", "ensure_token", "open_api", "refuse_legacy_tokens", "sign_in"]

PATIENCE_S = 60.0
LIST_LENGTH = 10_000


class Api:
    """Requests to Label Studio as its admin; an answer that is no success is a SiteError."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str, **params: Any) -> Any:
        """What is at `path`."""
        return self._ask("GET", path, params=params)

    def list(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """What is listed at `path`, be it in pages or not."""
        found = self.get(path, **params, page_size=LIST_LENGTH)
        return list(found["results"] if isinstance(found, dict) else found)

    def post(self, path: str, values: dict[str, Any]) -> Any:
        """Make something."""
        return self._ask("POST", path, json=values)

    def patch(self, path: str, values: dict[str, Any]) -> Any:
        """Change something."""
        return self._ask("PATCH", path, json=values)

    def delete(self, path: str) -> None:
        """Remove something."""
        self._ask("DELETE", path)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise unreachable(str(self._client.base_url), error) from error
        if answer.is_error:
            raise SiteError(
                f"Label Studio answers {answer.status_code} to {method} {path}: {_reason(answer)}"
            )
        return answer.json() if answer.content else None


@contextmanager
def open_api(url: str, secrets: Secrets) -> Iterator[Api]:
    """Label Studio at `url`, as its admin, for the five minutes an access token is good for."""
    with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
        access = _access_token(client, secrets.token)
        if access is None:
            raise SiteError("Label Studio does not take the engine's token any more: run `engine studio up`.")
        client.headers["Authorization"] = f"Bearer {access}"
        yield Api(client)


def ensure_token(url: str, secrets: Secrets) -> Secrets | None:
    """The secrets with a token that is good, made anew if need be; None when the admin's password is refused."""
    with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
        if secrets.token and _access_token(client, secrets.token) is not None:
            return secrets
    with browser(url) as client:
        if not sign_in(client, secrets.admin_email, secrets.admin_password):
            return None
        api = Api(client)
        refuse_legacy_tokens(api)
        for old in api.get("/api/token/"):
            api.post("/api/token/blacklist/", {"refresh": old["token"]})
        return replace(secrets, token=api.post("/api/token/", {})["token"])


def refuse_legacy_tokens(api: Api) -> None:
    """Let nobody in with a token of the old kind; any member can allow them again, so this is said at every start."""
    api.post("/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": False})


@contextmanager
def browser(url: str) -> Iterator[httpx.Client]:
    """A client that keeps cookies as a browser does, also those for https only: we never leave the machine."""

    def relax(_: httpx.Response) -> None:
        for cookie in client.cookies.jar:
            cookie.secure = False

    with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
        client.event_hooks = {"response": [relax]}
        yield client


def sign_in(client: httpx.Client, email: str, password: str) -> bool:
    """Log in through the form, as a person does; whether it was accepted."""
    answer = post_form(client, "/user/login/", {"email": email, "password": password})
    client.headers["X-CSRFToken"] = _csrf(client)
    return answer.status_code == 302


def post_form(client: httpx.Client, path: str, values: dict[str, str]) -> httpx.Response:
    """Open a page with a form and send it filled in."""
    try:
        client.get(path)
        token = {"csrfmiddlewaretoken": _csrf(client)}
        return client.post(path, data=values | token, headers={"Referer": str(client.base_url.join(path))})
    except httpx.HTTPError as error:
        raise unreachable(str(client.base_url), error) from error


def unreachable(url: str, error: httpx.HTTPError) -> SiteError:
    """Nobody answers."""
    return SiteError(f"Label Studio does not answer at {url} ({error}): see `engine studio status`.")


def _csrf(client: httpx.Client) -> str:
    return client.cookies.get("csrftoken") or ""


def _access_token(client: httpx.Client, token: str) -> str | None:
    try:
        answer = client.post("/api/token/refresh/", json={"refresh": token})
    except httpx.HTTPError as error:
        raise unreachable(str(client.base_url), error) from error
    return str(answer.json()["access"]) if answer.is_success else None


def _reason(answer: httpx.Response) -> str:
    """What Label Studio says, short and without its own stack trace."""
    try:
        said = answer.json()
    except ValueError:
        return answer.reason_phrase
    if not isinstance(said, dict):
        return str(said)[:500]
    return str(said.get("validation_errors") or said.get("detail") or answer.reason_phrase)[:500]
