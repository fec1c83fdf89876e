"""Procedural training clips: drawn shapes that move over drawn backgrounds, with exact masks.

Two kinds of scene teach a young model what an object is without any real video. *Things*: a few textured
shapes that move, turn, swell, bend, cross, leave and come back over a moving background, sometimes with
look-alikes. *Cells*: grey fields of many small near-identical blobs, as under a microscope. Every clip is a
function of the generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model.training.clips import Clip

Floats = npt.NDArray[np.float32]
BoolMask = npt.NDArray[np.bool_]

CONTOUR_POINTS = 48
SUBPIXEL_BITS = 4
TEXTURE_SIZE = 96
SMALLEST_AREA = 8  # pixels an object must show on the first frame


@dataclass(frozen=True, slots=True)
class SyntheticClips:
    """An endless source of drawn clips.

    `cells` is the share of microscope-like scenes; `length` only says how many clips count as one pass.
    """

    cells: float = 0.3
    length: int = 1_000_000

    def __len__(self) -> int:
        return self.length

    def clip(self, index: int, rng: np.random.Generator, *, frames: int, objects: int, size: int) -> Clip:
        """A new clip for every state of `rng`; at least one object shows on its first frame."""
        cells = rng.random() < self.cells
        while True:
            scene = _cell_scene(rng, size) if cells else _thing_scene(rng, size)
            images, masks = scene.render(frames, rng)
            shown = np.flatnonzero(masks[0].sum(axis=(1, 2)) >= SMALLEST_AREA)
            if len(shown):
                chosen = rng.permutation(shown)[:objects]
                return Clip(images, masks[:, chosen], f"{'cells' if cells else 'things'}-{index}")


@dataclass(slots=True)
class _Outline:
    """A closed contour in units of the object's radius, with waves running around it."""

    points: Floats  # K 2
    wave_counts: Floats  # waves around the contour, one per harmonic
    wave_sizes: Floats
    wave_phases: Floats
    wave_speeds: Floats  # radians a frame

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, softness: float, liveliness: float) -> _Outline:
        waves = 4
        return cls(
            points=_base_contour(rng, softness),
            wave_counts=np.arange(1, waves + 1, dtype=np.float32),
            wave_sizes=(rng.normal(0, liveliness, waves) / np.arange(1, waves + 1)).astype(np.float32),
            wave_phases=rng.uniform(0, 2 * np.pi, waves).astype(np.float32),
            wave_speeds=rng.normal(0, 0.25, waves).astype(np.float32),
        )

    def at(self, time: float) -> Floats:
        """Contour points at a time in frames, float [K,2]."""
        angles = np.linspace(0, 2 * np.pi, len(self.points), endpoint=False, dtype=np.float32)
        phases = self.wave_counts[:, None] * angles + (self.wave_phases + self.wave_speeds * time)[:, None]
        swell = 1.0 + (self.wave_sizes[:, None] * np.sin(phases)).sum(axis=0)
        return np.asarray(self.points * np.maximum(swell, 0.2)[:, None], dtype=np.float32)


@dataclass(slots=True)
class _Path:
    """Where an object is at a time: drift, sway and turn, all smooth."""

    start: Floats  # 2, pixels
    velocity: Floats  # 2, pixels a frame
    sway: Floats  # 2, pixels
    sway_rate: float  # radians a frame
    sway_phase: float
    angle: float
    spin: float  # radians a frame
    growth: float  # relative size change a frame

    def at(self, time: float) -> tuple[Floats, float, float]:
        """Centre in pixels, angle in radians, scale factor."""
        swing = np.sin(self.sway_rate * time + self.sway_phase) - np.sin(self.sway_phase)
        centre = self.start + self.velocity * time + self.sway * swing
        return centre.astype(np.float32), self.angle + self.spin * time, float(np.exp(self.growth * time))


