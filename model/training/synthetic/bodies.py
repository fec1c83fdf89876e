"""Objects that are drawn into a picture, part by part, and what of them can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import cv2
import numpy as np
import numpy.typing as npt

from model.training.synthetic.motion import Affine, Path, Tilt, Warp, as_matrix, chained, mapped
from model.training.synthetic.shapes import Part

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
Owners = npt.NDArray[np.int16]

SUBPIXEL_BITS = 4
TEXTURE_SPAN = 1.5  # a texture covers this many radii on each side of its object's centre
GRID = 12  # nodes along each side of the coarse map that a warp bends a texture by


@dataclass(slots=True)
class Body:
    """A drawn object: parts from back to front, path, size, texture and edge."""

    parts: list[Part]
    path: Path
    radius: float
    aspect: float
    texture: Image  # h w 3
    edge: Floats | None = None  # colour of a contour line
    edge_width: int = 1
    softness: float = 0.0  # blur of the edge, pixels
    opacity: float = 1.0
    shading: float = 0.0  # how much darker the rim is
    shadow: Floats | None = None  # 2, offset in pixels of the shadow it throws
    tilt: Tilt | None = None
    warp: Warp | None = None
    nearness: float = 1.0  # share of the camera's motion that it takes part in
    labelled: bool = True

    def paint(self, canvas: Floats, owner: Owners, numbers: list[int], time: float, camera: Affine) -> None:
        """Draws the body into `canvas` [S,S,3] and the number of each part into `owner` [S,S]."""
        layers = self._layers(time, camera)
        if self.shadow is not None:
            for _, contour in layers:
                _darken(canvas, contour + self.shadow, self.radius)
        for part, number, (affine, contour) in zip(self.parts, numbers, layers, strict=True):
            self._paint_part(canvas, owner, number, part, affine, contour, time)

    def _layers(self, time: float, camera: Affine) -> list[tuple[Affine, Floats]]:
        """Of each part the map from its units to pixels, and the contour in pixels [K,2]."""
        base = self._base(time, camera)
        local: list[Affine] = []
        layers = []
        for part in self.parts:
            own = part.local(time)
            local.append(own if part.parent is None else chained(local[part.parent], own))
            whole, points = chained(base, local[-1]), part.outline.at(time)
            if self.warp is None:
                layers.append((whole, mapped(whole, points)))
            else:
                points = mapped(local[-1], points)
                layers.append((whole, mapped(base, points + self.warp.shift(points, time))))
        return layers

    def _base(self, time: float, camera: Affine) -> Affine:
        """From the object's units to pixels."""
        centre, angle, scale = self.path.at(time)
        wide, tall = self.radius * scale, self.radius * scale * self.aspect
        turned = (wide * cos(angle), -tall * sin(angle), 0.0, wide * sin(angle), tall * cos(angle), 0.0)
        if self.tilt is not None:
            turned = chained(self.tilt.at(time), turned)
        a, b, _, d, e, _ = turned
        return chained(camera, (a, b, centre[0], d, e, centre[1]))

    def _paint_part(
        self,
        canvas: Floats,
        owner: Owners,
        number: int,
        part: Part,
        affine: Affine,
        contour: Floats,
        time: float,
    ) -> None:
        size = canvas.shape[0]
        left, top, right, bottom = _window(contour, size, 2 + int(2 * self.softness) + self.edge_width)
        wide, tall = right - left, bottom - top
        if wide <= 0 or tall <= 0:
            return
        local = contour - np.array((left, top), np.float32)
        alpha = filled(local, wide, tall)
        inside = alpha > 127
        owner[top:bottom, left:right][inside] = number
        a, b, c, d, e, f = affine
        colour = self._coloured(part, (a, b, c - left, d, e, f - top), wide, tall, time)
        if self.shading > 0:
            colour *= _rim(inside, self.shading, self.radius)[:, :, None]
        if self.edge is not None:
            points = np.round(local * (1 << SUBPIXEL_BITS)).astype(np.int32)
            line = tuple(float(value) for value in self.edge)
            cv2.polylines(colour, [points], True, line, self.edge_width, cv2.LINE_AA, SUBPIXEL_BITS)
        weight = cv2.GaussianBlur(alpha, (0, 0), self.softness) if self.softness > 0 else alpha
        blend = (weight.astype(np.float32) * np.float32(self.opacity / 255.0))[:, :, None]
        target = canvas[top:bottom, left:right]
        colour -= target
        colour *= blend
        target += colour

    def _coloured(self, part: Part, affine: Affine, wide: int, tall: int, time: float) -> Floats:
        """The texture as it lies on the part, float [tall,wide,3]; `affine` maps to the window's pixels."""
        half = self.texture.shape[0] / 2
        scale = TEXTURE_SPAN / half
        laid = (scale, 0.0, -TEXTURE_SPAN - part.shift, 0.0, scale, -TEXTURE_SPAN)
        to_pixels = as_matrix(chained(affine, laid))
        flags, border = cv2.INTER_LINEAR, cv2.BORDER_REFLECT
        if self.warp is None:
            colour = cv2.warpAffine(self.texture, to_pixels, (wide, tall), flags=flags, borderMode=border)
        else:
            columns, rows = self._bent_map(to_pixels, wide, tall, half, time)
            colour = cv2.remap(self.texture, columns, rows, flags, borderMode=border)
        return np.asarray(colour, dtype=np.float32)

    def _bent_map(
        self, to_pixels: npt.NDArray[np.float64], wide: int, tall: int, half: float, time: float
    ) -> tuple[Floats, Floats]:
        """Texture columns and rows for every pixel, from a coarse grid of nodes: the inverse of the warp, nearly."""
        assert self.warp is not None
        x = (np.arange(GRID) + 0.5) * (wide / GRID) - 0.5
        y = (np.arange(GRID) + 0.5) * (tall / GRID) - 0.5
        nodes = np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)  # y x 2
        inverse = np.linalg.inv(to_pixels[:, :2])
        places = (nodes - to_pixels[:, 2]) @ inverse.T  # on the texture, pixels
        units = ((places - half) * (TEXTURE_SPAN / half)).astype(np.float32)
        places = (places - self.warp.shift(units, time) * (half / TEXTURE_SPAN)).astype(np.float32)
        bent = cv2.resize(places, (wide, tall), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(bent[:, :, 0]), np.ascontiguousarray(bent[:, :, 1])


def filled(contour: Floats, wide: int, tall: int) -> npt.NDArray[np.uint8]:
    """Antialiased filled contour, uint8 [tall,wide] of 0…255."""
    alpha = np.zeros((tall, wide), dtype=np.uint8)
    points = np.rint(contour * np.float32(1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(alpha, [points], (255.0,), cv2.LINE_AA, SUBPIXEL_BITS)
    return alpha


def _window(contour: Floats, size: int, pad: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom (exclusive) of the pixels a contour can touch, inside the picture."""
    left, top = contour.min(axis=0).tolist()
    right, bottom = contour.max(axis=0).tolist()
    return (
        min(max(int(left) - pad - 1, 0), size),
        min(max(int(top) - pad - 1, 0), size),
        min(max(int(right) + pad + 2, 0), size),
        min(max(int(bottom) + pad + 2, 0), size),
    )


def _rim(inside: npt.NDArray[np.bool_], strength: float, radius: float) -> Floats:
    """Factors that darken towards the border, as on a round thing."""
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(1.0 - strength * np.exp(depth * np.float32(-4.0 / max(radius, 4.0))), dtype=np.float32)


def _darken(canvas: Floats, contour: Floats, radius: float) -> None:
    blur = max(0.8, 0.08 * radius)
    left, top, right, bottom = _window(contour, canvas.shape[0], 2 + int(3 * blur))
    wide, tall = right - left, bottom - top
    if wide > 0 and tall > 0:
        local = contour - np.array((left, top), np.float32)
        alpha = cv2.GaussianBlur(filled(local, wide, tall), (0, 0), blur)
        canvas[top:bottom, left:right] *= (1.0 - alpha.astype(np.float32) * np.float32(0.45 / 255))[
            :, :, None
        ]
