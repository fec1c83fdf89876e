"""Drawn films of growing colonies: a kind of video that no training of ours draws or has seen.

Rods lie side by side, all alike, grow and push each other outwards, seen dark with bright rims as in phase contrast.
Training clips have neither: there things move on paths of their own before textures, and cells are round blobs that
keep their size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.clips import Clip

__all__ = ["ColonyClips"]

Floats = NDArray[np.float32]

DISCS = 5  # along a rod's axis, by which rods feel each other
SETTLING = 30  # pushes after every growth
SUBPIXEL_BITS = 4
FEWEST_RODS, MOST_RODS = 8, 28


@dataclass(slots=True)
class _Colony:
    """Rods in pixels: `centres` [N,2], `angles` [N], `lengths` [N] of their axes, and half their `width`."""

    centres: Floats
    angles: Floats
    lengths: Floats
    width: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, size: int) -> _Colony:
        """A few families of rods around the middle of the picture, in which neighbours lie alike."""
        count, width = int(rng.integers(FEWEST_RODS, MOST_RODS + 1)), size * float(rng.uniform(0.022, 0.04))
        lengths = width * rng.uniform(2.0, 5.0, count)
        spread = 1.1 * width * np.sqrt(count)
        families = rng.uniform(0, np.pi, 3)
        colony = cls(
            centres=(size / 2 + rng.normal(0, spread, (count, 2))).astype(np.float32),
            angles=(families[rng.integers(0, 3, count)] + rng.normal(0, 0.15, count)).astype(np.float32),
            lengths=lengths.astype(np.float32),
            width=width,
        )
        for _ in range(4 * SETTLING):
            colony.push()
        return colony

    def grow(self, rates: Floats, jitter: Floats) -> None:
        """One frame on: every axis longer by its rate [N] and turned by `jitter` [N] radians."""
        self.lengths *= 1 + rates
        self.angles += jitter
        for _ in range(SETTLING):
            self.push()

    def push(self) -> None:
        """Moves and turns rods that overlap a little apart."""
        along = np.stack([np.cos(self.angles), np.sin(self.angles)], axis=1)  # N 2
        places = np.linspace(-0.5, 0.5, DISCS, dtype=np.float32)[None] * self.lengths[:, None]  # N D
        discs = self.centres[:, None] + places[:, :, None] * along[:, None]  # N D 2
        apart = discs[:, None, :, None] - discs[None, :, None]  # N N D D 2
        distance = np.linalg.norm(apart, axis=-1) + np.float32(1e-3)
        overlap = np.maximum(2 * self.width - distance, 0)
        overlap[np.arange(len(discs)), np.arange(len(discs))] = 0
        force = (apart / distance[..., None] * overlap[..., None]).sum(axis=(1, 3))  # N D 2, on each disc
        self.centres += 0.25 / DISCS * force.sum(axis=1)
        lever = places[:, :, None] * along[:, None]
        torque = (lever[..., 0] * force[..., 1] - lever[..., 1] * force[..., 0]).sum(axis=1)
        self.angles += 0.5 * torque / (DISCS * (self.lengths**2 / 4 + self.width**2))

    def contours(self) -> list[Floats]:
        """Of every rod the outline [K,2] in pixels."""
        turn = np.linspace(np.pi / 2, 3 * np.pi / 2, 9)
        end = np.column_stack([np.cos(turn), np.sin(turn)]) * self.width
        outlines = []
        for centre, angle, length in zip(self.centres, self.angles, self.lengths, strict=True):
            half = np.array((length / 2, 0))
            turned = np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))))
            outlines.append((np.vstack([end - half, half - end]) @ turned + centre).astype(np.float32))
        return outlines


@dataclass(frozen=True, slots=True)
class _Microscope:
    """How a colony looks: grey levels of the ground, the rods and their rims, uneven light, blur and noise."""

    ground: float
    dark: float
    rim: float
    light: Floats
    blur: float
    noise: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, size: int) -> _Microscope:
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        slope = rng.normal(0, 0.08, 2)
        return cls(
            ground=float(rng.uniform(105, 150)),
            dark=float(rng.uniform(35, 70)),
            rim=float(rng.uniform(25, 70)),
            light=(1 + slope[0] * axis[:, None] + slope[1] * axis[None]).astype(np.float32),
            blur=float(rng.uniform(0.003, 0.006)) * size,
            noise=float(rng.uniform(2, 6)),
        )

    def picture(
        self, owner: NDArray[np.int16], shades: Floats, width: float, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """What is seen of rods, uint8 [S,S,3]; `shades` [N] is how much darker each is than the others."""
        table = np.concatenate([[0.0], 1 + shades]).astype(np.float32)
        body = table[owner]
        halo = np.maximum(cv2.GaussianBlur(body, (0, 0), width) - body, 0)
        grey = (self.ground - self.dark * body + 2 * self.rim * halo) * self.light
        grey = cv2.GaussianBlur(grey, (0, 0), self.blur)
        grey = grey + rng.standard_normal(grey.shape, dtype=np.float32) * np.float32(self.noise)
        return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


@dataclass(frozen=True, slots=True)
class ColonyClips:
    """Clips of growing colonies; `length` only says how many count as one pass."""

    length: int = 1_000_000

    def __len__(self) -> int:
        return self.length

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """A new film for every state of `rng`: `size` x `size` pixels, with masks of at most `objects` rods."""
        colony, microscope = _Colony.drawn(rng, size), _Microscope.drawn(rng, size)
        count = len(colony.lengths)
        rates = rng.uniform(0.01, 0.05, count).astype(np.float32)
        shades = rng.normal(0, 0.12, count).astype(np.float32)
        images = np.empty((frames, size, size, 3), dtype=np.uint8)
        owners = np.empty((frames, size, size), dtype=np.int16)
        for time in range(frames):
            owners[time] = _owners(colony, size)
            images[time] = microscope.picture(owners[time], shades, colony.width, rng)
            colony.grow(rates, rng.normal(0, 0.01, count).astype(np.float32))
        inside = [rod for rod in range(count) if _within(owners[0] == rod + 1)]
        chosen = rng.permutation(inside)[:objects]
        masks = np.stack([owners == rod + 1 for rod in chosen], axis=1)
        return Clip(images, masks, f"colony-{index}")


def _owners(colony: _Colony, size: int) -> NDArray[np.int16]:
    """The number of the rod at every pixel, from 1; 0 is the ground."""
    owner = np.zeros((size, size), dtype=np.int16)
    for number, contour in enumerate(colony.contours(), start=1):
        points = np.rint(contour * (1 << SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(owner, [points], (float(number),), cv2.LINE_8, SUBPIXEL_BITS)
    return owner


def _within(mask: NDArray[np.bool_]) -> bool:
    """Whether something is seen, and not cut off by the border."""
    border = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    return bool(mask.any() and not border)