@dataclass(slots=True)
class _Body:
    """A drawn object: outline, path, size, texture and edge."""

    outline: _Outline
    path: _Path
    radius: float
    aspect: float
    texture: Floats  # h w 3, 0…255
    edge: Floats | None = None  # colour of a contour line
    edge_width: int = 1
    softness: float = 0.0  # blur of the edge, pixels
    opacity: float = 1.0
    labelled: bool = True

    def pose(self, time: float, camera: Floats) -> tuple[Floats, Floats]:
        """Matrix 2x3 from object units to pixels, and the contour in pixels [K,2]."""
        centre, angle, scale = self.path.at(time)
        radius = self.radius * scale
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = camera[:, :2] @ (turn * (radius, radius * self.aspect))
        matrix = np.column_stack([linear, camera[:, :2] @ centre + camera[:, 2]]).astype(np.float32)
        contour = self.outline.at(time) @ matrix[:, :2].T + matrix[:, 2]
        return matrix, contour.astype(np.float32)

    def paint(
        self, canvas: Floats, owner: npt.NDArray[np.int16], number: int, time: float, camera: Floats
    ) -> None:
        """Draws the body into `canvas` [S,S,3] and its number into `owner` [S,S]."""
        matrix, contour = self.pose(time, camera)
        size = canvas.shape[0]
        pad = 2 + int(2 * self.softness) + self.edge_width
        low = np.clip(np.floor(contour.min(axis=0)).astype(int) - pad, 0, size)
        high = np.clip(np.ceil(contour.max(axis=0)).astype(int) + pad + 1, 0, size)
        wide, tall = int(high[0] - low[0]), int(high[1] - low[1])
        if wide <= 0 or tall <= 0:
            return
        local = contour - low
        alpha = _filled(local, wide, tall)
        region = owner[low[1] : high[1], low[0] : high[0]]
        region[alpha > 127] = number
        colour = self._coloured(matrix, low, wide, tall, local)
        weight = cv2.GaussianBlur(alpha, (0, 0), self.softness) if self.softness > 0 else alpha
        blend = (weight.astype(np.float32) * (self.opacity / 255.0))[:, :, None]
        target = canvas[low[1] : high[1], low[0] : high[0]]
        target += (colour - target) * blend

    def _coloured(
        self, matrix: Floats, low: npt.NDArray[np.int_], wide: int, tall: int, local: Floats
    ) -> Floats:
        half = self.texture.shape[0] / 2
        to_pixels = np.column_stack([matrix[:, :2] * (1.5 / half), matrix[:, 2] - low])
        to_pixels[:, 2] -= to_pixels[:, :2] @ (half, half)
        colour = cv2.warpAffine(
            self.texture, to_pixels, (wide, tall), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        if self.edge is not None:
            points = np.round(local * (1 << SUBPIXEL_BITS)).astype(np.int32)
            line = tuple(float(value) for value in self.edge)
            cv2.polylines(colour, [points], True, line, self.edge_width, cv2.LINE_AA, SUBPIXEL_BITS)
        return np.asarray(colour, dtype=np.float32)


@dataclass(slots=True)
class _Scene:
    """A background, bodies from back to front, a camera and the camera's flaws."""

    size: int
    background: Floats  # larger than the frame
    bodies: list[_Body]
    pan: Floats  # 2, pixels a frame
    zoom: float  # relative a frame
    roll: float  # radians a frame
    blur: float
    noise: float
    flicker: float
    fade: float  # relative brightness change a frame
    parallax: float = 1.0
    grey: bool = False

    def render(self, frames: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], BoolMask]:
        """Images uint8 [T,S,S,3] and the visible part of each labelled body bool [T,N,S,S]."""
        numbers = [index + 1 for index, body in enumerate(self.bodies) if body.labelled]
        images = np.empty((frames, self.size, self.size, 3), dtype=np.uint8)
        masks = np.empty((frames, len(numbers), self.size, self.size), dtype=bool)
        for time in range(frames):
            canvas, owner = self._frame(float(time))
            images[time] = self._exposed(canvas, time, rng)
            masks[time] = owner[None] == np.array(numbers, dtype=np.int16)[:, None, None]
        return images, masks

    def _frame(self, time: float) -> tuple[Floats, npt.NDArray[np.int16]]:
        camera = self._camera(time)
        offset = (self.background.shape[0] - self.size) / 2
        shifted = camera.copy()
        shifted[:, 2] = camera[:, 2] * self.parallax - camera[:, :2] @ np.full(2, offset)
        flags, border = cv2.INTER_LINEAR, cv2.BORDER_REFLECT
        warped = cv2.warpAffine(
            self.background, shifted, (self.size, self.size), flags=flags, borderMode=border
        )
        canvas = np.asarray(warped, dtype=np.float32)
        owner = np.zeros((self.size, self.size), dtype=np.int16)
        for number, body in enumerate(self.bodies, start=1):
            body.paint(canvas, owner, number, time, camera)
        return canvas, owner

    def _camera(self, time: float) -> Floats:
        angle, scale = self.roll * time, np.exp(self.zoom * time)
        linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.full(2, self.size / 2)
        return np.column_stack([linear, centre - linear @ centre + self.pan * time]).astype(np.float32)

    def _exposed(self, canvas: Floats, time: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        if self.blur > 0.3:
            canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), self.blur), dtype=np.float32)
        canvas = canvas * (np.exp(self.fade * time) * (1.0 + self.flicker * rng.normal()))
        if self.noise > 0:
            shape = (self.size, self.size, 1 if self.grey else 3)
            canvas = canvas + rng.standard_normal(shape, dtype=np.float32) * self.noise
        return np.clip(canvas, 0, 255).astype(np.uint8)


