"""Outlines of drawn objects and how their parts hang together: blobs, polygons, tubes and jointed figures."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import numpy as np
import numpy.typing as npt

from model.training.synthetic.motion import Affine

Floats = npt.NDArray[np.float32]

CONTOUR_POINTS = 48


@dataclass(slots=True)
class Outline:
    """A closed contour in units of the object's radius, with waves running around it."""

    points: Floats  # K 2
    wave_counts: Floats  # waves around the contour, one per harmonic
    wave_sizes: Floats
    wave_phases: Floats
    wave_speeds: Floats  # radians a frame

    @classmethod
    def around(cls, rng: np.random.Generator, points: Floats, liveliness: float) -> Outline:
        """Waves of a relative size `liveliness` around the given points."""
        waves = 4
        return cls(
            points=points,
            wave_counts=np.arange(1, waves + 1, dtype=np.float32),
            wave_sizes=(rng.normal(0, liveliness, waves) / np.arange(1, waves + 1)).astype(np.float32),
            wave_phases=rng.uniform(0, 2 * np.pi, waves).astype(np.float32),
            wave_speeds=rng.normal(0, 0.25, waves).astype(np.float32),
        )

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, softness: float, liveliness: float) -> Outline:
        """A polygon, star or blob; `softness` 1 gives blobs only."""
        return cls.around(rng, base_contour(rng, softness), liveliness)

    def at(self, time: float) -> Floats:
        """Contour points at a time in frames, float [K,2]."""
        if not self.wave_sizes.any():
            return self.points
        angles = np.arange(len(self.points), dtype=np.float32) * np.float32(2 * np.pi / len(self.points))
        phases = self.wave_counts[:, None] * angles + (self.wave_phases + self.wave_speeds * time)[:, None]
        swell = 1.0 + self.wave_sizes @ np.sin(phases)
        return np.asarray(self.points * np.maximum(swell, 0.2)[:, None], dtype=np.float32)


@dataclass(slots=True)
class Part:
    """A piece of an object, turning about a joint on the piece it hangs on.

    The outline is in units of the object's radius; the joint is its origin, and `joint` is where that lies on
    the parent.
    """

    outline: Outline
    parent: int | None = None
    joint: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0
    swing: float = 0.0  # radians
    rate: float = 0.0  # radians a frame
    phase: float = 0.0
    shift: float = 0.0  # where on the texture the piece lies, in units of the radius
    named: bool = False  # has a mask of its own, besides the whole's

    def local(self, time: float) -> Affine:
        """From the part's coordinates to its parent's."""
        angle = self.angle + self.swing * sin(self.rate * time + self.phase)
        return cos(angle), -sin(angle), self.joint[0], sin(angle), cos(angle), self.joint[1]


def single(outline: Outline) -> list[Part]:
    """An object of one piece."""
    return [Part(outline)]


def jointed(rng: np.random.Generator, finest: float) -> list[Part]:
    """A body with two to six limbs of one or two links, some with a head. No limb is narrower than 2 `finest`."""
    trunk_size = (float(rng.uniform(0.4, 0.75)), float(rng.uniform(0.25, 0.45)))
    trunk = Part(Outline.around(rng, _oval(rng, *trunk_size), 0.02))
    limbs = int(rng.integers(2, 7))
    rate = float(rng.uniform(0.25, 1.1))
    links = 1 if rng.random() < 0.4 else 2
    length, width = float(rng.uniform(0.35, 0.6)), max(finest, float(rng.uniform(0.07, 0.16)))
    spread = rng.random() < 0.5  # all around, or hanging down on one side
    parts = [trunk]
    for number in range(limbs):
        share = (number + 0.5) / limbs
        angle = 2 * np.pi * share if spread else np.pi * (0.15 + 0.7 * share)
        joint = (0.85 * trunk_size[0] * float(np.cos(angle)), 0.8 * trunk_size[1] * float(np.sin(angle)))
        swing, phase = float(rng.uniform(0.15, 0.7)), float(rng.uniform(0, 2 * np.pi))
        parent: int | None = 0
        for link in range(links):
            own = length / links * (1.1 if link == 0 else 1.0)
            parts.append(
                Part(
                    Outline.around(rng, _capsule(own, max(finest, width * (1.0 - 0.3 * link))), 0.0),
                    parent=parent,
                    joint=joint if link == 0 else (own, 0.0),
                    angle=angle if link == 0 else float(rng.normal(0, 0.4)),
                    swing=swing * (1.0 if link == 0 else 0.8),
                    rate=rate,
                    phase=phase - 0.8 * link,
                    shift=float(rng.uniform(-0.5, 0.5)),
                )
            )
            parent = len(parts) - 1
    if rng.random() < 0.6:
        side = float(rng.choice([-1.0, 1.0]))
        head = Outline.around(
            rng, _oval(rng, float(rng.uniform(0.18, 0.3)), float(rng.uniform(0.16, 0.26))), 0.02
        )
        parts.append(
            Part(head, 0, (side * trunk_size[0] * 1.05, -0.6 * trunk_size[1]), 0.0, 0.15, rate, 0.0, 0.3)
        )
    return parts


