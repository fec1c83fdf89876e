"""Small data sets on disk in the formats of the field; frames say their number, see `tests.storage.films`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from storage.masks import encode
from tests.storage.films import HEIGHT, WIDTH, numbered, write_film

FRAMES = 41  # of a film at 24 frames a second: 11 of them are annotated


def mask_of(entry: int, row: int = 0) -> np.ndarray:
    """An 8x8 square, bool [48,64], whose left edge is at column `entry` and whose top is at 16 `row`."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[16 * row : 16 * row + 8, entry : entry + 8] = True
    return mask


def sav_annotation(entries: int = 11, objects: Iterable[int] = (0, 1)) -> dict[str, Any]:
    """SA-V's file of a video: the objects stand in rows, and move a pixel an annotated frame."""
    masklet = [[encode(mask_of(entry, row)).to_coco() for row in objects] for entry in range(entries)]
    return {"video_id": "sav_000001", "masklet": masklet, "video_height": 48.0, "video_width": 64.0}


def write_sav(root: Path, name: str = "sav_000001", **kinds: object) -> Path:
    """A training folder with a film; `kinds` (by default manual) are the contents of its JSON files."""
    folder = root / "sav_000"
    folder.mkdir(parents=True, exist_ok=True)
    write_film(folder / f"{name}.mp4", FRAMES)
    for kind, content in (kinds or {"manual": sav_annotation()}).items():
        (folder / f"{name}_{kind}.json").write_text(json.dumps(content))
    return folder


def write_frames(folder: Path, numbers: Mapping[str, int]) -> None:
    """JPEGs by name that show a number each."""
    folder.mkdir(parents=True)
    for name, number in numbers.items():
        PIL.Image.fromarray(numbered(number)).save(folder / f"{name}.jpg", quality=95)


def write_palette(path: Path, labels: np.ndarray) -> None:
    """A palette picture of object numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PIL.Image.fromarray(labels.astype(np.uint8))
    picture.putpalette([value for number in range(256) for value in (number, 0, 0)])  # 8 bits a pixel
    picture.save(path)


def write_davis(root: Path, name: str = "bear", frames: int = 6, resolution: str = "480p") -> Path:
    """DAVIS's tree: object 1 moves a pixel a frame, object 2 stands below it from frame 2 on."""
    write_frames(root / "JPEGImages" / resolution / name, {f"{t:05d}": t for t in range(frames)})
    for time in range(frames):
        labels = mask_of(time) + 2 * (mask_of(0, 1) if time >= 2 else False) + 255 * mask_of(40, 2)
        write_palette(root / "Annotations" / resolution / name / f"{time:05d}.png", labels)
    return root


def write_sav_val(root: Path, name: str = "sav_000009") -> Path:
    """SA-V's validation tree: all frames, and every fourth annotated, one folder an object."""
    write_frames(root / "JPEGImages_24fps" / name, {f"{t:05d}": t for t in range(FRAMES)})
    for row in range(2):
        for number in range(0 if row == 0 else 8, FRAMES, 4):  # the second object comes later
            path = root / "Annotations_6fps" / name / f"{row:03d}" / f"{number:05d}.png"
            write_palette(path, mask_of(number // 4, row))
    (root / "sav_val.txt").write_text(f"{name}\n")
    return root


def write_sa1b(root: Path, name: str = "sa_1", annotations: list[dict[str, Any]] | None = None) -> Path:
    """An image, 48x64, with JSON masks."""
    root.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(numbered(7)).save(root / f"{name}.jpg", quality=95)
    chosen = [sa1b_mask(mask_of(5)), sa1b_mask(mask_of(20, 1))] if annotations is None else annotations
    content = {"image": {"file_name": "../../elsewhere.jpg"}, "annotations": chosen}
    (root / f"{name}.json").write_text(json.dumps(content))
    return root


def sa1b_mask(mask: np.ndarray, stability: float = 0.97) -> dict[str, Any]:
    return {"segmentation": encode(mask).to_coco(), "area": int(mask.sum()), "stability_score": stability}
