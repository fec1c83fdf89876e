"""Who may come in, how much they may bring, and how often. Nothing secret is ever part of a message."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections import OrderedDict
from collections.abc import AsyncIterator

__all__ = ["BodyError", "RateLimit", "basic_matches", "read_body", "secret_matches"]

_KEPT_KEYS = 1024


class BodyError(Exception):
    """A request's body is too large or too slow; `status` is the HTTP status to answer with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def basic_matches(header: str | None, *, user: str, password: str) -> bool:
    """Whether an Authorization header is Basic with this user and password; takes the same time for any wrong one."""
    scheme, _, encoded = (header or "").partition(" ")
    try:
        given = base64.b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        given = b""
    return hmac.compare_digest(given, f"{user}:{password}".encode())


def secret_matches(header: str | None, secret: str) -> bool:
    """Whether a header is the secret; takes the same time for any wrong one."""
    return hmac.compare_digest((header or "").encode(), secret.encode())


async def read_body(
    stream: AsyncIterator[bytes], *, declared: str | None, limit: int, within_s: float
) -> bytes:
    """A body of at most `limit` bytes, however long it says it is. BodyError when it is larger, or takes too long."""
    if declared is not None and declared.isdecimal() and int(declared) > limit:
        raise BodyError(413, f"The body has {declared} bytes; at most {limit} are taken.")
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for part in stream:
                body += part
                if len(body) > limit:
                    raise BodyError(413, f"The body has more than {limit} bytes.")
    except TimeoutError:
        raise BodyError(408, f"The body did not arrive within {within_s:g} seconds.") from None
    return bytes(body)


class RateLimit:
    """At most `per_s` a second and key in the long run, and `burst` at once (a token bucket for each key)."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: OrderedDict[object, tuple[float, float]] = OrderedDict()  # key -> (tokens, when)

    def allows(self, key: object, now: float) -> bool:
        """Whether one more is within bounds; it is counted if so."""
        tokens, before = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - before) * self._per_s)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens), now
        while len(self._buckets) > _KEPT_KEYS:
            self._buckets.popitem(last=False)
        return allowed