def _thing_scene(rng: np.random.Generator, size: int) -> _Scene:
    """A few textured shapes over a textured background."""
    background = _texture(rng, _background_size(size), scale=float(rng.uniform(0.5, 1.5)))
    pace = size * float(rng.choice([0.006, 0.02, 0.04]))
    bodies = [_thing(rng, size, pace) for _ in range(int(rng.integers(1, 6)))]
    if rng.random() < 0.35:
        bodies += [_look_alike(rng, bodies[0], size, pace) for _ in range(int(rng.integers(1, 4)))]
    if rng.random() < 0.3:
        occluder = _thing(rng, size, pace)
        occluder.labelled = False
        bodies.append(occluder)
    grey = rng.random() < 0.12
    if grey:
        background = _greyed(background)
        for body in bodies:
            body.texture = _greyed(body.texture)
    return _filmed(rng, size, background, bodies, grey=grey, noise=float(rng.choice([0, 3, 8])))


def _cell_scene(rng: np.random.Generator, size: int) -> _Scene:
    """Many small near-identical blobs: bright on dark, dark on bright, or only outlined."""
    style = rng.random()
    ground, body = _cell_brightness(rng, dark_ground=style < 0.65)
    background = np.repeat(
        ground + rng.uniform(2, 14) * _noise(rng, _background_size(size), 0.6)[:, :, None], 3, 2
    )
    radius = size * float(np.exp(rng.uniform(np.log(0.03), np.log(0.15))))
    contrast = rng.uniform(0.02, 0.35)
    texture = _noise(rng, TEXTURE_SIZE, float(rng.uniform(0.4, 1.5)))
    bodies = [
        _cell(rng, centre, radius, body, ground, contrast, texture, outlined=style > 0.85)
        for centre in _scattered(rng, size, radius)
    ]
    blur = float(rng.uniform(0, 0.02) * size * 0.5)
    scene = _filmed(
        rng, size, background.astype(np.float32), bodies, grey=True, noise=float(rng.choice([0, 4, 10]))
    )
    scene.blur = min(blur, radius * 0.25)
    scene.pan *= 0.3
    scene.zoom = scene.roll = 0.0
    return scene


def _cell_brightness(rng: np.random.Generator, *, dark_ground: bool) -> tuple[float, float]:
    ground = float(rng.uniform(2, 60) if dark_ground else rng.uniform(120, 220))
    step = float(rng.uniform(20, 180) if dark_ground else -rng.uniform(20, 110))
    return ground, float(np.clip(ground + step, 0, 255))


