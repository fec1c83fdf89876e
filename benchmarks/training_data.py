"""What training data cost: clips a second of each reader at 480p, and how long a training step waits for them.

    python benchmarks/training_data.py [--wait] [--steps 12]

A drawn film is written to a temporary folder in every format; a clip has 8 frames of 256 pixels and up to 3 objects
(SA-1B: an image with up to 64 masks). Readers are timed by process CPU time on one thread. With `--wait` nano is
trained on the DAVIS folders at 128 pixels with 0, 1 and 2 worker processes, and the wall time is told that a step waits
for its batch, which depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image
import torch

from model.network.builder import build_sam2
from model.training.clips import Clip
from model.training.data.sources import parse_source
from model.training.loader import StepLoader
from model.training.mixture import Mixture, Source
from model.training.objective import SegmentObjective
from model.training.recipe import TrainConfig
from model.training.synthetic import SyntheticClips
from storage.masks import encode

SIZE = (480, 854)  # height, width
ANNOTATED = 40  # annotated frames, 6 a second


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wait", action="store_true", help="also train, and time the waiting")
    parser.add_argument(
        "--steps", type=int, default=12, help="training steps timed with each number of workers"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _write(root)
        for title, source in _sources(root):
            seconds = _cpu_per_clip(source)
            print(f"{title:48} {seconds * 1e3:6.0f} ms a clip {1 / seconds:6.1f} clips/s", flush=True)
        for workers in (0, 1, 2) if options.wait else ():
            waits, steps = _waiting(root, workers, options.steps)
            print(f"{workers} workers: a step of {steps:.2f} s waits {waits:.3f} s for its batch", flush=True)


def _sources(root: Path) -> Iterator[tuple[str, Source]]:
    for title, text in (
        ("SA-V, film of 24 frames a second", f"sav:{root}/film"),
        ("SA-V, JPEG of every fourth frame", f"sav:{root}/frames"),
        ("SA-V validation, a folder an object", f"sav:{root}/val"),
        ("DAVIS, MOSE, YouTube-VOS, palette masks", f"davis:{root}/davis"),
        ("SA-1B, an image of 480p with up to 64 masks", f"sa1b:{root}/sa1b"),
        ("drawn", "drawn:"),
    ):
        yield title, parse_source(text)


def _cpu_per_clip(source: Source, clips: int = 8) -> float:
    frames, objects = source.frames or 8, source.objects or 3
    times = []
    for seed in range(clips + 1):  # the first one opens the files
        start = time.process_time()
        source.clips.clip(0, np.random.default_rng(seed), frames=frames, objects=objects, size=256)
        times.append(time.process_time() - start)
    return statistics.mean(times[1:])


def _waiting(root: Path, workers: int, steps: int) -> tuple[float, float]:
    """Median seconds that a step waits, and that it takes without."""
    config = TrainConfig(frames=8, clips_per_step=2, objects=3, correction_clicks=2)
    source = parse_source(f"davis:{root}/davis")
    mixture = Mixture([source], frames=8, objects=3, clips_per_step=2, size=128, seed=0)
    model = build_sam2("nano", image_size=128).train()
    objective = SegmentObjective(model, mixture, config)
    waits, works = [], []
    with StepLoader(mixture.draw, start=0, stop=steps + 2, workers=workers) as loader:
        steps_of = iter(loader)
        while True:
            start = time.perf_counter()
            step, batch = next(steps_of, (None, None))
            if step is None or batch is None:
                return statistics.median(waits[2:]), statistics.median(works[2:])  # workers have started then
            waits.append(time.perf_counter() - start)
            start = time.perf_counter()
            objective.losses(batch, step).total.backward()  # type: ignore[no-untyped-call]
            works.append(time.perf_counter() - start)


def _write(root: Path) -> None:
    """One drawn film in every format."""
    clip = SyntheticClips(cells=0).clip(
        0, np.random.default_rng(0), frames=ANNOTATED, objects=4, size=SIZE[1]
    )
    clip = Clip(clip.images[:, : SIZE[0]], clip.masks[:, :, : SIZE[0]], "drawn")
    for time_index in range(ANNOTATED):
        image = PIL.Image.fromarray(clip.images[time_index])
        for folder, number in (
            ("davis/JPEGImages/480p/a", time_index),
            ("frames/sav_000/a", 4 * time_index),
            ("val/JPEGImages_24fps/a", 4 * time_index),
        ):
            _save(image, root / folder / f"{number:05d}.jpg")
        labels = np.zeros(SIZE, np.uint8)
        for row, mask in enumerate(clip.masks[time_index]):
            labels[mask] = row + 1
            plane = PIL.Image.fromarray(mask)
            _save(plane, root / f"val/Annotations_6fps/a/{row:03d}/{4 * time_index:05d}.png")
        palette = PIL.Image.fromarray(labels)
        palette.putpalette([value for number in range(256) for value in (number, 0, 0)])
        _save(palette, root / f"davis/Annotations/480p/a/{time_index:05d}.png")
    _write_sav(root, clip)
    _write_sa1b(root / "sa1b", clip.images[0])


def _save(picture: PIL.Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **({"quality": 90} if path.suffix == ".jpg" else {}))


def _write_sav(root: Path, clip: Clip) -> None:
    masklet = [[encode(mask).to_coco() for mask in frame] for frame in clip.masks]
    for name in ("film", "frames"):
        path = root / name / "sav_000" / "a_manual.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"video_id": "a", "masklet": masklet}))
    with av.open(str(root / "film/sav_000/a.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=24, options={"preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = SIZE[0], SIZE[1], "yuv420p"
        for index in range(4 * ANNOTATED - 3):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(clip.images[index // 4]), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def _write_sa1b(folder: Path, image: np.ndarray, masks: int = 100) -> None:
    folder.mkdir()
    PIL.Image.fromarray(image).save(folder / "sa_1.jpg", quality=90)
    rng = np.random.default_rng(0)
    annotations = []
    for _ in range(masks):
        mask = np.zeros(SIZE, np.uint8)
        centre, axes = rng.integers((SIZE[1], SIZE[0])), rng.integers(5, 120, 2)
        cv2.ellipse(mask, [int(v) for v in centre], [int(v) for v in axes], 0, 0, 360, 1, -1)
        annotations.append({"segmentation": encode(mask).to_coco(), "stability_score": 0.97})
    (folder / "sa_1.json").write_text(json.dumps({"annotations": annotations}))


if __name__ == "__main__":
    main()
