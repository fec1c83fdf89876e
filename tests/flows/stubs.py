"""A stage that does nothing, as it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.stages.base import Finished, StageContext, Waiting
from storage.manifests import FileRef

CHALLENGER = "c" * 64


@dataclass
class StubStage:
    """Does nothing: `errors` come first, one a call; then `waits` times people are at work."""

    name: str
    shards: int = 0
    summary: dict[str, int | float | str] = field(default_factory=dict)
    waits: int = 0
    errors: list[Exception] = field(default_factory=list)
    worked_on: list[int] = field(default_factory=list)

    def shard_count(self, context: StageContext) -> int:
        return self.shards

    def run_shard(self, context: StageContext, shard: int) -> tuple[FileRef, ...]:
        if self.errors:
            raise self.errors.pop(0)
        self.worked_on.append(shard)
        return ()

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        assert sorted(shards) == list(range(self.shards)), "finished with open shards"
        if self.waits:
            self.waits -= 1
            return Waiting("3 of 8 masklets done")
        return Finished((), self.summary)