def _cell(
    rng: np.random.Generator,
    centre: Floats,
    radius: float,
    brightness: float,
    ground: float,
    contrast: float,
    texture: Floats,
    *,
    outlined: bool,
) -> _Body:
    """One blob; `brightness` varies from cell to cell, the texture is shared."""
    level = ground + (brightness - ground) * float(rng.uniform(0.55, 1.2))
    flat = ground if outlined else level
    grey = flat + (brightness - ground) * contrast * 2 * np.roll(
        texture, int(rng.integers(TEXTURE_SIZE)), axis=1
    )
    own_radius = radius * float(rng.uniform(0.8, 1.25))
    return _Body(
        outline=_Outline.drawn(rng, softness=1.0, liveliness=0.06),
        path=_path(rng, centre, pace=radius * float(rng.choice([0.04, 0.12, 0.3])), spin=0.04),
        radius=own_radius,
        aspect=float(rng.uniform(0.6, 1.0)),
        texture=np.ascontiguousarray(np.repeat(np.clip(grey, 0, 255)[:, :, None], 3, 2), dtype=np.float32),
        edge=np.full(3, level, dtype=np.float32) if outlined else None,
        softness=min(1.5, own_radius * 0.12) if rng.random() < 0.5 else 0.0,
    )


def _scattered(rng: np.random.Generator, size: int, radius: float) -> list[Floats]:
    """Centres that hardly overlap, at most 60 of them."""
    wanted = int(rng.uniform(0.15, 0.75) * (size / (2.2 * radius)) ** 2)
    centres: list[Floats] = []
    candidates = rng.uniform(-0.05 * size, 1.05 * size, (4 * min(60, max(3, wanted)), 2)).astype(np.float32)
    closest = (float(rng.uniform(1.4, 2.4)) * radius) ** 2
    for candidate in candidates:
        if all(float(((candidate - other) ** 2).sum()) > closest for other in centres):
            centres.append(candidate)
        if len(centres) >= min(60, max(3, wanted)):
            break
    return centres


def _thing(rng: np.random.Generator, size: int, pace: float) -> _Body:
    radius = size * float(np.exp(rng.uniform(np.log(0.05), np.log(0.32))))
    centre = rng.uniform(0.1, 0.9, 2).astype(np.float32) * size
    edged = rng.random() < 0.25
    return _Body(
        outline=_Outline.drawn(
            rng, softness=float(rng.choice([0.0, 1.0])), liveliness=float(rng.choice([0, 0.06, 0.15]))
        ),
        path=_path(rng, centre, pace, spin=float(rng.choice([0.0, 0.03, 0.12]))),
        radius=radius,
        aspect=float(rng.uniform(0.45, 1.0)),
        texture=_texture(rng, TEXTURE_SIZE, scale=float(rng.uniform(0.5, 2.0))),
        edge=rng.uniform(0, 255, 3).astype(np.float32) if edged else None,
        edge_width=int(rng.integers(1, 3)),
    )


def _look_alike(rng: np.random.Generator, original: _Body, size: int, pace: float) -> _Body:
    """The same outline and texture somewhere else, on its own path."""
    centre = rng.uniform(0.1, 0.9, 2).astype(np.float32) * size
    return _Body(
        outline=original.outline,
        path=_path(rng, centre, pace, spin=0.03),
        radius=original.radius * float(rng.uniform(0.85, 1.15)),
        aspect=original.aspect,
        texture=original.texture,
        edge=original.edge,
        edge_width=original.edge_width,
    )


def _path(rng: np.random.Generator, centre: Floats, pace: float, spin: float) -> _Path:
    return _Path(
        start=centre,
        velocity=rng.normal(0, pace, 2).astype(np.float32),
        sway=rng.normal(0, 4 * pace, 2).astype(np.float32) * (rng.random() < 0.5),
        sway_rate=float(rng.uniform(0.2, 0.9)),
        sway_phase=float(rng.uniform(0, 2 * np.pi)),
        angle=float(rng.uniform(0, 2 * np.pi)),
        spin=float(rng.normal(0, spin)),
        growth=float(rng.normal(0, 0.015)),
    )


def _filmed(
    rng: np.random.Generator, size: int, background: Floats, bodies: list[_Body], *, grey: bool, noise: float
) -> _Scene:
    """The scene with a drawn camera; half of the cameras stand still."""
    moving = float(rng.random() < 0.5)
    return _Scene(
        size=size,
        background=background,
        bodies=bodies,
        pan=(rng.normal(0, 0.012 * size, 2) * moving).astype(np.float32),
        zoom=float(rng.normal(0, 0.01) * moving),
        roll=float(rng.normal(0, 0.01) * moving),
        blur=float(rng.choice([0.0, 0.0, 0.6, 1.0]) * size / 128),
        noise=noise,
        flicker=float(rng.choice([0.0, 0.03])),
        fade=float(rng.normal(0, 0.01)),
        parallax=float(rng.choice([1.0, 0.5, 0.0])),
        grey=grey,
    )


