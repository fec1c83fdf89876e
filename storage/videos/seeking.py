"""Any frame of a video file, by number, without decoding the frames before it.

Opening reads the packets' time stamps only, which takes milliseconds; a frame is then found by its time stamp,
from the key frame before it. What is decoded is checked against that list, so a file whose seek index lies is
read from its beginning instead of giving the wrong frame.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from storage.errors import VideoError
from storage.videos.sources import Image
from storage.videos.video_file import check_not_cut, decoded_frames, opened_video, upright_image, video_stream

__all__ = ["SeekableVideo"]


class SeekableVideo:
    """One open video file. Not safe for several threads at once. Raises VideoError naming what is wrong."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:
            self._pts, self._keys = self._read_times()
            self._container: Any = None
            self._frames: Iterator[Any] = iter(())
            self._next = -1  # number of the frame that decoding comes to next; -1: no file is open
            first = self._decode_from(0, self._pts[0])
        except VideoError as error:
            raise VideoError(f"{self._path}: {error}") from error
        except OSError as error:
            raise VideoError(f"{self._path}: cannot be read ({error.strerror or error})") from error
        self._shape = first.shape

    @property
    def height(self) -> int:
        """Pixels of the upright frame."""
        return self._shape[0]

    @property
    def width(self) -> int:
        """Pixels of the upright frame."""
        return self._shape[1]

    def __len__(self) -> int:
        return len(self._pts)

    def read(self, index: int) -> Image:
        """Frame `index` in presentation order, upright RGB uint8 [H, W, 3].

        The next frame after the last one read is decoded on; any other is sought. Raises VideoError naming the file
        and the frame when it cannot be decoded.
        """
        try:
            image = self._decode_from(index, self._pts[index])
        except VideoError as error:
            self.close()
            raise VideoError(f"{self._path}: frame {index} cannot be read ({error})") from error
        if image.shape != self._shape:
            self.close()
            raise VideoError(
                f"{self._path}: frame {index} has the shape {image.shape}, the first {self._shape}"
            )
        return image

    def close(self) -> None:
        """Let go of the file; the next read opens it again."""
        if self._container is not None:
            self._container.close()
        self._container, self._next, self._frames = None, -1, iter(())

    def _read_times(self) -> tuple[list[int], list[int]]:
        """Time stamps of all frames and of the key frames, ascending."""
        with opened_video(self._path) as container:
            stream = video_stream(container)
            try:
                packets = [
                    (packet.pts, packet.is_keyframe)
                    for packet in container.demux(stream)
                    if packet.size and not packet.is_discard
                ]
            except (av.error.FFmpegError, ValueError) as error:
                raise VideoError(f"not a readable video ({error})") from error
            if not packets:
                raise VideoError("it holds no frames")
            pts = [value for value, _ in packets]
            if None in pts or len(set(pts)) < len(pts):
                return self._decoded_times()
            check_not_cut(container, stream, sorted(pts), Fraction(stream.time_base))
        return sorted(pts), sorted(value for value, key in packets if key)

    def _decoded_times(self) -> tuple[list[int], list[int]]:
        """Where packets have no time stamps of their own: those of decoding, from the beginning only."""
        with opened_video(self._path) as container:
            times = [frame.pts for frame in decoded_frames(container, video_stream(container))]
        if not times or None in times or any(a >= b for a, b in itertools.pairwise(times)):
            raise VideoError("its frames have no ascending time stamps; ingest it into the library instead")
        return times, [times[0]]

    def _decode_from(self, index: int, pts: int) -> Image:
        key = bisect.bisect_right(self._keys, pts) - 1
        key_index = bisect.bisect_left(self._pts, self._keys[key]) if key >= 0 else 0
        if not key_index <= self._next <= index:
            self._seek(key_index)
        found = self._advance_to(pts)
        if found is None:  # the seek went too far, or the decoder skipped frames after it
            self._seek(0)
            found = self._advance_to(pts)
        if found is None:
            raise VideoError("it is not in the file, though its time stamp is")
        self._next = index + 1
        return upright_image(found, round(found.rotation) % 360)

    def _seek(self, index: int) -> None:
        self.close()
        self._container = opened_video(self._path)
        stream = video_stream(self._container)
        if index:
            try:
                self._container.seek(self._pts[index], stream=stream, backward=True)
            except (av.error.FFmpegError, ValueError) as error:
                raise VideoError(f"seeking fails ({error})") from error
        self._frames = decoded_frames(self._container, stream)
        self._next = index

    def _advance_to(self, pts: int) -> Any | None:
        """Decode on to the frame of a time stamp; None when it does not come."""
        for frame in self._frames:
            if frame.pts == pts:
                return frame
            if frame.pts is not None and frame.pts > pts:
                return None
        return None
