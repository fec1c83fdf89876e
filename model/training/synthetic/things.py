"""Everyday-like scenes: textured things that move before a background, and what makes them hard to follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from model.training.synthetic.bodies import Body
from model.training.synthetic.motion import Camera, Tilt, Warp, leaving, through, wandering
from model.training.synthetic.patterns import Image, Textures, blended_into, greyed
from model.training.synthetic.scenes import Lens, Light, Scene
from model.training.synthetic.shapes import (
    Outline,
    Part,
    box_contour,
    chain,
    jointed,
    single,
    thin,
    with_named_part,
)

Floats = npt.NDArray[np.float32]

FINEST = 0.01  # half the width of the thinnest things and limbs, in picture sizes: 2.6 pixels across at 128


class _Stage:
    """What all objects of a scene are drawn with."""

    def __init__(self, rng: np.random.Generator, textures: Textures, size: int, frames: int) -> None:
        self.rng, self.textures, self.size, self.frames = rng, textures, size, frames
        self.ground = textures.ground(rng, int(1.5 * size), frames)
        self.pace = size * float(rng.choice([0.006, 0.02, 0.04]))  # pixels a frame
        self.texture_size = 96 if size < 192 else 144
        self.shadow: Floats | None = None
        if rng.random() < 0.2:
            self.shadow = (rng.normal(0, 0.025, 2) * size).astype(np.float32)

    def radius(self, smallest: float, largest: float) -> float:
        """Pixels, from shares of the picture's side."""
        return self.size * float(np.exp(self.rng.uniform(np.log(smallest), np.log(largest))))

    def place(self) -> Floats:
        """A point well inside the picture."""
        return self.rng.uniform(0.1, 0.9, 2).astype(np.float32) * self.size

    def thing(self, smallest: float = 0.05, largest: float = 0.32) -> Body:
        """Any kind of object on a path of its own."""
        rng = self.rng
        parts, aspect, radius = self._figure(smallest, largest)
        body = Body(
            parts=parts,
            path=wandering(rng, self.place(), self.pace, spin=float(rng.choice([0.0, 0.03, 0.12]))),
            radius=radius,
            aspect=aspect,
            texture=self._surface(),
            shadow=self.shadow,
        )
        if rng.random() < 0.15:
            body.edge, body.edge_width = rng.uniform(0, 255, 3).astype(np.float32), int(rng.integers(1, 3))
        if rng.random() < 0.25:
            body.tilt = Tilt(
                float(rng.uniform(0, np.pi)), float(rng.uniform(0, np.pi)), float(rng.normal(0, 0.12))
            )
        if rng.random() < 0.25:
            body.warp = Warp.drawn(rng, float(rng.uniform(0.08, 0.22)))
        if rng.random() < 0.35:
            body.shading = float(rng.uniform(0.2, 0.7))
        if rng.random() < 0.25:
            body.softness = min(float(rng.uniform(0.4, 1.0)) * max(1.0, 0.012 * self.size), radius * 0.12)
        if rng.random() < 0.06:
            body.opacity = float(rng.uniform(0.7, 0.95))
        body.nearness = float(rng.choice([1.0, 1.0, 0.7, 1.4]))
        return body

    def _figure(self, smallest: float, largest: float) -> tuple[list[Part], float, float]:
        """Parts, aspect and radius in pixels."""
        rng, kind = self.rng, self.rng.random()
        if kind < 0.36:
            least = 0.1 if kind < 0.2 else 0.12
            radius = self.radius(
                max(smallest, least), max(largest, least + 0.02) * (1.0 if kind < 0.2 else 1.2)
            )
            finest = FINEST * self.size / radius
            drawn = jointed if kind < 0.2 else chain if kind < 0.28 else thin
            return drawn(rng, finest), 1.0, radius
        softness, liveliness = float(rng.choice([0.0, 1.0])), float(rng.choice([0, 0.06, 0.15]))
        parts = single(Outline.drawn(rng, softness=softness, liveliness=liveliness))
        return parts, float(rng.uniform(0.45, 1.0)), self.radius(smallest, largest)

    def _surface(self) -> Image:
        surface = self.textures.surface(self.rng, self.texture_size)
        if self.rng.random() < 0.1:
            surface = blended_into(surface, self.ground[0], self.rng)
        return surface

    def like(self, original: Body, velocity: Floats | None = None, at: Floats | None = None) -> Body:
        """The same object somewhere else on its own path, or going straight through a point at half time."""
        rng = self.rng
        if velocity is None or at is None:
            path = wandering(rng, self.place(), self.pace, spin=0.03)
        else:
            path = through(rng, at, velocity, self.frames / 2, spin=0.02)
        return replace(original, path=path, radius=original.radius * float(rng.uniform(0.88, 1.14)))


