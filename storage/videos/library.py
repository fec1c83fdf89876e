"""The library of videos in an object store: taking sources in, and giving their annotated frames out.

videos/<video_id>.json                 the record (Video), written last: without it there is no such video
frames/<video_id>/<index>.jpg|png      the annotated frames, by source index
fingerprints/v1/<video_id>.json        what the video looks like, to find its copies (Fingerprint)
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image

from storage.errors import ObjectNotFound, VideoError
from storage.objects import ObjectStore
from storage.videos.fingerprint import Fingerprint, fingerprint, frames_to_hash
from storage.videos.images import even_info, image_files
from storage.videos.sources import Image, IngestLimits, SourceInfo, annotated_frames, open_source
from storage.videos.splits import SplitBook
from storage.videos.video import Video

__all__ = ["IngestOutcome", "StoredFrames", "VideoLibrary", "encode_image"]

_JPEG_QUALITY = 95
_PNG_LEVEL = 4
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class IngestOutcome:
    """What became of a source: taken, already there (nothing changed), or skipped for the given reason.

    `reason` also says why a video that was taken is kept out of training and evaluation.
    """

    status: Literal["taken", "already", "skipped"]
    video: Video | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Description:
    """What the caller says about a video, as opposed to what decoding shows."""

    name: str
    split: str
    group: str | None
    source: str
    extra: Mapping[str, str]


class VideoLibrary:
    """The videos of one store."""

    def __init__(self, store: ObjectStore, *, limits: IngestLimits | None = None) -> None:
        self._store = store
        self._limits = limits or IngestLimits()
        self._book = SplitBook(store, read=self._read, look=self._look)

    def ingest(
        self,
        path: str | Path,
        *,
        annotate_fps: float = 6.0,
        lossless: bool | None = None,
        split: str = "train",
        group: str | None = None,
        name: str | None = None,
        fps: float | None = None,
        frames: Sequence[int] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> IngestOutcome:
        """Takes in a video file, a folder of images or a TIFF stack.

        ``frames`` gives the annotated source frames outright, else they are chosen by ``annotate_fps``.
        ``lossless`` forces PNG (True) or JPEG (False); by default sources without loss become PNG.
        ``group`` (default: the content hash) names videos that a split must keep together; ``source_video``,
        ``author`` and ``place`` in ``extra`` do too, and so does looking alike. A video that these tie to the
        other side of the split is kept out (see `splits`). Unreadable sources are skipped with a reason.
        """
        path = Path(path)
        try:
            content_hash = _hash_source(path)
            found = self._find(content_hash)
            if found is not None:
                return IngestOutcome("already", found)
            source = open_source(path, fps=fps or _image_rate(path, annotate_fps), limits=self._limits)
            described = _Description(name or _default_name(path), split, group, str(path), extra or {})
            video = _record(source.info, content_hash, described, frames, annotate_fps, lossless)
            return self._take(video, source.frames(frozenset(video.annotated_frames)))
        except VideoError as error:
            reason = str(error)
            return IngestOutcome("skipped", None, reason if str(path) in reason else f"{path}: {reason}")

    def ingest_array(
        self,
        frames: Image,
        *,
        name: str,
        fps: float,
        split: str = "train",
        group: str | None = None,
        extra: Mapping[str, str] | None = None,
        annotate_fps: float | None = None,
    ) -> IngestOutcome:
        """Takes in frames from memory, uint8 [T, H, W, 3] RGB, without loss; by default all are annotated."""
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
            raise VideoError(f"{name}: frames must be uint8 [T, H, W, 3], not {frames.dtype} {frames.shape}")
        digest = hashlib.sha256(repr(frames.shape).encode())
        digest.update(np.ascontiguousarray(frames).data)
        found = self._find(digest.hexdigest())
        if found is not None:
            return IngestOutcome("already", found)
        source = _ArraySource(frames, fps)
        described = _Description(name, split, group, "memory", extra or {})
        video = _record(source.info, digest.hexdigest(), described, None, annotate_fps or fps, True)
        return self._take(video, source.frames(frozenset(video.annotated_frames)))

    def splits(self) -> SplitBook:
        """Which videos belong together, up to date."""
        self._book.refresh()
        return self._book

    def videos(self) -> list[Video]:
        """Every video, by id."""
        return list(self.iter_videos())

    def iter_videos(self) -> Iterator[Video]:
        """Every video, by id, one record in memory at a time."""
        for key in self._store.list("videos/"):
            yield self._read(key)

    def get(self, video_id: str) -> Video:
        """The video of that id. Raises VideoError if there is none."""
        try:
            return self._read(f"videos/{video_id}.json")
        except ObjectNotFound as error:
            raise VideoError(
                f"there is no video {video_id!r} in {self._store.url}; ingest it first"
            ) from error

    def frame(self, video: Video, index: int) -> Image:
        """An annotated frame by *source* index, uint8 [H, W, 3] RGB. Raises VideoError if it is not
        annotated.
        """
        return StoredFrames(self._store, video, cached=0)[video.position(index)]

    def frame_bytes(self, video: Video, index: int) -> bytes:
        """An annotated frame by source index as it is stored: JPEG or PNG, see ``video.image_format``."""
        video.position(index)
        return self._store.get(video.frame_key(index))

    def frames(self, video: Video) -> StoredFrames:
        """The annotated frames by session position, read when asked for."""
        return StoredFrames(self._store, video)

    def _find(self, content_hash: str) -> Video | None:
        try:
            return self._read(f"videos/{content_hash[:16]}.json")
        except ObjectNotFound:
            return None

    def _read(self, key: str) -> Video:
        data = self._store.get(key)
        try:
            return Video.from_json(data)
        except VideoError as error:
            raise VideoError(
                f"{key} in {self._store.url} is damaged: {error}; restore it from a backup"
            ) from error

    def _take(self, video: Video, images: Iterable[tuple[int, Image]]) -> IngestOutcome:
        """Stores the frames and then the record: killed in between, the next try simply does it all again."""
        found = fingerprint(video.video_id, self._storing(video, images), placed=True)
        placed = self._book.place(video, found)
        video = replace(
            video, split=placed.split, group=placed.group, extra=dict(video.extra) | placed.extra()
        )
        self._store.put(found.key, found.to_json())
        if self._store.put_if_absent(f"videos/{video.video_id}.json", video.to_json()):
            return IngestOutcome("taken", video, f"kept out: {placed.reason}" if placed.reason else "")
        return IngestOutcome("already", self.get(video.video_id))

    def _storing(self, video: Video, images: Iterable[tuple[int, Image]]) -> Iterator[Image]:
        """Stores every frame on the way, and gives those that the fingerprint is made of."""
        stored, hashed = 0, frames_to_hash(video.annotated_frames)
        for index, image in images:
            self._store.put(video.frame_key(index), encode_image(image, video.image_format))
            stored += 1
            if index in hashed:
                yield image
        if stored != len(video.annotated_frames):
            raise VideoError(
                f"{video.source}: {stored} of {len(video.annotated_frames)} frames could be read"
            )

    def _look(self, video: Video) -> Fingerprint:
        """The fingerprint of a video taken in before there were any, from its stored frames."""
        frames = self.frames(video)
        positions = [video.position(index) for index in sorted(frames_to_hash(video.annotated_frames))]
        return fingerprint(video.video_id, (frames[position] for position in positions), placed=False)


class StoredFrames:
    """The annotated frames of a video as a sequence over session positions; the last few stay in memory."""

    def __init__(self, store: ObjectStore, video: Video, *, cached: int = 8) -> None:
        self.video = video
        self._store = store
        self._cached = cached
        self._cache: OrderedDict[int, Image] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def height(self) -> int:
        """Pixels."""
        return self.video.height

    @property
    def width(self) -> int:
        """Pixels."""
        return self.video.width

    def __len__(self) -> int:
        return len(self.video.annotated_frames)

    def __getitem__(self, position: int) -> Image:
        """The frame as uint8 [H, W, 3] RGB, the caller's own copy. Raises IndexError, or VideoError if
        damaged.
        """
        if not -len(self) <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} annotated frames of {self.video.name!r}")
        position %= len(self)
        with self._lock:
            if position in self._cache:
                self._cache.move_to_end(position)
                return self._cache[position].copy()
        image = self._load(self.video.annotated_frames[position])
        with self._lock:
            self._cache[position] = image
            while len(self._cache) > self._cached:
                self._cache.popitem(last=False)
        return image.copy()

    def _load(self, index: int) -> Image:
        key = self.video.frame_key(index)
        data = self._store.get(key)
        try:
            with PIL.Image.open(io.BytesIO(data)) as image:
                pixels = np.array(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise VideoError(
                f"{key} in {self._store.url} is damaged ({len(data)} bytes); ingest it anew"
            ) from error
        if pixels.shape != (self.height, self.width, 3):
            raise VideoError(
                f"{key} in {self._store.url} has the shape {pixels.shape}, not that of its video"
            )
        return pixels


class _ArraySource:
    """Frames from memory, uint8 [T, H, W, 3]."""

    def __init__(self, frames: Image, fps: float) -> None:
        self._frames = frames
        size = (frames.shape[1], frames.shape[2])
        self._info = even_info("images", size, len(frames), fps, codec="array", lossless=True)

    @property
    def info(self) -> SourceInfo:
        return self._info

    def frames(self, wanted: frozenset[int]) -> Iterator[tuple[int, Image]]:
        return ((index, self._frames[index]) for index in sorted(wanted))


def encode_image(image: Image, image_format: str) -> bytes:
    """JPEG of quality 95 (``jpg``) or PNG (``png``) of uint8 [H, W, 3] RGB."""
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(image)
    if image_format == "png":
        picture.save(buffer, "PNG", compress_level=_PNG_LEVEL)
    else:
        picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _record(
    info: SourceInfo,
    content_hash: str,
    described: _Description,
    frames: Sequence[int] | None,
    annotate_fps: float,
    lossless: bool | None,
) -> Video:
    chosen = annotated_frames(info, annotate_fps) if frames is None else tuple(sorted(set(frames)))
    without_loss = info.lossless if lossless is None else lossless
    return Video(
        video_id=content_hash[:16],
        name=described.name,
        content_hash=content_hash,
        source=described.source,
        kind=info.kind,
        height=info.height,
        width=info.width,
        frame_count=info.frame_count,
        fps=info.fps,
        duration_s=info.duration_s,
        rotation=info.rotation,
        codec=info.codec,
        pts=info.pts,
        time_base=info.time_base,
        annotated_frames=chosen,
        image_format="png" if without_loss else "jpg",
        split=described.split,
        group=described.group or content_hash,
        extra=dict(described.extra) | ({"note": info.note} if info.note else {}),
    )


def _hash_source(path: Path) -> str:
    """SHA-256 of a file, or of a folder's images with their names, in order."""
    digest = hashlib.sha256()
    try:
        if not path.is_dir():
            _hash_into(digest, path)
            return digest.hexdigest()
        for file in image_files(path):
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            _hash_into(digest, file)
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()


def _hash_into(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)


def _default_name(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _image_rate(path: Path, annotate_fps: float) -> float | None:
    """Images and stacks have no clock: taken at the annotation rate, every one of them is annotated."""
    timeless = path.is_dir() or path.suffix.lower() in (".tif", ".tiff")
    return annotate_fps if timeless else None
