"""Procedural training clips with exact masks: things that move before a background, and fields of cells.

Everything is drawn; surfaces are cut from photographs where some are given. Things are blobs, polygons, wires,
jointed figures and ropes that move, turn, tilt, swell and bend; they cross their likes, hide, leave and come
back, under lights that change, before a camera that moves, blurs, and compresses. Cells are grey fields of
small near-identical blobs, as under a microscope. Every clip is a function of the generator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from model.errors import TrainingError
from model.training.clips import Clip
from model.training.synthetic.cells import cell_scene
from model.training.synthetic.patterns import Image, Textures
from model.training.synthetic.things import PLOT_WEIGHTS, PLOTS, thing_scene

__all__ = ["PLOTS", "SyntheticClips", "Textures"]

SMALLEST_SHARE = 0.0012  # of the picture that an object must show on the first frame: 20 pixels at 128


@dataclass(frozen=True, slots=True)
class SyntheticClips:
    """An endless source of drawn clips.

    `cells` is the share of microscope-like scenes; `length` only says how many clips count as one pass.
    `photographs`, uint8 [h,w,3] RGB, lend their surfaces to things and backgrounds
    (`model.training.textures`), `videos`, uint8 [T,h,w,3], are backgrounds that move by themselves; without
    them all surfaces are drawn. `plot` names the one thing that happens
    in every scene that is not of cells; by default it is drawn, see `PLOTS`. `stride` is the longest step
    between the frames of a clip: each clip draws its own from 1 to that, so things jump, and copying the last
    mask does not pay.
    """

    cells: float = 0.3
    length: int = 1_000_000
    photographs: tuple[Image, ...] = field(default=(), repr=False, compare=False)
    videos: tuple[Image, ...] = field(default=(), repr=False, compare=False)
    plot: str | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise TrainingError(f"stride must be at least 1, got {self.stride}.")
        if self.plot is not None and self.plot not in PLOTS:
            raise TrainingError(f"Plot {self.plot!r} is unknown; use one of {', '.join(PLOTS)}.")

    def __len__(self) -> int:
        return self.length

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """A new clip for every state of `rng`; at least one object shows on its first frame.

        Where a part of an object has a mask of its own, the two masks overlap. No other masks do.
        """
        cells = rng.random() < self.cells
        plot = self.plot or str(rng.choice(list(PLOT_WEIGHTS), p=list(PLOT_WEIGHTS.values())))
        textures = Textures(self.photographs, self.videos)
        stride = int(rng.integers(1, self.stride + 1)) if self.stride > 1 and frames > 1 else 1
        while True:
            filmed = frames * stride
            scene = cell_scene(rng, size) if cells else thing_scene(rng, textures, size, filmed, plot)
            film = scene.render(filmed, rng).every(stride)
            shown = film.shown(0, max(8, round(SMALLEST_SHARE * size**2)))
            if len(shown):
                chosen = rng.permutation(shown)[:objects]
                return Clip(film.images, film.masks(chosen), f"{'cells' if cells else plot}-{index}")
