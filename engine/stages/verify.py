"""verify: the verdicts on the planned masklets (SAM 2, §5.1), once all of them are final."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.stages.annotate import annotation_bench
from engine.stages.base import Finished, Row, StageContext, Unsharded, Waiting
from engine.workbench import MaskletWork, Workbench
from storage.manifests import FileRef


class Verify(Unsharded):
    """Other people judged whole masklets."""

    name = "verify"

    def finish(self, context: StageContext, shards: Mapping[int, tuple[FileRef, ...]]) -> Finished | Waiting:
        """Write every verdict; waits only if a masklet is unexpectedly open."""
        bench = annotation_bench(context)
        if not bench.done:
            return Waiting(bench.describe())
        rows = list(verdict_rows(bench))
        verdicts = [row["verdict"] for row in rows]
        summary = {name: verdicts.count(name) for name in ("satisfactory", "unsatisfactory", "rejected")}
        return Finished((context.write("verdicts", rows),), dict(summary))


def verdict_rows(bench: Workbench) -> Iterable[Row]:
    """Rows of the `verdicts` manifest."""
    for work in bench.works:
        yield from _rows(work, bench.desk)


def _rows(work: MaskletWork, desk: str) -> Iterable[Row]:
    for judged in work.verdicts:
        bad = judged.verdict.bad_range
        yield {
            "masklet_id": work.candidate.masklet_id,
            "revision": judged.revision,
            "verifier": judged.verifier,
            "verdict": judged.verdict.verdict,
            "reason": judged.verdict.reason,
            "bad_from": bad[0] if bad else None,
            "bad_to": bad[1] if bad else None,
            "duration_s": judged.duration_s,
            "desk": desk,
        }
