"""What the model server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ServerConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Secrets, bounds and patience of the model server.

    user, password: Basic auth of Label Studio's requests. webhook_secret: what its webhook carries in the header
    `X-Engine-Secret`. model_version: what Label Studio calls our answers.
    """

    user: str
    password: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    model_version: str = "engine"
    max_body_bytes: int = 16 << 20  # of one request; a page of 100 frames sends about 1 MB
    body_s: float = 20.0  # how long a body may take to arrive
    queue: int = 16  # jobs that may wait for the network
    deadline_s: float = 85.0  # from arrival to answer; Label Studio gives up after 100 s
    session_bytes: int = 2 << 30  # sittings kept in memory; the least recently used go first
    rate_per_s: float = 8.0  # requests of one ticket in the long run
    rate_burst: int = 40  # and at once
    draft_wait_s: float = 8.0  # how long a command waits for the page's draft, which is saved every 5 s
    draft_poll_s: float = 0.4
    repeat_s: float = (
        1.0  # an answer sent so shortly before the next request may have been dropped by the page
    )
    settle_s: float = 1.0  # a draft saved so shortly after an answer may not hold it yet
    stranger_s: float = 20.0  # a page that saved no draft for so long after an answer has been left
    watch_s: float = 5.0  # how often drafts of active tickets are looked at; 0: never
    active_s: float = 180.0  # a ticket is active for so long after the last sign of life

    def __post_init__(self) -> None:
        for name in ("user", "password", "webhook_secret"):
            if not getattr(self, name):
                raise ValueError(
                    f"the model server needs a {name.replace('_', ' ')}; an empty one keeps nobody out"
                )
        if self.queue < 1 or self.max_body_bytes < 1 or not 0 < self.deadline_s < 100:
            raise ValueError(
                f"queue ({self.queue}) and max_body_bytes ({self.max_body_bytes}) must be at least 1, deadline_s "
                f"({self.deadline_s}) below Label Studio's 100"
            )
