"""Video files through PyAV: counted by decoding, time-stamped, upright."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from storage.errors import VideoError
from storage.videos.sources import Image, IngestLimits, SourceInfo

__all__ = ["VideoFile", "check_not_cut", "decoded_frames", "opened_video", "upright_image", "video_stream"]

# Containers that hold one film. Play lists (HLS, DASH, concat) are left out: they would open other files.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,gif,ivf,yuv4mpegpipe,dv,nut,mjpeg"
)
_LOSSLESS_CODECS = frozenset(
    {"ffv1", "ffvhuff", "gif", "huffyuv", "png", "qtrle", "rawvideo", "utvideo", "v210"}
)
_EARLY_END = 0.9  # a video that decodes to less than this share of its promised time was cut


class VideoFile:
    """A video file; opening it decodes it once to learn the number, size and time of its frames."""

    def __init__(self, path: Path, *, fps: float | None, limits: IngestLimits) -> None:
        self._path = path
        self._limits = limits
        self._info = self._read(fps)

    @property
    def info(self) -> SourceInfo:
        return self._info

    def frames(self, wanted: Container[int]) -> Iterator[tuple[int, Image]]:
        seen = 0
        with opened_video(self._path) as container:
            for index, frame in enumerate(decoded_frames(container, video_stream(container))):
                seen += 1
                if index in wanted:
                    yield index, upright_image(frame, self._info.rotation)
        if seen != self._info.frame_count:
            raise VideoError(f"{self._path}: decoded {self._info.frame_count} frames first, then {seen}")

    def _read(self, fps: float | None) -> SourceInfo:
        with opened_video(self._path) as container:
            stream = video_stream(container)
            size, rotation, pts = self._decode_times(container, stream)
            times, time_base, note = _time_stamps(pts, stream)
            check_not_cut(container, stream, times, time_base)
            rate, constant = _frame_rate(times, time_base, stream.average_rate)
            height, width = size if rotation % 180 == 0 else size[::-1]
            codec = stream.codec_context.name
            return SourceInfo(
                kind="video",
                height=height,
                width=width,
                frame_count=len(times),
                fps=fps or rate,
                constant_rate=constant,
                rotation=rotation,
                codec=codec,
                pts=tuple(times),
                time_base=(time_base.numerator, time_base.denominator),
                lossless=codec in _LOSSLESS_CODECS,
                note=note,
            )

    def _decode_times(self, container: Any, stream: Any) -> tuple[tuple[int, int], int, list[int | None]]:
        """Stored size (height, width), rotation in degrees, and the PTS of every frame."""
        pts: list[int | None] = []
        shape: tuple[int, int, int] | None = None
        for frame in decoded_frames(container, stream):
            found = (frame.height, frame.width, round(frame.rotation) % 360)
            if shape is None:
                self._limits.check_size(frame.height, frame.width)
                shape = found
            elif found != shape:
                raise VideoError(f"the frame size changes at frame {len(pts)}: {found[:2]} after {shape[:2]}")
            pts.append(frame.pts)
            self._limits.check_count(len(pts))
        if shape is None:
            raise VideoError("it holds no frames")
        if shape[2] % 90:
            raise VideoError(f"it is rotated by {shape[2]} degrees; only quarter turns can be shown upright")
        return (shape[0], shape[1]), shape[2], pts


def opened_video(path: Path) -> Any:
    """The container of a video file, a context manager. Raises VideoError if it is none."""
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        return av.open(f"file:{path.absolute()}", options=options)
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError(f"not a readable video ({_reason(error)})") from error


def video_stream(container: Any) -> Any:
    """The film of a container. Raises VideoError if there is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a song is no film
            if stream.codec_context is None:
                raise VideoError("its pictures are in a format that cannot be decoded here")
            if not stream.codec_context.width or not stream.codec_context.height:
                raise VideoError("it holds no frames")
            stream.thread_type = "AUTO"
            return stream
    raise VideoError("it holds no video stream" + (", only sound" if container.streams.audio else ""))


def decoded_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Frames in presentation order. Raises VideoError ("corrupt") if decoding stops with an error."""
    count = 0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise VideoError(f"corrupt: damaged data after {count} frames")
            for frame in packet.decode():
                yield frame
                count += 1
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError(f"corrupt: decoding stops after {count} frames ({_reason(error)})") from error


def upright_image(frame: Any, rotation: int) -> Image:
    """A decoded frame as RGB uint8 [H, W, 3], turned by `rotation` degrees, a multiple of 90."""
    image: Image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, rotation // 90)) if rotation else image


def _time_stamps(pts: list[int | None], stream: Any) -> tuple[list[int], Fraction, str]:
    """Ascending time stamps; where the file has none or they run backwards, even ones of its nominal rate."""
    times = [value for value in pts if value is not None]
    ascending = all(a < b for a, b in itertools.pairwise(times))
    if len(times) == len(pts) and ascending:
        return times, Fraction(stream.time_base), ""
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
    return list(range(len(pts))), 1 / rate, "time stamps missing or not ascending: spaced evenly"


def _frame_rate(times: list[int], time_base: Fraction, nominal: Fraction | None) -> tuple[float, bool]:
    """Frames a second, and whether every frame lies within half an interval of an even grid."""
    if len(times) < 2:
        return float(nominal or 25), True
    seconds = (np.array(times, np.float64) - times[0]) * float(time_base)
    measured = (len(times) - 1) / float(seconds[-1])
    constant = bool(np.abs(seconds * measured - np.arange(len(times))).max() < 0.5)
    if constant and nominal and abs(float(nominal) / measured - 1) < 0.005:
        return float(nominal), True  # 24 exactly, where millisecond time stamps give 23.99
    return measured, constant


def check_not_cut(container: Any, stream: Any, times: list[int], time_base: Fraction) -> None:
    """Raises VideoError if the ascending time stamps end much earlier than the file promises."""
    promised = _promised_s(container, stream)
    if promised is None or len(times) < 2:
        return
    interval = (times[-1] - times[0]) / (len(times) - 1)
    decoded = float((times[-1] - times[0] + interval) * time_base)
    if decoded < _EARLY_END * promised and promised - decoded > 2 * interval * time_base:
        raise VideoError(f"corrupt: it ends after {decoded:.2f} of {promised:.2f} seconds")


def _promised_s(container: Any, stream: Any) -> float | None:
    """How long the video stream claims to be; None if only the whole file, with its sound, says something."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1
    return container.duration / av.time_base if alone and container.duration else None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
