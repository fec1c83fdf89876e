"""What a model's answers look like: a strip of frames a video, the truth outlined in white."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from model.network.sam2 import Sam2
from model.video.session_config import SessionConfig
from model.video.video_session import VideoSession
from qa.evaluation import PLAIN, EvaluationVideo, evaluating, prompter

STRIPS = 12
STRIP_FRAMES = 6
STRIP_PX = 256
OUTLINES = ((255, 80, 60), (60, 220, 90), (80, 150, 255), (255, 210, 40), (220, 90, 255), (40, 220, 220))


def write_strips(
    model: Sam2,
    videos: Sequence[EvaluationVideo],
    folder: Path,
    *,
    protocol: str = "mask",
    session_config: SessionConfig = PLAIN,
) -> list[Path]:
    """A strip of frames as PNG for at most twelve of the videos, evenly chosen; returns the paths.

    Objects that the first frame shows are prompted there; answers are outlined in a colour an object.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = np.linspace(0, len(videos) - 1, min(STRIPS, len(videos))).round().astype(int)
    paths = []
    with evaluating(model), torch.inference_mode():
        for video in (videos[int(number)] for number in chosen):
            path = folder / f"{video.video_id}-{protocol}.png"
            PIL.Image.fromarray(_strip(model, video, protocol, session_config)).save(path)
            paths.append(path)
    return paths


def _strip(
    model: Sam2, video: EvaluationVideo, protocol: str, session_config: SessionConfig
) -> NDArray[np.uint8]:
    """The frames side by side, uint8 [h,w,3]; objects that appear after the first frame are left out."""
    starts = [object_id for object_id, start in video.starts().items() if start == 0]
    session = VideoSession(model, video.frames, config=session_config)
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
