"""Little films whose every frame says which one it is: a row of black and white blocks, the index in binary."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 8
HEIGHT, WIDTH = 48, 64


def numbered(index: int, *, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A frame, uint8 [H, W, 3]: bits of its index from left to right in the upper half, grey below, red corner."""
    frame = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        frame[: height // 2, left:right] = 255 if index >> bit & 1 else 0
    frame[-height // 4 :, : width // 4] = (255, 0, 0)  # bottom left
    return frame


def number_of(frame: np.ndarray) -> int:
    """The index that a frame shows."""
    height, width = frame.shape[:2]
    middles = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(int(frame[height // 4, x].mean() > 128) << bit for bit, x in enumerate(middles))


def write_film(
    path: Path,
    count: int,
    *,
    rate: Fraction | int = 24,
    codec: str = "libx264",
    size: tuple[int, int] = (HEIGHT, WIDTH),
    times_ms: Sequence[int] | None = None,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Writes a film of ``count`` numbered frames; ``times_ms`` gives each its own time."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = size[0], size[1], pixels
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(count):
            image = numbered(index, height=size[0], width=size[1])
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[index], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Writes a film without pictures."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 44100
        file.mux(stream.encode(silence))
        file.mux(stream.encode())
    return path


def write_without_frames(path: Path) -> Path:
    """Writes a film with a video stream that holds nothing."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        file.start_encoding()
    return path


def turn(path: Path, quarter_turns_clockwise: int) -> Path:
    """Makes players show an MP4 turned, as a telephone held upright does: sets the matrix of its track header."""
    cosine, sine = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarter_turns_clockwise % 4]
    one = 1 << 16
    matrix = struct.pack(">9i", cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version 0: flags, five times/ids, layer and volume
    assert data[start + 32 : start + 36] == matrix[32:], "this is not a version 0 track header"
    data[start : start + 36] = matrix
    path.write_bytes(bytes(data))
    return path
