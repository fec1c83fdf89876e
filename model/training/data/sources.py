"""Training data named by a text: `KIND:PLACE[?option=value&…][=WEIGHT]`.

sav:/data/sav                    SA-V's training folders, or its validation and test sets
sav:/data/sav?masklets=auto=0.5  the model's own masklets there, half as often as what has weight 1
davis:/data/DAVIS?names=/data/DAVIS/ImageSets/2017/train.txt
sa1b:/data/sa1b?area=0.9&stability=0.95
drawn:                           clips that are drawn, without end
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from model.errors import TrainingError
from model.training.augment import AUGMENTATIONS, Augmentation
from model.training.clips import ClipSource, MosaicClips
from model.training.data.files import folder
from model.training.data.png_folders import FRAMES, MASKS, PngFolders
from model.training.data.sa1b import MOST_MASKS, Sa1bFolder
from model.training.data.sav import SavFolder
from model.training.data.videos import IndexedClips, VideoIndex
from model.training.mixture import Source
from model.training.synthetic import PLOTS, SyntheticClips
from model.training.textures import Photographs, default_cache, load_photographs

__all__ = ["KINDS", "Kind", "SourceText", "check_mix", "parse_source", "read_text"]


@dataclass(frozen=True, slots=True)
class SourceText:
    """A source as it was written: kind, place (a path, an id or nothing), options, weight."""

    text: str
    kind: str
    place: str
    options: Mapping[str, str]
    weight: float | None = None

    def path(self) -> Path:
        """The place as an existing folder. Raises `TrainingError` saying what is wrong with it."""
        if not self.place:
            raise self.wrong(f"a folder is missing: {self.kind}:/path")
        path = Path(self.place).expanduser()
        if not path.is_dir():
            raise self.wrong(f"there is no folder {path}")
        return path

    def number(self, name: str, default: float) -> float:
        """An option that is a number of at least 0."""
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise self.wrong(f"{name} must be a number of at least 0, not {text!r}")
        return value

    def count(self, name: str, default: int) -> int:
        """An option that is a whole number of at least 1."""
        value = self.number(name, default)
        if value < 1 or value != int(value):
            raise self.wrong(f"{name} must be a whole number of at least 1, not {self.options[name]!r}")
        return int(value)

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """An option that is one of some words, the first by default."""
        value = self.options.get(name, choices[0])
        if value not in choices:
            raise self.wrong(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def names(self) -> Path | None:
        """The file that lists what is to be taken."""
        text = self.options.get("names")
        return None if text is None else Path(text).expanduser()

    def wrong(self, why: str) -> TrainingError:
        """An error that says which source is meant."""
        return TrainingError(f"Data source {self.text!r}: {why}.")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source: how it is opened, the options it knows, and how its clips are varied and drawn."""

    open: Callable[[SourceText, Augmentation], ClipSource]
    what: str
    options: tuple[str, ...] = ()
    augmentation: str = "video"
    frames: int | None = None
    objects: int | None = None
    endless: bool = False


def read_text(text: str, kinds: Mapping[str, Kind]) -> SourceText:
    """The parts of a source's text. Raises `TrainingError` naming what is wrong in it, and the nearest name."""
    bare, weight = _weight(text)
    head, _, options = bare.partition("?")
    kind, colon, place = head.partition(":")
    source = SourceText(text, kind, place, MappingProxyType(dict(_options(text, options))), weight)
    if not colon and kind not in kinds:
        raise source.wrong(f"it must be KIND:PLACE with one of {', '.join(kinds)}")
    if kind not in kinds:
        raise source.wrong(f"the kind {kind!r} is unknown{_nearest(kind, kinds)}; known: {', '.join(kinds)}")
    for name in source.options:
        known = kinds[kind].options
        if name not in known:
            listed = f"known: {', '.join(known)}" if known else "it has none"
            raise source.wrong(f"the option {name!r} is unknown{_nearest(name, known)}; {listed}")
    if weight is not None and not 0 < weight < math.inf:
        raise source.wrong(f"the weight must be above 0, got {weight:g}")
    return source


def parse_source(
    text: str, *, augmentation: Augmentation | None = None, kinds: Mapping[str, Kind] | None = None
) -> Source:
    """The source that a text names, with `augmentation` instead of SAM 2's for this kind of data.

    Nothing but names is read. Raises `TrainingError` naming the source, and what is wrong where.
    """
    known = KINDS if kinds is None else kinds
    read = read_text(text, known)
    kind = known[read.kind]
    if augmentation is not None and kind.frames == 1:
        augmentation = AUGMENTATIONS[kind.augmentation]  # what suits videos is not meant for images
    clips = kind.open(read, augmentation or AUGMENTATIONS[kind.augmentation])
    return Source(
        name=text if read.weight is None else text.rpartition("=")[0],
        clips=clips,
        weight=read.weight,
        frames=kind.frames,
        objects=kind.objects,
    )


