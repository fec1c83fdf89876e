"""Short films for people to play: H.264 that every browser plays and that stops on every frame exactly.

Every frame is a key frame, the rate is constant, and the index stands at the front of the file, so that a player counts
and seeks frames without error.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from annotation.errors import PageError

__all__ = ["film_rate", "write_film"]

Picture = NDArray[np.uint8]

_QUALITY = "20"  # x264's constant rate factor: no visible loss
_SLOWEST, _FASTEST = 1.0, 60.0  # frames a second that are still worth watching


def film_rate(seconds: float, frames: int) -> float:
    """Frames a second at which `frames` pictures that span `seconds` from first to last play in real time.

    Rounded to thousandths, so that the film and whoever counts its frames agree exactly.
    """
    rate = (frames - 1) / seconds if frames > 1 and seconds > 0 else _SLOWEST
    return round(min(max(rate, _SLOWEST), _FASTEST), 3)


def write_film(path: Path, pictures: Iterable[Picture], *, fps: float) -> None:
    """Write pictures, uint8 [H, W, 3] RGB of one size, as a film into a file that exists already.

    An odd height or width is made even by repeating the last row or column.
    """
    rate = Fraction(round(fps * 1000), 1000)
    try:
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = None
            for number, picture in enumerate(pictures):
                even = _even(picture)
                if stream is None:
                    stream = container.add_stream("libx264", rate=rate)
                    stream.height, stream.width = even.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    stream.options = {"crf": _QUALITY, "preset": "veryfast", "g": "1", "bf": "0"}
                    stream.codec_context.time_base = 1 / rate
                frame = av.VideoFrame.from_ndarray(even, format="rgb24")
                frame.pts, frame.time_base = number, 1 / rate
                container.mux(stream.encode(frame))
            if stream is None:
                raise PageError("A film needs at least one frame.")
            container.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise PageError(f"The film {path} could not be written: {error}.") from error


def _even(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(picture)
    return np.asarray(
        cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), dtype=np.uint8
    )
