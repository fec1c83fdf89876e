"""What is compared, as data: one row is one line of the table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["ROWS", "SIDES", "Job", "Row", "choose"]

SIDES = ("ours", "official", "transformers")
BOTH = ("ours", "official")

Unit = Literal["cpu", "wall", "memory"]
Task = Literal["encode", "track", "open", "first_mask", "click", "auto_masks", "memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison. `parameters` of the task are plain fields so that a job travels as JSON."""

    id: str
    title: str
    task: Task
    size: str  # a row of model.config.SIZES
    image_size: int  # side of the network's input in pixels
    unit: Unit = "cpu"  # process CPU seconds, wall seconds, or peak MiB
    threads: int = 1
    sides: tuple[str, ...] = BOTH
    repeats: int = 3  # the median counts
    objects: int = 1
    frames: int = 24  # of the video
    width: int = 0  # of the pictures; 0 is `image_size`, so that no side resizes them
    height: int = 0
    first: int = 16  # the first measured frame: 7 memory maps and 16 pointers are there
    warm_up: Literal["true", "stand-ins"] = "true"  # how the frames before it are made
    points_per_side: int = 32  # of automatic masks
    cache_mib: int | None = None  # of each of our caches; None: a session's defaults
    reach: float | None = None  # official ÷ ours that is asked for
    stretch: float | None = None
    quick: bool = False  # belongs to the short run

    @property
    def picture(self) -> tuple[int, int]:
        """Width and height of the video's pictures."""
        return self.width or self.image_size, self.height or self.image_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One side of one row, on one kind of device: what a worker process is told."""

    row: Row
    side: str
    device: str = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    compiled: bool = False

    @property
    def key(self) -> str:
        """What a result is known by; with any number changed it is another job."""
        row = self.row
        tail = "" if self.device == "cpu" else f"@{self.device}-{self.precision}{'-compiled' * self.compiled}"
        picture = "x".join(map(str, row.picture))
        shape = f"{row.task},{row.size},{row.image_size},{picture},{row.frames},{row.objects},{row.repeats}"
        return f"{row.id}/{self.side}/{shape},{row.first},{row.threads},{row.points_per_side},{row.cache_mib}{tail}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Job:
        """Back from `to_dict`, after JSON made lists of tuples."""
        parts = dict(values)
        row = dict(parts.pop("row"))
        return cls(row=Row(**{**row, "sides": tuple(row["sides"])}), **parts)


ROWS: tuple[Row, ...] = (
    Row(
        id="track-8-nano-128",
        title="track 8 objects, nano, 128 px",
        task="track",
        size="nano",
        image_size=128,
        objects=8,
        repeats=7,
        reach=1.6,
        stretch=2.5,
        quick=True,
    ),
    Row(
        id="track-8-nano-256",
        title="track 8 objects, nano, 256 px",
        task="track",
        size="nano",
        image_size=256,
        objects=8,
        repeats=7,
        reach=1.6,
        stretch=2.5,
        quick=True,
    ),
    Row(
        id="open-nano",
        title="open a 330-frame video, nano, 256 px",
        task="open",
        size="nano",
        image_size=256,
        frames=330,
        reach=20,
        stretch=100,
        quick=True,
    ),
    Row(
        id="first-mask-nano",
        title="the same to the first mask, nano, 256 px",
        task="first_mask",
        size="nano",
        image_size=256,
        frames=330,
        quick=True,
    ),
    Row(
        id="click-nano",
        title="click on a frame visited before, nano, 256 px",
        task="click",
        size="nano",
        image_size=256,
        objects=3,
        first=6,
        quick=True,
    ),
    Row(
        id="auto-nano",
        title="automatic masks, 8×8 points, 720p, nano, 256 px",
        task="auto_masks",
        size="nano",
        image_size=256,
        width=1280,
        height=720,
        points_per_side=8,
        frames=1,
        quick=True,
    ),
    Row(
        id="memory-nano",
        title="peak memory, 330 frames × 8 objects, nano, 256 px",
        task="memory",
        unit="memory",
        size="nano",
        image_size=256,
        objects=8,
        frames=330,
        cache_mib=32,
        quick=True,
    ),
    Row(
        id="encode-tiny-1024",
        title="encode one frame, tiny, 1024 px",
        task="encode",
        size="tiny",
        image_size=1024,
        frames=1,
        sides=SIDES,
    ),
    Row(
        id="track-1-tiny-1024",
        title="track 1 object, tiny, 1024 px",
        task="track",
        size="tiny",
        image_size=1024,
        sides=SIDES,
        warm_up="stand-ins",
        reach=1.15,
        stretch=1.35,
    ),
    Row(
        id="track-1-tiny-1024-wall",
        title="track 1 object, tiny, 1024 px, two threads",
        task="track",
        size="tiny",
        image_size=1024,
        unit="wall",
        threads=2,
        sides=SIDES,
        warm_up="stand-ins",
        reach=1.15,
        stretch=1.35,
    ),
    Row(
        id="track-8-tiny-1024",
        title="track 8 objects, tiny, 1024 px",
        task="track",
        size="tiny",
        image_size=1024,
        objects=8,
        warm_up="stand-ins",
        reach=1.15,
        stretch=1.35,
    ),
    Row(
        id="track-8-tiny-512",
        title="track 8 objects, tiny, 512 px",
        task="track",
        size="tiny",
        image_size=512,
        objects=8,
        sides=SIDES,
        warm_up="stand-ins",
        reach=1.15,
        stretch=1.35,
    ),
    Row(
        id="open-330",
        title="open a 330-frame video",
        task="open",
        size="tiny",
        image_size=1024,
        frames=330,
        reach=20,
        stretch=100,
    ),
    *(
        Row(
            id=f"first-mask-{frames}",
            title=f"open a {frames}-frame video to the first mask, tiny, 1024 px",
            task="first_mask",
            size="tiny",
            image_size=1024,
            frames=frames,
            sides=BOTH if frames == 330 else ("ours",),
            reach=2 if frames == 330 else None,
            stretch=3 if frames == 330 else None,
        )
        for frames in (33, 330, 990)
    ),
    Row(
        id="click-tiny-1024",
        title="click on a frame visited before, tiny, 1024 px",
        task="click",
        size="tiny",
        image_size=1024,
        objects=3,
        first=6,
        reach=10,
        stretch=20,
    ),
    Row(
        id="memory-330",
        title="peak memory, 330 frames × 8 objects, tiny, 1024 px",
        task="memory",
        unit="memory",
        size="tiny",
        warm_up="stand-ins",
        image_size=1024,
        objects=8,
        frames=330,
        threads=2,
        cache_mib=32,
        reach=5,
        stretch=20,
    ),
    Row(
        id="memory-33",
        title="peak memory, 33 frames × 8 objects, tiny, 1024 px",
        task="memory",
        unit="memory",
        size="tiny",
        warm_up="stand-ins",
        image_size=1024,
        objects=8,
        frames=33,
        threads=2,
        cache_mib=32,
        sides=("ours",),
    ),
    Row(
        id="memory-default",
        title="peak memory, 120 frames × 8 objects, tiny, 1024 px, default caches",
        task="memory",
        unit="memory",
        size="tiny",
        warm_up="stand-ins",
        image_size=1024,
        objects=8,
        frames=120,
        threads=2,
        sides=("ours",),
    ),
    Row(
        id="auto-32",
        title="automatic masks, 32×32 points, 720p, tiny, 1024 px",
        task="auto_masks",
        size="tiny",
        image_size=1024,
        width=1280,
        height=720,
        frames=1,
        repeats=1,
        reach=2,
        stretch=3,
    ),
)


def choose(ids: list[str] | None, *, quick: bool) -> list[Row]:
    """The rows of these ids (or all that begin like one), the short run's, or all. ValueError if unknown."""
    if not ids:
        return [row for row in ROWS if row.quick or not quick]
    unknown = [name for name in ids if not any(row.id.startswith(name) for row in ROWS)]
    if unknown:
        known = ", ".join(row.id for row in ROWS)
        raise ValueError(f"no row begins with {', '.join(unknown)}; the rows are {known}")
    exact = {row.id for row in ROWS} & set(ids)  # a whole name means that row, not those that it begins too
    begun = tuple(name for name in ids if name not in exact)
    return [row for row in ROWS if row.id in exact or (begun and row.id.startswith(begun))]
