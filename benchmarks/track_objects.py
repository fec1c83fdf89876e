"""What tracking costs, and what putting objects into one batch saves, in processor time of one thread.

Features are cached first, so the numbers are those of memory attention, heads and memory encoder. Run:
``python -m benchmarks.track_objects``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.network.builder import build_sam2
from model.network.sam2 import Sam2
from model.video.video_session import SessionConfig, VideoSession

WARM_UP = 8  # frames until the memory bank is full


@dataclass(frozen=True)
class NoiseFrames:
    """Random frames; the content does not matter for time."""

    count: int
    height: int = 240
    width: int = 320

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        shape = (self.height, self.width, 3)
        return np.random.default_rng(index).integers(0, 256, shape, dtype=np.uint8)


def encode_ms(model: Sam2, *, repeats: int) -> float:
    """Milliseconds to encode one frame."""
    images = model.preprocess(torch.from_numpy(NoiseFrames(1)[0])[None])
    with torch.inference_mode():
        model.encode_images(images)
        start = time.process_time()
        for _ in range(repeats):
            model.encode_images(images)
    return (time.process_time() - start) / repeats * 1000


def track_ms(model: Sam2, *, objects: int, batch: int, frames: int) -> float:
    """Milliseconds a frame to track `objects`, `batch` of them at a time, features already encoded."""
    config = SessionConfig(object_batch=batch)
    session = VideoSession(model, NoiseFrames(WARM_UP + frames), config=config)
    mask = np.zeros((240, 320), dtype=np.bool_)
    mask[60:120, 60:120] = True
    for object_id in range(objects):
        session.add_mask(0, object_id, mask)
    for _ in session.propagate():
        pass
    start = time.process_time()
    for _ in session.propagate(start=WARM_UP):
        pass
    return (time.process_time() - start) / frames * 1000


def main() -> None:
    """Prints one line an image size and number of objects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="nano")
    parser.add_argument("--frames", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for image_size in (128, 256):
        model = build_sam2(options.size, image_size=image_size)
        print(f"{options.size} at {image_size} px: encode {encode_ms(model, repeats=10):.0f} ms a frame")
        for objects in (1, 4, 16):
            together = track_ms(model, objects=objects, batch=objects, frames=options.frames)
            alone = track_ms(model, objects=objects, batch=1, frames=options.frames)
            print(f"  {objects:2d} objects: {together:4.0f} ms in one batch, {alone:4.0f} ms one by one")


if __name__ == "__main__":
    main()
