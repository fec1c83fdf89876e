"""SAM on single frames: what it remembers of frames and of its own answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from annotation.assistance import ImageAssistant, SessionTools
from annotation.encoded_frames import ImageCache, Shelf, image_bytes
from model.image.image_predictor import ImagePredictor
from model.prompts import Click
from model.sam1.config import Sam1Config
from model.sam1.sam1 import Sam1
from tests.annotation.discs import DiscVideo

VIDEO = DiscVideo([(20.0, 20.0), (24.0, 22.0), (30.0, 24.0)])
KEY = VIDEO.video_id, VIDEO.numbers


class CountingFrames:
    """The video, with a note of every frame that was asked for."""

    height, width = VIDEO.height, VIDEO.width

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(VIDEO)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        self.asked.append(index)
        return VIDEO[index]


def assistant_for(network, frames=VIDEO, *, kept_images=8):
    predictor = ImagePredictor(network)
    predictor.set_image(VIDEO[0])
    shelf = Shelf(kept_images * image_bytes(predictor.image), ImageCache)
    return ImageAssistant(ImagePredictor(network), frames, shelf.open(KEY))


def test_frames_seen_lately_are_not_encoded_again(model):
    frames = CountingFrames()
    assistant = assistant_for(model, frames, kept_images=2)
    first = assistant.answer(0, [Click(20, 20)], None)
    for position in (1, 0, 1, 2, 1, 0):
        assistant.start_from(position, None)
        last = assistant.answer(position, [Click(20, 20)], None)
    assert frames.asked == [0, 1, 2, 0]  # frame 0 had to make room for frame 2
    assert np.array_equal(first.mask, last.mask) and first.score == last.score


def test_an_earlier_answer_is_a_prompt_until_it_is_forgotten(model):
    assistant = assistant_for(model)
    clicks = [Click(20, 20), Click(5, 5, False)]
    fresh = assistant.answer(0, clicks, None)
    assert assistant.answer(0, clicks, None).score != fresh.score
    assistant.start_from(0, None)
    assert assistant.answer(0, clicks, None).score == fresh.score


@pytest.mark.parametrize("with_sam", [True, False])
def test_a_sam_of_its_own_makes_the_masks_of_single_frames(model, with_sam):
    sam = Sam1(
        Sam1Config(size="x", width=8, depth=1, heads=1, global_blocks=(), image_size=64, dim=32)
    ).eval()
    tools = SessionTools(model, sam=sam if with_sam else None)
    found = tools.image_assistant(KEY, VIDEO).answer(0, [Click(20, 20)], None)
    alone = assistant_for(sam if with_sam else model).answer(0, [Click(20, 20)], None)
    assert 0 <= found.score <= 1
    assert found.score == alone.score and np.array_equal(found.mask, alone.mask)
