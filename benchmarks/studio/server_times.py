"""The model server's own account of time, read from its metrics before and after something is done."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

from annotation.site import Secrets

__all__ = ["ServerTimes", "Spent"]

_SUM = re.compile(r"^engine_model_server_(\w+)_sum(?:\{[^}]*\})? ([0-9.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds since the server started: on requests from arrival to answer, and those the network was held."""

    server_s: float
    model_s: float


class ServerTimes:
    """Reads the sums of the server's histograms."""

    def __init__(self, url: str, secret: Secrets) -> None:
        auth = httpx.BasicAuth(secret.model_user, secret.model_password)
        self._client = httpx.Client(base_url=url, auth=auth, timeout=30.0, trust_env=False)

    def read(self) -> Spent:
        """Where the sums stand now."""
        text = self._client.get("/metrics").raise_for_status().text
        sums: dict[str, float] = {}
        for name, value in _SUM.findall(text):
            sums[name] = sums.get(name, 0.0) + float(value)
        return Spent(sums.get("request_seconds", 0.0), sums.get("work_seconds", 0.0))
