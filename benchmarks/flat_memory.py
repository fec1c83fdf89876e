"""Whether a session's memory grows with its video: peak memory after tracking videos of several lengths.

Each length runs in a process of its own, with everything an annotation tool does: two objects, corrections, locked
frames, undo, masks leaving as run lengths. Budgets are small, so that all of them are spent within the shortest
video. Run: ``python -m benchmarks.flat_memory``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.network.builder import build_sam2
from model.prompts import Click
from model.video.video_session import SessionConfig, VideoSession

HEIGHT, WIDTH = 120, 160
CONFIG = SessionConfig(
    memory_bytes=2 * 2**20,
    feature_cache_bytes=2**20,
    conditioned_cache_bytes=2**20,
    revision_bytes=2**20,
)


@dataclass(frozen=True)
class DriftingDisc:
    """A bright disc that drifts over noise, in a video of any length."""

    count: int
    height: int = HEIGHT
    width: int = WIDTH

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        rgb = np.random.default_rng(index).integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        rgb[disc(index)] = 230
        return rgb


def disc(index: int) -> NDArray[np.bool_]:
    """Where the disc is on a frame, bool [H, W]."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    x, y = WIDTH / 2 + 50 * np.sin(index / 40), HEIGHT / 2 + 30 * np.cos(index / 25)
    inside: NDArray[np.bool_] = (columns - x) ** 2 + (rows - y) ** 2 <= 18**2
    return inside


def track(frames: int, *, image_size: int) -> int:
    """Track through a video, correct, accept and take back at its beginning; return the bytes of masks."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    session = VideoSession(
        build_sam2("nano", image_size=image_size).eval(), DriftingDisc(frames), config=CONFIG
    )
    session.add_mask(0, 1, disc(0))
    session.add_points(0, 2, [Click(20, 20)])
    total = 0
    for result in session.propagate():
        total += sum(len(rle.counts) for rle in result.rles())
        if result.frame % 10 == 9:
            session.lock(result.frame, 1, disc(result.frame))
        if result.frame < 250 and result.frame % 50 == 25:
            session.add_points(result.frame, 2, [Click(40, 40)])
            session.undo()
    return total


def peak_bytes() -> int:
    """The most memory that this process has had resident, counted since it began to run Python."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(frames: int, *, image_size: int = 64) -> tuple[int, float]:
    """Peak bytes of a process that tracks `frames` frames, and its seconds."""
    start = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "benchmarks.flat_memory",
        "--child",
        str(frames),
        "--size",
        str(image_size),
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(output), time.perf_counter() - start


def main() -> None:
    """Prints one line a length, and how much the longest takes beyond the shortest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 1000, 5000])
    parser.add_argument("--size", type=int, default=64, help="pixels along the network's input")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        track(options.child, image_size=options.size)
        print(peak_bytes())
        return
    peaks = []
    for frames in options.frames:
        peak, seconds = measure(frames, image_size=options.size)
        peaks.append(peak)
        print(f"{frames:6d} frames: peak {peak / 2**20:6.1f} MiB, {seconds:5.0f} s", flush=True)
    print(f"growth from the shortest to the longest: {100 * (peaks[-1] / peaks[0] - 1):+.1f} %")


if __name__ == "__main__":
    main()