def _base_contour(rng: np.random.Generator, softness: float) -> Floats:
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


def _resampled(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """CONTOUR_POINTS points along a closed polygon."""
    closed = np.vstack([corners, corners[:1]])
    at = np.linspace(0, len(corners), CONTOUR_POINTS, endpoint=False)
    known = np.arange(len(closed))
    return np.column_stack([np.interp(at, known, closed[:, 0]), np.interp(at, known, closed[:, 1])])


def _filled(contour: Floats, wide: int, tall: int) -> npt.NDArray[np.uint8]:
    """Antialiased filled contour, uint8 [tall,wide] of 0…255."""
    alpha = np.zeros((tall, wide), dtype=np.uint8)
    points = np.round(contour * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(alpha, [points], (255.0,), cv2.LINE_AA, SUBPIXEL_BITS)
    return alpha


def _texture(rng: np.random.Generator, size: int, *, scale: float) -> Floats:
    """A two-colour pattern with a soft light across it, float [size,size,3] of 0…255."""
    first, second = rng.uniform(0, 255, (2, 3))
    second = first + (second - first) * rng.uniform(0.1, 1.0)
    pattern = _pattern(rng, size, scale)[:, :, None]
    light = 1.0 + rng.uniform(0, 0.35) * _gradient(rng, size)[:, :, None]
    return np.ascontiguousarray((first + (second - first) * pattern) * light, dtype=np.float32)


def _pattern(rng: np.random.Generator, size: int, scale: float) -> Floats:
    """A field of 0…1, float [size,size]: noise, gradient, stripes, checks, spots or nothing."""
    kind = int(rng.integers(7))
    if kind <= 1:
        return _noise(rng, size, scale) * 0.5 + 0.5
    if kind == 2:
        return _gradient(rng, size) * 0.5 + 0.5
    if kind == 3:
        return np.full((size, size), 0.5, dtype=np.float32) + 0.1 * _noise(rng, size, scale)
    angle, waves = rng.uniform(0, np.pi), rng.uniform(2, 9) * scale
    axis = np.linspace(0, 2 * np.pi * waves, size, dtype=np.float32)
    along = np.sin(axis[None, :] * np.cos(angle) + axis[:, None] * np.sin(angle))
    if kind == 4:
        return np.asarray(along * 0.5 + 0.5, dtype=np.float32)
    across = np.sin(axis[:, None] * np.cos(angle) - axis[None, :] * np.sin(angle))
    product = along * across
    hard = product > (0.0 if kind == 5 else 0.45)
    return np.asarray(cv2.blur(hard.astype(np.float32), (3, 3)), dtype=np.float32)


def _noise(rng: np.random.Generator, size: int, roughness: float) -> Floats:
    """Octaves of smooth noise, about -1…1, float [size,size]; larger `roughness` = more fine detail."""
    total = np.zeros((size, size), dtype=np.float32)
    weight_sum = 0.0
    for cells in (3, 7, 17, 41):
        weight = float(cells ** (roughness - 1.5))
        grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        total += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        weight_sum += weight
    return np.asarray(total / weight_sum * 1.5, dtype=np.float32).clip(-1, 1)


def _gradient(rng: np.random.Generator, size: int) -> Floats:
    """A plane from -1 to 1 in a random direction, float [size,size]."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    plane = axis[None, :] * np.cos(angle) + axis[:, None] * np.sin(angle)
    return np.asarray(plane / (abs(np.cos(angle)) + abs(np.sin(angle))), dtype=np.float32)


def _greyed(texture: Floats) -> Floats:
    return np.ascontiguousarray(np.repeat(texture.mean(axis=2, keepdims=True), 3, 2), dtype=np.float32)


def _background_size(size: int) -> int:
    return int(size * 1.5)
