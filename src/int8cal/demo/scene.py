"""Driving scenes with known boxes, drawn from a random generator alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from int8cal.demo.actors import ACTORS, Actor, Place
from int8cal.demo.canvas import Camera, Drawing
from int8cal.demo.scenery import PAVEMENT, ROAD, paint_street
from int8cal.demo.sensor import expose
from int8cal.types import ImageHWC_u8, Size

CLASSES = tuple(ACTORS)

Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True)
class SceneObject:
    """An object as it is seen.

    Attributes:
        name: class: ``car``, ``pedestrian`` or ``cyclist``.
        box: left, top, right, bottom in pixels, inside the picture.
        truncated: share of the box outside the picture, 0..1.
        occluded: 0 visible, 1 partly covered, 2 mostly covered (KITTI's levels).
        place: where it stands on the road.
    """

    name: str
    box: Box
    truncated: float
    occluded: int
    place: Place


@dataclass(frozen=True)
class Scene:
    """A picture, what is in it from far to near, and the camera that took it."""

    image: ImageHWC_u8
    camera: Camera
    objects: tuple[SceneObject, ...]


MAX_OBJECTS = 9
"""Objects that a scene is made of; those hidden behind others are not labelled."""


def draw_scene(rng: np.random.Generator, size: Size) -> Scene:
    """Draw a street with one to `MAX_OBJECTS` objects.

    Args:
        rng: decides everything; equal states give equal scenes.
        size: picture size in pixels.
    """
    camera = Camera(size, centre=rng.uniform(0.44, 0.56), horizon=rng.uniform(0.44, 0.5))
    canvas = Drawing(camera)
    paint_street(canvas, rng)
    placed = sorted((_place(rng) for _ in range(int(rng.integers(1, MAX_OBJECTS + 1)))), key=lambda item: -item[1].z)
    for actor, place in placed:
        actor.paint(canvas, rng, place)
    return Scene(expose(canvas.image, rng), camera, tuple(_labels(camera, placed)))


def draw_object(rng: np.random.Generator, name: str, size: Size) -> ImageHWC_u8:
    """Draw one object of class ``name`` large in the middle of a picture, as a classifier's data set has it."""
    actor = ACTORS[name]
    distance = rng.uniform(1.4, 1.9) * max(actor.width * size.height / size.width, actor.height)
    camera = Camera(size, eye=rng.uniform(0.9, 1.2), horizon=0.5, focal=size.height / size.width)
    canvas = Drawing(camera)
    paint_street(canvas, rng)
    actor.paint(canvas, rng, Place(rng.uniform(-0.2, 0.2), distance, bool(rng.integers(2))))
    return expose(canvas.image, rng)


def _place(rng: np.random.Generator) -> tuple[Actor, Place]:
    name = rng.choice(CLASSES, p=(0.6, 0.25, 0.15))
    distance = float(np.exp(rng.uniform(np.log(7.0), np.log(55.0))))
    side = float(rng.choice((-1.0, 1.0)))
    if name == "pedestrian":
        x = side * rng.uniform(ROAD + 0.4, PAVEMENT)
    elif name == "cyclist":
        x = side * rng.uniform(ROAD - 1.0, ROAD)
    else:
        x = side * rng.choice((1.8, 3.0)) + rng.uniform(-0.2, 0.2)
    return ACTORS[name], Place(float(x), distance, faces_camera=side < 0)


def _labels(camera: Camera, placed: Sequence[tuple[Actor, Place]]) -> list[SceneObject]:
    """Boxes of what can be seen: clipped to the picture, without what is hidden or tiny."""
    boxes = [outline(camera, actor, place) for actor, place in placed]
    objects = []
    for index, ((actor, place), whole) in enumerate(zip(placed, boxes, strict=True)):
        inside = _clip(whole, camera.size)
        seen = _area(inside) / _area(whole)
        covered = max((_area(_overlap(inside, nearer)) for nearer in boxes[index + 1 :]), default=0.0)
        hidden = covered / max(_area(inside), 1.0)
        if seen < 0.25 or hidden > 0.8 or inside[3] - inside[1] < 0.03 * camera.size.height:
            continue
        occluded = 0 if hidden < 0.1 else 1 if hidden < 0.5 else 2
        objects.append(SceneObject(actor.name, inside, round(1 - seen, 2), occluded, place))
    return objects


def outline(camera: Camera, actor: Actor, place: Place) -> Box:
    """Hull of the projected cuboid in pixels, as far as it reaches: left, top, right, bottom."""
    half = actor.width / 2
    corners = [
        camera.project((place.x + dx, y, place.z + dz))
        for dx in (-half, half)
        for y in (0.0, actor.height)
        for dz in (0.0, actor.length)
    ]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _clip(box: Box, size: Size) -> Box:
    return _overlap(box, (0.0, 0.0, size.width - 1.0, size.height - 1.0))


def _overlap(a: Box, b: Box) -> Box:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