def _plain(stage: _Stage) -> list[Body]:
    """One to five unlike things."""
    return [stage.thing() for _ in range(int(stage.rng.integers(1, 6)))]


def _alike(stage: _Stage) -> list[Body]:
    """A few of one kind, and perhaps another thing."""
    first = stage.thing(largest=0.22)
    bodies = [first] + [stage.like(first) for _ in range(int(stage.rng.integers(1, 4)))]
    return bodies + [stage.thing() for _ in range(int(stage.rng.integers(0, 2)))]


def _crossing(stage: _Stage) -> list[Body]:
    """Two of a kind that pass over each other about half time."""
    rng = stage.rng
    first = stage.thing(smallest=0.07, largest=0.18)
    point = rng.uniform(0.35, 0.65, 2).astype(np.float32) * stage.size
    angle = rng.uniform(0, 2 * np.pi)
    reach = rng.uniform(0.25, 0.4) * stage.size / max(stage.frames / 2, 2)
    velocity = np.array([np.cos(angle), np.sin(angle)], dtype=np.float32) * np.float32(reach)
    turn = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    other = (np.array([[cos, -sin], [sin, cos]]) @ velocity * rng.uniform(0.7, 1.2)).astype(np.float32)
    missed = rng.normal(0, 0.3 * first.radius, 2).astype(np.float32)
    pair = [stage.like(first, velocity, point), stage.like(first, other, point + missed)]
    return pair + [stage.thing() for _ in range(int(rng.integers(0, 3)))]


def _hiding(stage: _Stage) -> list[Body]:
    """Things that pass behind something wide in the foreground and come out again."""
    rng, size = stage.rng, stage.size
    angle = float(rng.choice([0.0, np.pi / 2])) + float(rng.normal(0, 0.15))
    across = np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)
    middle = rng.uniform(0.4, 0.6, 2).astype(np.float32) * size
    half_width = stage.radius(0.07, 0.16)
    walkers = []
    for number in range(int(rng.integers(1, 4))):
        body = stage.thing(smallest=0.06, largest=0.16)
        along = np.array([-across[1], across[0]]) * rng.uniform(-0.3, 0.3) * size
        reach = rng.uniform(0.9, 1.3) * (half_width + 1.6 * body.radius)
        velocity = across * rng.choice([-1.0, 1.0]) * reach / max(0.35 * stage.frames, 2)
        if number < 2:
            body.path = through(rng, (middle + along).astype(np.float32), velocity, stage.frames / 2, 0.02)
        body.nearness = 1.0
        walkers.append(body)
    bar = Body(
        parts=single(Outline.around(rng, box_contour(1.0, 9.0), 0.0)),
        path=wandering(rng, middle, 0.0, 0.0),
        radius=half_width,
        aspect=1.0,
        texture=stage.textures.surface(rng, stage.texture_size),
        labelled=bool(rng.random() < 0.3),
    )
    bar.path = replace(bar.path, angle=angle, growth=0.0, sway=np.zeros(2, dtype=np.float32))
    return [*walkers, bar]


def _away(stage: _Stage) -> list[Body]:
    """Things that leave the picture and come back, one of them with a look-alike that stays."""
    rng = stage.rng
    bodies = []
    for _ in range(int(rng.integers(1, 3))):
        body = stage.thing(largest=0.2)
        body.path = leaving(rng, stage.place(), body.radius, stage.size, stage.frames)
        bodies.append(body)
    if rng.random() < 0.4:
        bodies.insert(0, stage.like(bodies[0]))
    return bodies + [stage.thing() for _ in range(int(rng.integers(0, 2)))]


def _swarm(stage: _Stage) -> list[Body]:
    """Many small things, alike or of two kinds."""
    rng = stage.rng
    kinds = [stage.thing(smallest=0.03, largest=0.08) for _ in range(int(rng.integers(1, 3)))]
    return [stage.like(kinds[number % len(kinds)]) for number in range(int(rng.integers(5, 12)))]


