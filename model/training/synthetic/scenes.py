"""Scenes: a background, objects from back to front, light, a camera and the camera's flaws."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model.training.synthetic.bodies import Body, Owners
from model.training.synthetic.motion import Camera, as_matrix, chained

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
BoolMask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Light:
    """A soft edge between light and shade that moves across the picture."""

    direction: float  # radians
    place: float  # of the edge at time 0, in picture sizes from the centre
    speed: float  # picture sizes a frame
    width: float  # of the edge, in picture sizes
    depth: float  # 0 no shade … 1 black

    def at(self, time: float, size: int) -> Floats:
        """Factors float [size,size]."""
        axis = np.linspace(-0.5, 0.5, 24, dtype=np.float32)
        along = axis[None, :] * np.cos(self.direction) + axis[:, None] * np.sin(self.direction)
        lit = 1 / (1 + np.exp(-(along - self.place - self.speed * time) / self.width))
        field = (1 - self.depth + self.depth * lit).astype(np.float32)
        return np.asarray(cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


@dataclass(slots=True)
class Lens:
    """What a camera does to a picture: blur, exposure, noise, compression, exposure time."""

    blur: float = 0.0  # pixels
    noise: float = 0.0  # standard deviation of 0…255
    flicker: float = 0.0
    fade: float = 0.0  # relative brightness change a frame
    jpeg: int | None = None  # quality 1…100
    shutter: float = 0.0  # how long each frame is exposed, in frames
    moments: int = 1  # odd; pictures averaged over the exposure
    haze: float = 0.0  # share of flat grey mixed in: low contrast
    grey: bool = False

    def exposed(self, canvas: Floats, time: int, rng: np.random.Generator) -> Image:
        """The picture uint8 [S,S,3] taken of a canvas."""
        if self.blur > 0.3:
            canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), self.blur), dtype=np.float32)
        gain = float(np.exp(self.fade * time) * (1.0 + self.flicker * rng.normal()))
        canvas = canvas * np.float32(gain * (1 - self.haze))
        if self.haze > 0:
            canvas += np.float32(self.haze * 128)
        if self.noise > 0:
            shape = (*canvas.shape[:2], 1 if self.grey else 3)
            canvas = canvas + rng.standard_normal(shape, dtype=np.float32) * np.float32(self.noise)
        image = np.clip(canvas, 0, 255).astype(np.uint8)
        return image if self.jpeg is None else _compressed(image, self.jpeg)


@dataclass(frozen=True, slots=True)
class Film:
    """A rendered scene: `images` uint8 [T,S,S,3], `owners` int16 [T,S,S], the number of the piece on top.

    `targets` bool [N, numbers] says which numbers belong to each labelled thing.
    """

    images: Image
    owners: Owners
    targets: BoolMask

    def every(self, stride: int) -> Film:
        """The first frame and every `stride`-th after it."""
        return Film(self.images[::stride], self.owners[::stride], self.targets)

    def shown(self, frame: int, smallest: int) -> npt.NDArray[np.intp]:
        """The things of which at least `smallest` pixels can be seen on a frame."""
        areas = np.bincount(self.owners[frame].ravel(), minlength=self.targets.shape[1])
        return np.flatnonzero(self.targets @ areas >= smallest)

    def masks(self, things: npt.NDArray[np.intp]) -> BoolMask:
        """The visible part of each thing, bool [T,N,S,S]."""
        planes = [self.targets[thing][self.owners] for thing in things]
        return np.ascontiguousarray(np.stack(planes, axis=1))


@dataclass(slots=True)
class Scene:
    """A background, bodies from back to front, lights, and how they are filmed."""

    size: int
    background: list[Image]  # larger than the frame; one, or one a frame
    bodies: list[Body]
    camera: Camera
    lens: Lens
    lights: tuple[Light, ...] = ()
    distance: float = 1.0  # share of the camera's motion that the background takes part in

    def render(self, frames: int, rng: np.random.Generator) -> Film:
        """Draws all frames. With an exposure time, a thing is where it is at the middle of it."""
        numbers, targets, highest = _numbered(self.bodies)
        images = np.empty((frames, self.size, self.size, 3), dtype=np.uint8)
        owners = np.empty((frames, self.size, self.size), dtype=np.int16)
        for time in range(frames):
            canvas, owners[time] = self._exposure(float(time), numbers)
            images[time] = self.lens.exposed(canvas, time, rng)
        return Film(images, owners, _membership(targets, highest))

    def _exposure(self, time: float, numbers: list[list[int]]) -> tuple[Floats, Owners]:
        moments = self.lens.moments
        if moments == 1:
            return self._moment(time, numbers)
        total = np.zeros((self.size, self.size, 3), dtype=np.float32)
        middle: Owners = np.zeros((self.size, self.size), dtype=np.int16)
        for moment in range(moments):
            offset = ((moment + 0.5) / moments - 0.5) * self.lens.shutter
            canvas, owner = self._moment(time + offset, numbers)
            total += canvas
            if moment == moments // 2:
                middle = owner
        total *= np.float32(1 / moments)
        return total, middle

    def _moment(self, time: float, numbers: list[list[int]]) -> tuple[Floats, Owners]:
        picture = self.background[min(max(round(time), 0), len(self.background) - 1)]
        offset = (self.size - picture.shape[0]) / 2
        shifted = as_matrix(
            chained(self.camera.at(time, self.distance), (1.0, 0.0, offset, 0.0, 1.0, offset))
        )
        flags, border = cv2.INTER_LINEAR, cv2.BORDER_REFLECT
        warped = cv2.warpAffine(picture, shifted, (self.size, self.size), flags=flags, borderMode=border)
        canvas = np.asarray(warped, dtype=np.float32)
        owner = np.zeros((self.size, self.size), dtype=np.int16)
        views = {near: self.camera.at(time, near) for near in {body.nearness for body in self.bodies}}
        for body, own in zip(self.bodies, numbers, strict=True):
            body.paint(canvas, owner, own, time, views[body.nearness])
        for light in self.lights:
            canvas *= light.at(time, self.size)[:, :, None]
        return canvas, owner


def _numbered(bodies: list[Body]) -> tuple[list[list[int]], list[set[int]], int]:
    """A number for each body's parts, of each labelled thing the numbers that belong to it, and the highest.

    Parts share their body's number, except those with a mask of their own.
    """
    numbers: list[list[int]] = []
    targets: list[set[int]] = []
    used = 0
    for body in bodies:
        used += 1
        whole, own = used, []
        for part in body.parts:
            if part.named:
                used += 1
            own.append(used if part.named else whole)
        numbers.append(own)
        if body.labelled:
            targets.append({whole, *own})
            targets.extend({number} for number in own if number != whole)
    return numbers, targets, used


def _membership(targets: list[set[int]], highest: int) -> BoolMask:
    """Whether an owner's number belongs to a target, bool [targets, highest + 1]."""
    table = np.zeros((len(targets), highest + 1), dtype=bool)
    for row, target in enumerate(targets):
        table[row, sorted(target)] = True
    return table


def _compressed(image: Image, quality: int) -> Image:
    """The picture as JPEG brings it back."""
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert done and decoded is not None
    return np.ascontiguousarray(decoded[:, :, ::-1], dtype=np.uint8)
