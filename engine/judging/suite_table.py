"""The table of a held-out suite for a weights file, with what needs no network beside it, and pictures.

    python -m engine.judging.suite_table runs/nano/nano.safetensors --suite drawn --out runs/nano/drawn

prints the table, and writes it as Markdown and JSON and one strip of frames a clip: the truth outlined in white,
the answer in a colour an object. A movie that is kept for the last measurement should be measured once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from engine.judging.suites import FROZEN, HELD_OUT, digest, held_out
from model.files.checkpoints import checkpoint_hash, load_checkpoint
from model.network.sam2 import Sam2
from model.video.video_session import VideoSession
from qa.baselines import evaluate_nearest_colour, image_miou
from qa.evaluation import PLAIN, EvaluationVideo, evaluate, evaluate_copy, evaluating, prompter
from qa.metric_rows import MetricRow

PROTOCOLS = ("mask", "3-click", "1-click")
STRIP_FRAMES = 6
STRIP_PX = 256
OUTLINES = ((255, 80, 60), (60, 220, 90), (80, 150, 255), (255, 210, 40), (220, 90, 255), (40, 220, 220))

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SuiteScore:
    """One line of the table, in percent: means over objects. `by_kind` is J&F by the kind of a drawn clip."""

    measure: str
    j: float
    f: float
    jf: float
    objects: int
    by_kind: dict[str, float]


@dataclass(frozen=True, slots=True)
class SuiteTable:
    """All scores of a weights file on a suite.

    `one_click_miou` and `oracle_miou` (0…1): one click on single pictures, the answer chosen by the model and the
    best of its answers. `frozen` is false where the suite is not the one that was frozen, so that its numbers do
    not compare; None where a suite is not drawn by code.
    """

    suite: str
    checkpoint: str
    digest: str
    frozen: bool | None
    scores: tuple[SuiteScore, ...]
    one_click_miou: float
    oracle_miou: float
    pictures: int

    def markdown(self) -> str:
        """The table as Markdown."""
        kinds = list(dict.fromkeys(kind for score in self.scores for kind in score.by_kind))
        lines = [f"Suite `{self.suite}` ({self.digest}), weights {self.checkpoint[:12]}", ""]
        if self.frozen is False:
            lines[:0] = ["**Not the frozen suite: do not compare these numbers with others.**", ""]
        lines += [_line(["", "J", "F", "J&F", "objects", *kinds]), _line(["---"] * (5 + len(kinds)))]
        for score in self.scores:
            numbers = [f"{value:.1f}" for value in (score.j, score.f, score.jf)]
            cells = [f"{score.by_kind[kind]:.1f}" if kind in score.by_kind else "" for kind in kinds]
            lines.append(_line([score.measure, *numbers, str(score.objects), *cells]))
        lines += [
            "",
            f"1 click on {self.pictures} objects of single pictures: mean IoU {self.one_click_miou:.3f}",
        ]
        lines[-1] += f" (best of the candidates: {self.oracle_miou:.3f})"
        return "\n".join(lines) + "\n"


def measure(
    model: Sam2,
    suite: str,
    videos: Sequence[EvaluationVideo],
    *,
    checkpoint: str = "",
    protocols: Sequence[str] = PROTOCOLS,
    tell: Tell | None = None,
) -> SuiteTable:
    """Scores a model on the videos of a suite, and both baselines."""
    say: Tell = tell or (lambda _: None)
    found = digest(videos)
    rows = [evaluate_copy(videos), evaluate_nearest_colour(videos)]
    say("one click on single pictures")
    image = image_miou(model, videos)
    for protocol in protocols:
        say(protocol)
        with torch.inference_mode():
            rows.append(evaluate(model, videos, protocol=protocol))
    return SuiteTable(
        suite=suite,
        checkpoint=checkpoint,
        digest=found,
        frozen=found == FROZEN[suite] if suite in FROZEN else None,
        scores=tuple(_score(each) for each in rows),
        one_click_miou=image.chosen,
        oracle_miou=image.oracle,
        pictures=image.objects,
    )


def write_strips(
    model: Sam2, videos: Sequence[EvaluationVideo], folder: Path, *, protocol: str = "mask"
) -> list[Path]:
    """A strip of frames a video as PNG: true outlines white, the model's coloured; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with evaluating(model), torch.inference_mode():
        for video in videos:
            path = folder / f"{video.video_id}-{protocol}.png"
            PIL.Image.fromarray(_strip(model, video, protocol)).save(path)
            paths.append(path)
    return paths