def _close(stage: _Stage) -> list[Body]:
    """One thing that fills much of the picture, others before it."""
    body = stage.thing(smallest=0.3, largest=0.55)
    return [body] + [stage.thing(largest=0.2) for _ in range(int(stage.rng.integers(0, 3)))]


def _occluded(stage: _Stage) -> list[Body]:
    """Unlike things, and one that nobody follows moving over them."""
    bodies = _plain(stage)
    screen = stage.thing(smallest=0.1, largest=0.25)
    screen.labelled = False
    return [*bodies, screen]


PLOTS: dict[str, Callable[[_Stage], list[Body]]] = {
    "plain": _plain,
    "alike": _alike,
    "crossing": _crossing,
    "hiding": _hiding,
    "away": _away,
    "swarm": _swarm,
    "close": _close,
    "occluded": _occluded,
}
"""What happens in a scene, by name."""

PLOT_WEIGHTS: dict[str, float] = {
    "plain": 0.26,
    "alike": 0.14,
    "crossing": 0.12,
    "hiding": 0.14,
    "away": 0.10,
    "swarm": 0.07,
    "close": 0.07,
    "occluded": 0.10,
}


def thing_scene(rng: np.random.Generator, textures: Textures, size: int, frames: int, plot: str) -> Scene:
    """A scene in which `plot` happens within `frames` frames."""
    stage = _Stage(rng, textures, size, frames)
    bodies = PLOTS[plot](stage)
    labelled = [body for body in bodies if body.labelled]
    if rng.random() < 0.12:
        chosen = labelled[int(rng.integers(len(labelled)))]
        chosen.parts = with_named_part(rng, [replace(part) for part in chosen.parts])
    background = stage.ground
    lens = _lens(rng, size)
    if lens.grey:
        background = [greyed(picture) for picture in background]
        for body in bodies:
            body.texture = greyed(body.texture)
            body.edge = None if body.edge is None else np.full(3, body.edge.mean(), dtype=np.float32)
    return Scene(
        size=size,
        background=background,
        bodies=bodies,
        camera=_camera(rng, size),
        lens=lens,
        lights=_lights(rng),
        distance=float(rng.choice([1.0, 1.0, 0.5, 0.0])),
    )


def _camera(rng: np.random.Generator, size: int) -> Camera:
    """Half of the cameras stand still; some of the others tremble."""
    moving = float(rng.random() < 0.5)
    return Camera(
        size=size,
        pan=(rng.normal(0, 0.012 * size, 2) * moving).astype(np.float32),
        zoom=float(rng.normal(0, 0.012) * moving),
        roll=float(rng.normal(0, 0.01) * moving),
        shake=float(rng.uniform(0.002, 0.01)) * size if rng.random() < 0.15 else 0.0,
        shake_phases=rng.uniform(0, 2 * np.pi, 4).astype(np.float32),
    )


def _lens(rng: np.random.Generator, size: int) -> Lens:
    blurred = rng.random() < 0.12
    return Lens(
        blur=float(rng.choice([0.0, 0.0, 0.0, 0.6, 1.0]) * size / 128),
        noise=float(rng.choice([0, 2, 4, 9])),
        flicker=float(rng.choice([0.0, 0.03])),
        fade=float(rng.normal(0, 0.01)),
        jpeg=int(rng.integers(25, 85)) if rng.random() < 0.3 else None,
        shutter=float(rng.uniform(0.4, 1.0)) if blurred else 0.0,
        moments=(3 if size < 192 else 5) if blurred else 1,
        haze=float(rng.uniform(0.2, 0.65)) if rng.random() < 0.1 else 0.0,
        grey=bool(rng.random() < 0.1),
    )


def _lights(rng: np.random.Generator) -> tuple[Light, ...]:
    if rng.random() >= 0.2:
        return ()
    light = Light(
        direction=float(rng.uniform(0, 2 * np.pi)),
        place=float(rng.uniform(-0.5, 0.3)),
        speed=float(rng.normal(0, 0.03)),
        width=float(rng.choice([0.02, 0.08, 0.2])),
        depth=float(rng.uniform(0.2, 0.6)),
    )
    return (light,)