def chain(rng: np.random.Generator, finest: float) -> list[Part]:
    """A snake or rope: four to seven links in a row, a wave running through them; `finest` as for limbs."""
    count = int(rng.integers(4, 8))
    length, width = 2.0 / count, float(rng.uniform(0.05, 0.17))
    rate, swing = float(rng.uniform(0.2, 0.9)), float(rng.uniform(0.1, 0.5))
    parts = []
    for number in range(count):
        thick = max(finest, width * (1.0 - 0.5 * number / count))
        parts.append(
            Part(
                Outline.around(rng, _capsule(length, thick), 0.0),
                parent=number - 1 if number else None,
                joint=(length, 0.0) if number else (-1.0, 0.0),
                angle=float(rng.normal(0, 0.15)),
                swing=swing,
                rate=rate,
                phase=-1.1 * number,
                shift=number * 0.15,
            )
        )
    return parts


def thin(rng: np.random.Generator, finest: float) -> list[Part]:
    """A stick, leaf or wire of one piece, straight or bent; `finest` as for limbs."""
    across = np.linspace(-1, 1, CONTOUR_POINTS // 2)
    width = max(finest, float(np.exp(rng.uniform(np.log(0.04), np.log(0.14)))))
    taper = width * np.sqrt(np.clip(1 - np.abs(across) ** float(rng.choice([2.0, 6.0])), 0, 1)) + 0.01
    bend = rng.uniform(-0.35, 0.35) * (across**2 - 0.4) + rng.uniform(-0.12, 0.12) * np.sin(3 * across)
    upper, lower = np.column_stack([across, bend - taper]), np.column_stack([across, bend + taper])
    points = np.concatenate([upper, lower[::-1]]).astype(np.float32)
    return [Part(Outline.around(rng, points, 0.0))]


def with_named_part(rng: np.random.Generator, parts: list[Part]) -> list[Part]:
    """One piece gets a mask of its own; an object of one piece gets a marking that has one."""
    if len(parts) > 1:
        parts[int(rng.integers(1, len(parts)))].named = True
        return parts
    inner = base_contour(rng, 1.0) * np.float32(rng.uniform(0.25, 0.45))
    place = (float(rng.uniform(-0.35, 0.35)), float(rng.uniform(-0.35, 0.35)))
    marking = Part(Outline.around(rng, inner, 0.0), 0, place, shift=float(rng.uniform(0.6, 1.2)), named=True)
    return [*parts, marking]


def base_contour(rng: np.random.Generator, softness: float) -> Floats:
    """Contour float [K,2] of about unit radius: polygon, star or blob; `softness` 1 gives blobs only."""
    angles = np.linspace(0, 2 * np.pi, CONTOUR_POINTS, endpoint=False)
    if softness >= 1.0:
        radii = np.ones(CONTOUR_POINTS)
        for count in range(2, 5):
            radii += rng.normal(0, 0.12 / count) * np.sin(count * angles + rng.uniform(0, 2 * np.pi))
        points = np.column_stack([radii * np.cos(angles), radii * np.sin(angles)])
    else:
        corners = int(rng.integers(3, 9))
        corner_angles = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
        corner_radii = rng.uniform(0.75, 1.15, corners)
        if rng.random() < 0.35:  # a star
            corner_radii[::2] *= rng.uniform(0.45, 0.7)
        points = _resampled(
            np.column_stack([np.cos(corner_angles), np.sin(corner_angles)]) * corner_radii[:, None]
        )
    if rng.random() < 0.25:  # bent like a banana
        points[:, 1] = points[:, 1] * 0.6 + rng.uniform(-0.6, 0.6) * (points[:, 0] ** 2 - 0.4)
    return points.astype(np.float32)


def box_contour(half_width: float, half_height: float) -> Floats:
    """A rectangle around the origin, float [4,2]."""
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return np.array([(x * half_width, y * half_height) for x, y in corners], dtype=np.float32)


def _resampled(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """CONTOUR_POINTS points along a closed polygon."""
    closed = np.vstack([corners, corners[:1]])
    at = np.linspace(0, len(corners), CONTOUR_POINTS, endpoint=False)
    known = np.arange(len(closed))
    return np.column_stack([np.interp(at, known, closed[:, 0]), np.interp(at, known, closed[:, 1])])


def _oval(rng: np.random.Generator, half_width: float, half_height: float) -> Floats:
    return base_contour(rng, 1.0) * np.array([half_width, half_height], dtype=np.float32)


def _capsule(length: float, half_width: float) -> Floats:
    """A link from the origin along x, round at both ends."""
    turn = np.linspace(np.pi / 2, 3 * np.pi / 2, 9)
    start = np.column_stack([np.cos(turn), np.sin(turn)]) * half_width
    end = -start + (length, 0.0)
    return np.concatenate([start, end]).astype(np.float32)