def check_mix(texts: Sequence[str], kinds: Mapping[str, Kind] | None = None) -> None:
    """Raises `TrainingError` where an endless source stands beside others and none has a weight."""
    known = KINDS if kinds is None else kinds
    read = [read_text(text, known) for text in texts]
    if len(read) > 1 and all(source.weight is None for source in read):
        for source in read:
            if known[source.kind].endless:
                raise source.wrong(f"drawn clips have no number; say how often, e.g. {source.text}=0.5")


def _open_sav(text: SourceText, augmentation: Augmentation) -> ClipSource:
    root = text.path()
    masklets = text.choice("masklets", ("manual", "auto", "both"))
    if folder(root, *FRAMES) and folder(root, *MASKS):  # validation and test sets have no JSON
        if "masklets" in text.options:
            raise text.wrong("validation and test sets are people's masklets; leave the option out")
        return IndexedClips(PngFolders(root, names=text.names()), augmentation)
    return IndexedClips(SavFolder(root, masklets=masklets, names=text.names()), augmentation)


def _open_folders(text: SourceText, augmentation: Augmentation) -> ClipSource:
    videos: VideoIndex = PngFolders(text.path(), names=text.names(), sample_rate=text.count("every", 1))
    return IndexedClips(videos, augmentation)


def _open_sa1b(text: SourceText, augmentation: Augmentation) -> ClipSource:
    images = Sa1bFolder(
        text.path(),
        most_area=text.number("area", 0.9),
        least_stability=text.number("stability", 0.0),
        names=text.names(),
    )
    return IndexedClips(images, augmentation)


def _open_drawn(text: SourceText, augmentation: Augmentation) -> ClipSource:
    """Drawn clips; of `augmentation` only the mosaic concerns them, for they are drawn varied."""
    drawn = _drawn(text)
    return MosaicClips(drawn, augmentation) if augmentation.mosaic_probability else drawn


def _drawn(text: SourceText) -> SyntheticClips:
    if text.place:
        raise text.wrong("drawn clips have no place; write drawn:")
    surfaces = text.choice("surfaces", ("drawn", "photographs"))
    cells = text.number("cells", 0.3)
    plot = text.choice("plot", ("any", *PLOTS))
    drawn = SyntheticClips(cells=cells, plot=None if plot == "any" else plot, stride=text.count("stride", 1))
    if surfaces == "drawn":
        return drawn
    natural = _natural(default_cache())
    if not natural.images:
        raise text.wrong(f"there are no photographs ({'; '.join(natural.missing)})")
    return replace(drawn, photographs=natural.images, videos=natural.videos)


@cache
def _natural(_folder: Path) -> Photographs:
    """The photographs to train on, held once however many sources draw from them."""
    return load_photographs("train")


_FOLDERS_OPTIONS = ("names", "every")

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "sav": Kind(_open_sav, "SA-V: training folders, validation or test set", ("masklets", "names")),
        "davis": Kind(_open_folders, "DAVIS: folders of frames and palette masks", _FOLDERS_OPTIONS),
        "mose": Kind(_open_folders, "MOSE: folders of frames and palette masks", _FOLDERS_OPTIONS),
        "ytvos": Kind(_open_folders, "YouTube-VOS: folders of frames and palette masks", _FOLDERS_OPTIONS),
        "sa1b": Kind(
            _open_sa1b,
            "SA-1B: images with JSON masks",
            ("area", "stability", "names"),
            augmentation="image",
            frames=1,
            objects=MOST_MASKS,
        ),
        "drawn": Kind(
            _open_drawn, "drawn clips, without end", ("surfaces", "cells", "plot", "stride"), endless=True
        ),
    }
)
"""What can be named, by the word before the colon."""


def _weight(text: str) -> tuple[str, float | None]:
    bare, sign, number = text.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        return text, None
    option = bare.rpartition("&")[2].rpartition("?")[2]
    if not sign or ("?" in bare and "=" not in option):  # the number is the value of the last option
        return text, None
    return bare, weight


def _options(text: str, options: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in options.split("&") if part]
    for name, sign, value in pairs:
        if not sign or not value:
            raise TrainingError(f"Data source {text!r}: the option {name!r} needs a value: {name}=…")
    return [(name, value) for name, _, value in pairs]


def _nearest(name: str, known: Sequence[str] | Mapping[str, Kind]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