def _strip(model: Sam2, video: EvaluationVideo, protocol: str) -> NDArray[np.uint8]:
    """The frames side by side, uint8 [h,w,3]; objects that appear after the first frame are left out."""
    starts = [object_id for object_id, start in video.starts().items() if start == 0]
    session = VideoSession(model, video.frames, config=PLAIN)
    for object_id in starts:
        prompter(protocol)(session, 0, object_id, video.mask(object_id, 0))
    shown = np.linspace(0, len(video.frames) - 1, min(STRIP_FRAMES, len(video.frames))).round().astype(int)
    pictures = []
    for result in session.propagate(start=0) if starts else ():
        if result.frame in shown:
            answers = dict(zip(result.object_ids, result.each_mask(), strict=True))
            pictures.append(_outlined(video, result.frame, answers))
    return np.concatenate(pictures, axis=1) if pictures else np.zeros((STRIP_PX, STRIP_PX, 3), np.uint8)


def _outlined(
    video: EvaluationVideo, position: int, answers: dict[int, NDArray[np.bool_]]
) -> NDArray[np.uint8]:
    scale = STRIP_PX / video.frames.height
    size = (round(video.frames.width * scale), STRIP_PX)
    picture = np.asarray(cv2.resize(video.frames[position], size, interpolation=cv2.INTER_LINEAR), np.uint8)
    for number, (object_id, answer) in enumerate(answers.items()):
        if video.frame_numbers[position] in video.truth[object_id]:
            _outline(picture, video.mask(object_id, position), (255, 255, 255), 1)
        _outline(picture, answer, OUTLINES[number % len(OUTLINES)], 1)
    return picture


def _outline(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int], width: int
) -> None:
    size = (picture.shape[1], picture.shape[0])
    scaled = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(scaled, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, width)


def _score(rows: Sequence[MetricRow]) -> SuiteScore:
    *objects, mean = rows
    kinds: dict[str, list[float]] = {}
    for row in objects:
        if row.video_id.startswith("drawn-"):
            kinds.setdefault(row.video_id.rpartition("-")[2], []).append(row.jf)
    by_kind = {kind: float(np.mean(values)) for kind, values in kinds.items()}
    return SuiteScore(mean.protocol, mean.j, mean.f, mean.jf, len(objects), by_kind)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--suite", choices=HELD_OUT, default="drawn")
    parser.add_argument("--out", type=Path, required=True, help="folder for the table and the pictures")
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS), metavar="NAME")
    parser.add_argument("--strips", type=int, default=12, help="how many videos to draw")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    videos = held_out(options.suite)
    model = load_checkpoint(options.checkpoint)
    table = measure(
        model,
        options.suite,
        videos,
        checkpoint=checkpoint_hash(options.checkpoint),
        protocols=options.protocols,
        tell=lambda text: print(text, flush=True),
    )
    options.out.mkdir(parents=True, exist_ok=True)
    text = table.markdown()
    (options.out / f"{options.suite}.md").write_text(text, encoding="utf-8")
    (options.out / f"{options.suite}.json").write_text(json.dumps(asdict(table), indent=2), encoding="utf-8")
    chosen = np.linspace(0, len(videos) - 1, min(options.strips, len(videos))).round().astype(int)
    write_strips(model, [videos[int(number)] for number in chosen], options.out)
    print(text)


if __name__ == "__main__":
    main()
