"""The table of a model's scores on a set of videos, by protocol and group of objects, for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.judging.protocols import Step, Tell, answer
from engine.judging.suites import FROZEN, clip_kind, digest
from model.network.sam2 import Sam2
from model.video.session_config import SessionConfig
from qa.baselines import ImageScore, image_miou
from qa.breakdown import GroupScore, breakdown, object_kinds, overall
from qa.evaluation import EvaluationVideo
from qa.metric_rows import MetricRow

__all__ = ["ProtocolScore", "ScoreTable", "measure"]

EVALUATION = "evaluation"
"""What the table of the frozen evaluation set is called."""


@dataclass(frozen=True, slots=True)
class ProtocolScore:
    """What one protocol gave: all objects, groups of them, and a curve where a person corrects."""

    name: str
    whole: GroupScore
    groups: tuple[GroupScore, ...]
    curve: tuple[Step, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The numbers for scripts, rounded to hundredths."""
        whole, *groups = (_rounded(each) for each in (self.whole, *self.groups))
        facts = {**whole, "groups": {each.pop("group"): each for each in groups}}
        del facts["group"]
        return {**facts, "curve": [_rounded(step) for step in self.curve]} if self.curve else facts


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All scores of a weights file on a set of videos; `suite` and `digest` are empty for the frozen evaluation set.

    `frozen` is false where a suite is drawn by code and not as it was frozen, so that its numbers do not compare
    with others; None for other sets. `pictures` is one click on single pictures, if it was asked for.
    """

    suite: str
    digest: str
    frozen: bool | None
    checkpoint: str
    protocols: tuple[ProtocolScore, ...]
    pictures: ImageScore | None = None

    def facts(self) -> dict[str, Any]:
        """Everything for scripts."""
        return {
            "suite": self.suite,
            "digest": self.digest,
            "frozen": self.frozen,
            "checkpoint": self.checkpoint,
            "protocols": {each.name: each.facts() for each in self.protocols},
            "pictures": None if self.pictures is None else asdict(self.pictures),
        }

    def markdown(self) -> str:
        """The scores as Markdown: by protocol, then J&F of groups of objects."""
        return "\n".join(self._lines()) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Writes the table as Markdown and as JSON, named after the suite; returns the paths."""
        folder.mkdir(parents=True, exist_ok=True)
        texts = {".md": self.markdown(), ".json": json.dumps(self.facts(), indent=2) + "\n"}
        paths = [folder / f"{self.suite or EVALUATION}{ending}" for ending in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text, encoding="utf-8")
        return paths

    def _lines(self) -> Iterator[str]:
        if self.frozen is False:
            yield from ("**Not the frozen suite: do not compare these numbers with others.**", "")
        what = f"Suite `{self.suite}` ({self.digest})" if self.suite else "Evaluation videos"
        yield from (f"{what}, weights {self.checkpoint[:12]}", "")
        yield from _table(
            ("protocol", "J", "F", "J&F", "95 % interval", "objects"),
            [(each.name, *_cells(each.whole), str(each.whole.objects)) for each in self.protocols],
        )
        yield from ("", "J&F of groups of objects:", "")
        counts = {group.group: group.objects for each in self.protocols for group in each.groups}
        found = [{group.group: group.jf for group in each.groups} for each in self.protocols]
        rows = [(f"{name} ({count})", *(f"{jf[name]:.1f}" for jf in found)) for name, count in counts.items()]
        yield from _table(("objects", *(each.name for each in self.protocols)), rows)
        if self.pictures is not None:
            yield ""
            yield (
                f"1 click on {self.pictures.objects} objects of single pictures: mean IoU "
                f"{self.pictures.chosen:.3f} (best of the candidates: {self.pictures.oracle:.3f})"
            )


def measure(
    model: Sam2,
    videos: Sequence[EvaluationVideo],
    protocols: Sequence[str],
    *,
    session_config: SessionConfig,
    suite: str = "",
    checkpoint: str = "",
    pictures: bool = False,
    tell: Tell | None = None,
) -> ScoreTable:
    """Scores a model by each of the protocols, of which any may be a baseline, and on single pictures if asked for.

    There is at least one object that can be scored.
    """
    found = digest(videos) if suite else ""
    scores = tuple(_score(name, model, videos, session_config, tell) for name in protocols)
    still = image_miou(model, videos, progress=_part(tell, "single pictures")) if pictures else None
    frozen = found == FROZEN[suite] if suite in FROZEN else None
    return ScoreTable(suite, found, frozen, checkpoint, scores, still)


def _score(
    name: str,
    model: Sam2,
    videos: Sequence[EvaluationVideo],
    session_config: SessionConfig,
    tell: Tell | None,
) -> ProtocolScore:
    answered = answer(name, model, videos, session_config=session_config, progress=_part(tell, name))
    whole, *groups = breakdown(answered.rows, object_kinds(videos))
    return ProtocolScore(name, whole, (*groups, *_by_clip_kind(answered.rows)), answered.curve)


def _part(tell: Tell | None, what: str) -> partial[None] | None:
    return None if tell is None else partial(tell, what)


def _by_clip_kind(rows: Sequence[MetricRow]) -> list[GroupScore]:
    """The objects of a drawn suite by what happens in their clip."""
    kinds: dict[str, list[MetricRow]] = {}
    for row in rows:
        if kind := clip_kind(row.video_id):
            kinds.setdefault(kind, []).append(row)
    return [overall(members, kind) for kind, members in kinds.items()]


def _rounded(score: GroupScore | Step) -> dict[str, Any]:
    return {
        key: round(value, 2) if isinstance(value, float) else value for key, value in asdict(score).items()
    }


def _cells(score: GroupScore) -> tuple[str, ...]:
    return (f"{score.j:.1f}", f"{score.f:.1f}", f"{score.jf:.1f}", score.interval_words)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cells) + " |"
