"""Which videos a folder holds masks of, and where.

<root>/<video>_manual.json                     SA-V (or a level down), and our own export of it (videos.json names
                                               the videos' ids)
<root>/Annotations/<video>/…                   DAVIS, MOSE, YouTube-VOS, our own export; with DAVIS's 480p/ between
<root>/Annotations_6fps/<video>/…              SA-V's validation and test sets
<root>/<video>/…                               any folder of such folders
<root>/<frame>.png, <root>.json                one video, of the name of the folder or file
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.errors import ImportProblem

__all__ = ["FoundMasks", "find_masks"]

_ROOTS = ("Annotations", "Annotations_6fps")
_RESOLUTIONS = ("480p", "Full-Resolution", "1080p")  # DAVIS has its folders of videos in one of these
_MANUAL, _AUTO = "_manual", "_auto"
_INDEX = "videos.json"


@dataclass(frozen=True, slots=True)
class FoundMasks:
    """The masks of one video: its name as the files say it, its id if they know it, and the file or folder."""

    name: str
    path: Path
    video_id: str = ""


def find_masks(root: Path) -> list[FoundMasks]:
    """Every video that a file or folder holds masks of, by name. ImportProblem if it holds none."""
    try:
        found = sorted(_found(root), key=lambda one: one.name)
    except OSError as error:
        raise ImportProblem(f"{root}: cannot be listed ({error.strerror or error})") from error
    if not found:
        raise ImportProblem(
            f"{root} holds no masks: neither <video>_manual.json, nor a folder of PNG pictures for each video"
        )
    return found


def _found(root: Path) -> Iterator[FoundMasks]:
    if not root.exists():
        raise ImportProblem(f"there is no file or folder {root}")
    if root.is_file():
        yield FoundMasks(root.stem.removesuffix(_MANUAL).removesuffix(_AUTO), root)
        return
    if _has_pictures(root):
        yield FoundMasks(root.resolve().name, root)
        return
    films = [*root.glob(f"*{_MANUAL}.json"), *root.glob(f"*/*{_MANUAL}.json")]
    for path in films:
        name = path.stem.removesuffix(_MANUAL)
        yield FoundMasks(name, path, _index(path.parent).get(name, ""))
    if not films:
        yield from (FoundMasks(path.name, path) for path in _folders(_inside(root)) if _holds_pictures(path))


def _inside(root: Path) -> Path:
    """The folder that holds a folder for each video."""
    masks = next((root / name for name in _ROOTS if (root / name).is_dir()), root)
    return next((masks / name for name in _RESOLUTIONS if (masks / name).is_dir()), masks)


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _holds_pictures(path: Path) -> bool:
    return _has_pictures(path) or any(_has_pictures(child) for child in _folders(path))


def _has_pictures(path: Path) -> bool:
    return any(child.suffix.lower() == ".png" for child in path.iterdir())


def _index(folder: Path) -> dict[str, str]:
    """Ids of the videos by name, where our own export says them."""
    try:
        listed = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        return {str(name): str(entry["video_id"]) for name, entry in listed.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ImportProblem(f"{folder / _INDEX} cannot be read: {error!r}") from error
