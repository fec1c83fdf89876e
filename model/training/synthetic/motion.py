"""Where drawn objects are at a time: paths, tilts, waves through the body, the camera."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, exp, pi, sin

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Affine = tuple[float, float, float, float, float, float]
"""A map (x, y) → (a x + b y + c, d x + e y + f). Plain numbers: a clip has thousands of these."""


def chained(outer: Affine, inner: Affine) -> Affine:
    """The map that applies `inner`, then `outer`."""
    a, b, c, d, e, f = outer
    g, h, i, j, k, m = inner
    return a * g + b * j, a * h + b * k, a * i + b * m + c, d * g + e * j, d * h + e * k, d * i + e * m + f


def mapped(affine: Affine, points: Floats) -> Floats:
    """Points float [K,2] under a map."""
    a, b, c, d, e, f = affine
    linear, offset = np.array(((a, d), (b, e)), np.float32), np.array((c, f), np.float32)
    moved: Floats = points @ linear
    moved += offset
    return moved


def as_matrix(affine: Affine) -> npt.NDArray[np.float64]:
    """The map as a matrix [2,3]."""
    return np.array((affine[:3], affine[3:]))


@dataclass(slots=True)
class Path:
    """Where an object is at a time: drift, sway and turn, all smooth, and perhaps one excursion and back."""

    start: Floats  # 2, pixels
    velocity: Floats  # 2, pixels a frame
    sway: Floats  # 2, pixels
    sway_rate: float  # radians a frame
    sway_phase: float
    angle: float
    spin: float  # radians a frame
    growth: float  # relative size change a frame
    trip: Floats = field(default_factory=lambda: np.zeros(2, dtype=np.float32))  # pixels, at its far end
    trip_times: tuple[float, float] = (0.0, 1.0)  # frames

    def at(self, time: float) -> tuple[tuple[float, float], float, float]:
        """Centre in pixels, angle in radians, scale factor."""
        swing = sin(self.sway_rate * time + self.sway_phase) - sin(self.sway_phase)
        begin, end = self.trip_times
        away = sin(pi * min(max((time - begin) / (end - begin), 0.0), 1.0)) ** 2
        centre = self.start + self.velocity * time + self.sway * swing + self.trip * away
        return (float(centre[0]), float(centre[1])), self.angle + self.spin * time, exp(self.growth * time)


@dataclass(slots=True)
class Tilt:
    """A turn out of the picture's plane, seen as foreshortening along one direction."""

    direction: float  # radians
    angle: float
    rate: float  # radians a frame

    def at(self, time: float) -> Affine:
        """The squeeze about the origin."""
        narrow = max(0.25, abs(cos(self.angle + self.rate * time)))
        along, across = cos(self.direction), sin(self.direction)
        mixed = (narrow - 1.0) * along * across
        return (
            narrow * along**2 + across**2,
            mixed,
            0.0,
            mixed,
            narrow * across**2 + along**2,
            0.0,
        )


@dataclass(slots=True)
class Warp:
    """Waves that run through a body and carry outline and texture with them; in units of its radius."""

    sizes: Floats  # W 2
    waves: Floats  # W 2, radians a unit
    phases: Floats  # W
    rates: Floats  # W, radians a frame

    @classmethod
    def drawn(cls, rng: np.random.Generator, size: float) -> Warp:
        count = 3
        return cls(
            sizes=rng.normal(0, size / np.sqrt(count), (count, 2)).astype(np.float32),
            waves=rng.normal(0, 1.6, (count, 2)).astype(np.float32),
            phases=rng.uniform(0, 2 * np.pi, count).astype(np.float32),
            rates=rng.normal(0, 0.45, count).astype(np.float32),
        )

    def shift(self, points: Floats, time: float) -> Floats:
        """How far the points [..., 2] are carried at a time, float [..., 2]."""
        return np.asarray(
            np.sin(points @ self.waves.T + (self.phases + self.rates * time)) @ self.sizes, dtype=np.float32
        )


@dataclass(slots=True)
class Camera:
    """Pan, zoom, roll about the picture's centre, and the shaking of a hand."""

    size: int
    pan: Floats  # 2, pixels a frame
    zoom: float  # relative a frame
    roll: float  # radians a frame
    shake: float = 0.0  # pixels
    shake_phases: Floats = field(default_factory=lambda: np.zeros(4, dtype=np.float32))

    def at(self, time: float, nearness: float = 1.0) -> Affine:
        """From the scene to the picture; far things (`nearness` below 1) move less."""
        angle, scale, middle = self.roll * time, exp(self.zoom * time * nearness), self.size / 2
        along, across = scale * cos(angle), scale * sin(angle)
        first, second, third, fourth = (float(phase) for phase in self.shake_phases)
        x = self.shake * (sin(1.3 * time + first) + 0.6 * sin(2.9 * time + third))
        y = self.shake * (sin(1.7 * time + second) + 0.6 * sin(2.3 * time + fourth))
        x += middle * (1 - along + across) + float(self.pan[0]) * time * nearness
        y += middle * (1 - across - along) + float(self.pan[1]) * time * nearness
        return along, -across, x, across, along, y


def wandering(rng: np.random.Generator, centre: Floats, pace: float, spin: float) -> Path:
    """A path that begins at `centre`; `pace` in pixels a frame, `spin` in radians a frame."""
    return Path(
        start=centre,
        velocity=rng.normal(0, pace, 2).astype(np.float32),
        sway=rng.normal(0, 4 * pace, 2).astype(np.float32) * (rng.random() < 0.5),
        sway_rate=float(rng.uniform(0.2, 0.9)),
        sway_phase=float(rng.uniform(0, 2 * np.pi)),
        angle=float(rng.uniform(0, 2 * np.pi)),
        spin=float(rng.normal(0, spin)),
        growth=float(rng.normal(0, 0.015)),
    )


def through(rng: np.random.Generator, point: Floats, velocity: Floats, middle: float, spin: float) -> Path:
    """A straight path that reaches `point` at time `middle`."""
    path = wandering(rng, point, 0.0, spin)
    path.velocity = velocity.astype(np.float32)
    path.start = (point - velocity * middle).astype(np.float32)
    return path


def leaving(rng: np.random.Generator, centre: Floats, radius: float, size: int, frames: int) -> Path:
    """A path out over the nearest border and back again within the clip."""
    path = wandering(rng, centre, size * 0.004, 0.03)
    gaps = np.array([centre[0], size - centre[0], centre[1], size - centre[1]])
    side = int(gaps.argmin())
    distance = float(gaps[side] + radius * 1.5)
    trip = np.zeros(2, dtype=np.float32)
    trip[side // 2] = distance * (-1 if side % 2 == 0 else 1)
    begin = float(rng.uniform(0.0, 0.25)) * frames
    path.trip = trip * np.float32(rng.uniform(1.0, 1.3))
    path.trip_times = (begin, begin + float(rng.uniform(0.6, 0.8)) * max(frames, 4))
    return path
