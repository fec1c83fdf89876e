"""Export as folders of pictures, in DAVIS's tree with SA-V's one folder an object, since objects may overlap.

    JPEGImages/<video>/<i>.jpg                  annotated frames by source index, five digits
    Annotations/<video>/<object>/<i>.png        palette picture: 0 background, 1 the object
    ImageSets/train.txt, ImageSets/eval.txt     video names by split

Objects are numbered 000, 001, … within a video. An object has a picture for each annotated frame, an empty
one where it is absent. This is what SA-V's own evaluation reads with one folder an object.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from storage.exports.common import ExportMasklet, VideoNames, by_video, output_folder, write_frames
from storage.masks import decode, empty
from storage.videos.library import VideoLibrary

__all__ = ["export_davis"]

_PALETTE = [0, 0, 0, 128, 0, 0]  # DAVIS's colour of the first object


def export_davis(library: VideoLibrary, masklets: Iterable[ExportMasklet], out: Path) -> int:
    """Writes the masklets (video by video) to the new or empty folder ``out``; returns their number.

    Raises ExportError if the folder holds something or a masklet does not fit its video.
    """
    names = VideoNames()
    splits: dict[str, list[str]] = {"train": [], "eval": []}
    written = 0
    with output_folder(out) as folder:
        for video, listed in by_video(masklets):
            name = names.of(video)
            splits.setdefault(video.split, []).append(name)
            write_frames(library, video, folder / "JPEGImages" / name)
            _write_masks(folder / "Annotations" / name, listed)
            written += len(listed)
        _write_sets(folder / "ImageSets", splits)
    return written


def _write_masks(folder: Path, masklets: Sequence[ExportMasklet]) -> None:
    for number, masklet in enumerate(masklets):
        target = folder / f"{number:03d}"
        target.mkdir(parents=True)
        absent = empty(masklet.video.height, masklet.video.width)
        for frame in masklet.video.annotated_frames:
            mask = decode(masklet.masks.get(frame, absent))
            picture = PIL.Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8))
            picture.putpalette(_PALETTE)
            picture.save(target / f"{frame:05d}.png")


def _write_sets(folder: Path, splits: dict[str, list[str]]) -> None:
    folder.mkdir()
    for split, names in splits.items():
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
