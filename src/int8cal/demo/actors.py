"""The labelled objects: cars, pedestrians, cyclists. Each is painted in metres at its place on the road."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from int8cal.demo.canvas import Colour, Drawing, shade

LACQUERS: tuple[Colour, ...] = (
    (28, 30, 34),
    (204, 206, 208),
    (120, 124, 130),
    (142, 26, 28),
    (34, 58, 112),
    (226, 226, 222),
    (70, 84, 72),
)
CLOTHES: tuple[Colour, ...] = (
    (44, 52, 76),
    (150, 44, 46),
    (212, 204, 190),
    (58, 92, 74),
    (30, 30, 34),
    (190, 150, 60),
    (96, 110, 150),
)
SKIN: tuple[Colour, ...] = ((222, 178, 148), (190, 138, 104), (120, 80, 58))
TYRE: Colour = (26, 26, 28)


@dataclass(frozen=True)
class Place:
    """Where an object stands: middle of its front edge on the road, metres."""

    x: float
    z: float
    faces_camera: bool = False


@dataclass(frozen=True)
class Actor:
    """A kind of object.

    Attributes:
        name: its KITTI class, lower case.
        height, width, length: metres.
        paint: draws it.
    """

    name: str
    height: float
    width: float
    length: float
    paint: Callable[[Drawing, np.random.Generator, Place], None]


def _paint_car(canvas: Drawing, rng: np.random.Generator, place: Place) -> None:
    lacquer = shade(_pick(LACQUERS, rng), rng.uniform(0.9, 1.1))
    left, right, near, far = place.x - 0.88, place.x + 0.88, place.z, place.z + 4.2
    _shadow(canvas, left, right, near, far)

    flank = left if place.x > 0 else right  # the side that the camera sees
    canvas.polygon(
        [(flank, 0.3, near), (flank, 0.95, near), (flank, 0.85, far), (flank, 0.3, far)], shade(lacquer, 0.8), 14
    )
    for z in (near + 0.8, far - 0.9):
        rim = [(flank, 0.33 + 0.33 * np.sin(a), z + 0.33 * np.cos(a)) for a in np.linspace(0, 2 * np.pi, 14)]
        canvas.polygon(rim, TYRE, 60)
        hub = [(flank, 0.33 + 0.18 * np.sin(a), z + 0.18 * np.cos(a)) for a in np.linspace(0, 2 * np.pi, 10)]
        canvas.polygon(hub, (128, 130, 132), 30)

    inner = flank - np.sign(flank - place.x) * 0.16
    cabin_near, cabin_far = (near + 0.9, near + 3.4) if place.faces_camera else (near + 0.25, near + 2.7)
    canvas.polygon(
        [
            (flank, 0.93, cabin_near - 0.2),
            (inner, 1.45, cabin_near + 0.4),
            (inner, 1.45, cabin_far - 0.7),
            (flank, 0.9, cabin_far),
        ],
        shade((52, 60, 68), 0.9),
        18,
    )
    for x in (left + 0.08, right - 0.3):
        canvas.upright(x, x + 0.22, 0.0, 0.4, near, TYRE, 60)
    canvas.polygon([(left, 0.28, near), (left, 0.9, near), (right, 0.9, near), (right, 0.28, near)], lacquer, 14)
    canvas.polygon(
        [(left, 0.9, near), (left + 0.1, 0.98, cabin_near), (right - 0.1, 0.98, cabin_near), (right, 0.9, near)],
        shade(lacquer, 1.18),
        14,
    )
    canvas.polygon(
        [
            (left + 0.06, 0.96, cabin_near),
            (left + 0.2, 1.46, cabin_near + 0.35),
            (right - 0.2, 1.46, cabin_near + 0.35),
            (right - 0.06, 0.96, cabin_near),
        ],
        lacquer,
        14,
    )
    canvas.polygon(
        [
            (left + 0.16, 1.0, cabin_near - 0.02),
            (left + 0.27, 1.38, cabin_near + 0.3),
            (right - 0.27, 1.38, cabin_near + 0.3),
            (right - 0.16, 1.0, cabin_near - 0.02),
        ],
        shade((66, 78, 90), rng.uniform(0.7, 1.3)),
        18,
    )
    canvas.upright(left + 0.04, right - 0.04, 0.28, 0.4, near, shade(lacquer, 0.55), 20)
    lamp: Colour = (238, 236, 220) if place.faces_camera else (168, 24, 24)
    for x in (left + 0.06, right - 0.36):
        canvas.upright(x, x + 0.3, 0.66, 0.82, near, lamp, 10)
    canvas.upright(place.x - 0.26, place.x + 0.26, 0.46, 0.57, near, (226, 226, 216), 30)


def _paint_pedestrian(canvas: Drawing, rng: np.random.Generator, place: Place) -> None:
    x, z = place.x, place.z
    trousers, coat, skin = _pick(CLOTHES, rng), _pick(CLOTHES, rng), _pick(SKIN, rng)
    stride = rng.uniform(0.05, 0.26)
    _shadow(canvas, x - 0.3, x + 0.3, z, z + 0.5)
    for foot, tone in ((-stride, 0.75), (stride, 0.95)):
        canvas.line([(x, 0.86, z), (x + 0.6 * foot, 0.45, z), (x + foot, 0.04, z)], 0.15, shade(trousers, tone), 40)
        canvas.disc((x + foot + 0.03, 0.04, z), 0.11, 0.05, TYRE, 30)
    swing = rng.uniform(-0.2, 0.2)
    canvas.line([(x - 0.17, 1.36, z), (x - 0.25, 1.08, z), (x - 0.24 - swing, 0.86, z)], 0.1, shade(coat, 0.7), 40)
    canvas.polygon([(x - 0.21, 1.42, z), (x + 0.21, 1.42, z), (x + 0.19, 0.8, z), (x - 0.19, 0.8, z)], coat, 50)
    canvas.disc((x, 1.4, z), 0.21, 0.08, coat, 50)
    canvas.line([(x + 0.17, 1.36, z), (x + 0.25, 1.08, z), (x + 0.24 + swing, 0.86, z)], 0.1, shade(coat, 0.85), 40)
    canvas.upright(x - 0.05, x + 0.05, 1.4, 1.5, z, shade(skin, 0.85), 20)
    canvas.disc((x, 1.6, z), 0.11, 0.14, skin, 20)
    canvas.disc((x, 1.67, z), 0.115, 0.08, _pick(((40, 30, 24), (92, 66, 40), (150, 140, 126)), rng), 90)


def _paint_cyclist(canvas: Drawing, rng: np.random.Generator, place: Place) -> None:
    x, z = place.x, place.z
    way = -1.0 if place.faces_camera else 1.0
    coat, trousers, skin = _pick(CLOTHES, rng), _pick(CLOTHES, rng), _pick(SKIN, rng)
    frame = _pick(LACQUERS, rng)
    _shadow(canvas, x - 0.85, x + 0.85, z, z + 0.3)

    def at(forward: float, up: float) -> tuple[float, float, float]:
        return (x + way * forward, up, z)

    for hub in (-0.52, 0.52):
        ring = [at(hub + 0.34 * np.cos(a), 0.35 + 0.34 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 25)]
        canvas.line(ring, 0.05, TYRE, 30)
    canvas.line([at(-0.52, 0.35), at(-0.05, 0.33), at(0.38, 0.82), at(-0.2, 0.85), at(-0.52, 0.35)], 0.05, frame, 20)
    canvas.line([at(-0.22, 0.95), at(-0.05, 0.33)], 0.05, frame, 20)
    canvas.line([at(0.52, 0.35), at(0.38, 0.82), at(0.36, 1.02), at(0.46, 1.06)], 0.05, frame, 20)
    canvas.line([at(-0.2, 0.98), at(0.16, 0.72), at(0.0, 0.28)], 0.15, trousers, 40)
    canvas.line([at(-0.2, 0.95), at(0.1, 1.42)], 0.32, coat, 50)
    canvas.line([at(0.1, 1.38), at(0.26, 1.14), at(0.45, 1.08)], 0.1, shade(coat, 0.8), 40)
    canvas.disc(at(0.2, 1.6), 0.11, 0.13, skin, 20)
    canvas.disc(at(0.18, 1.67), 0.14, 0.08, _pick(CLOTHES, rng), 20)


def _shadow(canvas: Drawing, left: float, right: float, near: float, far: float) -> None:
    margin = 0.12
    canvas.polygon(
        [
            (left - margin, 0, near - margin),
            (left - margin, 0, far),
            (right + margin, 0, far),
            (right + margin, 0, near - margin),
        ],
        (46, 46, 50),
        50,
    )


def _pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return colours[int(rng.integers(len(colours)))]


ACTORS: Mapping[str, Actor] = {
    actor.name: actor
    for actor in (
        Actor("car", height=1.46, width=1.76, length=4.2, paint=_paint_car),
        Actor("pedestrian", height=1.75, width=0.6, length=0.5, paint=_paint_pedestrian),
        Actor("cyclist", height=1.75, width=1.75, length=0.5, paint=_paint_cyclist),
    )
}
