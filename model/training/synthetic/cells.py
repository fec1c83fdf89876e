"""Microscope-like scenes: grey fields of many small near-identical blobs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.training.synthetic.bodies import Body
from model.training.synthetic.motion import Camera, wandering
from model.training.synthetic.patterns import as_surface, noise
from model.training.synthetic.scenes import Lens, Scene
from model.training.synthetic.shapes import Outline, single

Floats = npt.NDArray[np.float32]

TEXTURE_SIZE = 96
MOST_CELLS = 60


def cell_scene(rng: np.random.Generator, size: int) -> Scene:
    """Bright cells on dark, dark on bright, or only outlined; the camera stands still or drifts a little."""
    style = rng.random()
    ground, body = _brightness(rng, dark_ground=style < 0.65)
    roughness = rng.uniform(2, 14) * noise(rng, int(1.5 * size), 0.6)[:, :, None]
    background = as_surface(np.repeat(ground + roughness, 3, 2))
    radius = size * float(np.exp(rng.uniform(np.log(0.03), np.log(0.15))))
    contrast = rng.uniform(0.02, 0.35)
    texture = noise(rng, TEXTURE_SIZE, float(rng.uniform(0.4, 1.5)))
    bodies = [
        _cell(rng, centre, radius, body, ground, contrast, texture, outlined=style > 0.85)
        for centre in _scattered(rng, size, radius)
    ]
    moving = float(rng.random() < 0.5)
    lens = Lens(
        blur=min(float(rng.uniform(0, 0.01) * size), radius * 0.25),
        noise=float(rng.choice([0, 4, 10])),
        flicker=float(rng.choice([0.0, 0.03])),
        fade=float(rng.normal(0, 0.01)),
        grey=True,
    )
    pan = (rng.normal(0, 0.004 * size, 2) * moving).astype(np.float32)
    return Scene(size, [background], bodies, Camera(size, pan, zoom=0.0, roll=0.0), lens)


def _brightness(rng: np.random.Generator, *, dark_ground: bool) -> tuple[float, float]:
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
) -> Body:
    """One blob; `brightness` varies from cell to cell, the texture is shared."""
    level = ground + (brightness - ground) * float(rng.uniform(0.55, 1.2))
    flat = ground if outlined else level
    grey = flat + (brightness - ground) * contrast * 2 * np.roll(
        texture, int(rng.integers(TEXTURE_SIZE)), axis=1
    )
    own_radius = radius * float(rng.uniform(0.8, 1.25))
    return Body(
        parts=single(Outline.drawn(rng, softness=1.0, liveliness=0.06)),
        path=wandering(rng, centre, pace=radius * float(rng.choice([0.04, 0.12, 0.3])), spin=0.04),
        radius=own_radius,
        aspect=float(rng.uniform(0.6, 1.0)),
        texture=as_surface(np.repeat(grey[:, :, None], 3, 2)),
        edge=np.full(3, level, dtype=np.float32) if outlined else None,
        softness=min(1.5, own_radius * 0.12) if rng.random() < 0.5 else 0.0,
    )


def _scattered(rng: np.random.Generator, size: int, radius: float) -> list[Floats]:
    """Centres that hardly overlap."""
    wanted = min(MOST_CELLS, max(3, int(rng.uniform(0.15, 0.75) * (size / (2.2 * radius)) ** 2)))
    centres: list[Floats] = []
    closest = (float(rng.uniform(1.4, 2.4)) * radius) ** 2
    for candidate in rng.uniform(-0.05 * size, 1.05 * size, (4 * wanted, 2)).astype(np.float32):
        if all(float(((candidate - other) ** 2).sum()) > closest for other in centres):
            centres.append(candidate)
        if len(centres) >= wanted:
            break
    return centres
