"""What drawn objects and backgrounds are covered with: cuttings of photographs and drawn patterns."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Textures:
    """Where surfaces come from: photographs uint8 [h,w,3] RGB, and drawn patterns for the rest.

    `share` is the share of surfaces cut from photographs; without photographs all are drawn. `videos`, uint8
    [T,h,w,3] RGB, are backgrounds that move by themselves, in `video_share` of the scenes.
    """

    photographs: tuple[Image, ...] = ()
    videos: tuple[Image, ...] = ()
    share: float = 0.8
    video_share: float = 0.2

    def surface(self, rng: np.random.Generator, size: int) -> Image:
        """A texture for an object, uint8 [size,size,3]."""
        if self.photographs and rng.random() < self.share:
            return _recoloured(rng, self._cutting(rng, size, smallest=0.08, largest=0.6))
        return texture(rng, size, scale=float(rng.uniform(0.5, 2.0)))

    def ground(self, rng: np.random.Generator, size: int, frames: int) -> list[Image]:
        """A background, uint8 [size,size,3]: one picture, or one a frame."""
        if self.videos and rng.random() < self.video_share:
            return self._excerpt(rng, size, frames)
        if self.photographs and rng.random() < self.share:
            return [_recoloured(rng, self._cutting(rng, size, smallest=0.4, largest=1.0))]
        return [texture(rng, size, scale=float(rng.uniform(0.5, 1.5)))]

    def _excerpt(self, rng: np.random.Generator, size: int, frames: int) -> list[Image]:
        """A random square of a random video through some of its frames, forwards or backwards."""
        video = self.videos[int(rng.integers(len(self.videos)))]
        length, height, width = video.shape[:3]
        step = max(1, min(int(rng.integers(1, 4)), (length - 1) // max(frames - 1, 1)))
        span = step * (frames - 1)
        start = int(rng.integers(max(1, length - span)))
        numbers = np.minimum(np.arange(start, start + span + 1, step), length - 1)
        side = int(rng.uniform(0.6, 1.0) * min(height, width))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        turned, mirrored = rng.random() < 0.5, rng.random() < 0.5
        method = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        pictures = []
        for number in numbers[::-1] if turned else numbers:
            square = np.ascontiguousarray(video[number, top : top + side, left : left + side])
            resized = cv2.resize(square, (size, size), interpolation=method)
            pictures.append(np.ascontiguousarray(resized[:, ::-1] if mirrored else resized, dtype=np.uint8))
        return pictures

    def _cutting(self, rng: np.random.Generator, size: int, *, smallest: float, largest: float) -> Image:
        """A random square of a random photograph; `smallest` and `largest` are shares of its shorter side."""
        photograph = self.photographs[int(rng.integers(len(self.photographs)))]
        height, width = photograph.shape[:2]
        share = np.exp(rng.uniform(np.log(smallest), np.log(largest)))
        side = int(np.clip(share * min(height, width), min(24, height, width), min(height, width)))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        square = photograph[top : top + side, left : left + side]
        method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
        resized = cv2.resize(np.ascontiguousarray(square), (size, size), interpolation=method)
        if rng.random() < 0.5:
            resized = resized[:, ::-1]
        return np.ascontiguousarray(resized, dtype=np.uint8)


def as_surface(values: Floats) -> Image:
    """Numbers of 0…255, and beyond, as pixels."""
    return np.ascontiguousarray(np.clip(values, 0, 255).astype(np.uint8))


def texture(rng: np.random.Generator, size: int, *, scale: float) -> Image:
    """A two-colour pattern with a soft light across it, uint8 [size,size,3]."""
    first, second = rng.uniform(0, 255, (2, 3))
    second = first + (second - first) * rng.uniform(0.1, 1.0)
    pattern = _pattern(rng, size, scale)[:, :, None]
    light = 1.0 + rng.uniform(0, 0.35) * gradient(rng, size)[:, :, None]
    return as_surface((first + (second - first) * pattern) * light)


def noise(rng: np.random.Generator, size: int, roughness: float) -> Floats:
    """Octaves of smooth noise, about -1…1, float [size,size]; larger `roughness` = more fine detail."""
    total = np.zeros((size, size), dtype=np.float32)
    weight_sum = 0.0
    for cells in (3, 7, 17, 41):
        weight = float(cells ** (roughness - 1.5))
        grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        total += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        weight_sum += weight
    return np.asarray(total / weight_sum * 1.5, dtype=np.float32).clip(-1, 1)


def gradient(rng: np.random.Generator, size: int) -> Floats:
    """A plane from -1 to 1 in a random direction, float [size,size]."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    plane = axis[None, :] * np.cos(angle) + axis[:, None] * np.sin(angle)
    return np.asarray(plane / (abs(np.cos(angle)) + abs(np.sin(angle))), dtype=np.float32)


def greyed(surface: Image) -> Image:
    """The same surface without colour."""
    return as_surface(np.repeat(surface.mean(axis=2, keepdims=True, dtype=np.float32), 3, 2))


def blended_into(surface: Image, ground: Image, rng: np.random.Generator) -> Image:
    """`surface` moved to the colours of `ground`, so that it stands out little."""
    own, other = surface.mean(axis=(0, 1)), ground.mean(axis=(0, 1))
    shift = rng.normal(0, 1, 3) * 6 + rng.choice([-1.0, 1.0]) * rng.uniform(12, 30)
    spread = float(np.clip(ground.std() / (surface.std() + 1), 0.3, 1.5))
    return as_surface((surface - own) * spread + other + shift)


def _pattern(rng: np.random.Generator, size: int, scale: float) -> Floats:
    """A field of 0…1, float [size,size]: noise, gradient, stripes, checks, spots or nothing."""
    kind = int(rng.integers(7))
    if kind <= 1:
        return noise(rng, size, scale) * 0.5 + 0.5
    if kind == 2:
        return gradient(rng, size) * 0.5 + 0.5
    if kind == 3:
        return np.full((size, size), 0.5, dtype=np.float32) + 0.1 * noise(rng, size, scale)
    angle, waves = rng.uniform(0, np.pi), rng.uniform(2, 9) * scale
    axis = np.linspace(0, 2 * np.pi * waves, size, dtype=np.float32)
    along = np.sin(axis[None, :] * np.cos(angle) + axis[:, None] * np.sin(angle))
    if kind == 4:
        return np.asarray(along * 0.5 + 0.5, dtype=np.float32)
    across = np.sin(axis[:, None] * np.cos(angle) - axis[None, :] * np.sin(angle))
    product = along * across
    hard = product > (0.0 if kind == 5 else 0.45)
    return np.asarray(cv2.blur(hard.astype(np.float32), (3, 3)), dtype=np.float32)


def _recoloured(rng: np.random.Generator, surface: Image) -> Image:
    """Another light on a cutting: gains of the channels, contrast, now and then channels exchanged."""
    gains = np.exp(rng.normal(0, 0.08, 3) + rng.normal(0, 0.15))
    contrast = rng.uniform(0.6, 1.3)
    values = np.arange(256)[:, None]
    curves = np.clip(((values - surface.mean()) * contrast + surface.mean()) * gains, 0, 255)  # 256 3
    if rng.random() < 0.25:
        surface = np.ascontiguousarray(surface[:, :, rng.permutation(3)])
    return np.asarray(cv2.LUT(surface, curves.astype(np.uint8)[None]), dtype=np.uint8)
