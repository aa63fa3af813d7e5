"""KITTI labels of the objects of a scene."""

from __future__ import annotations

from math import atan2

from int8cal.demo.actors import ACTORS
from int8cal.demo.scene import SceneObject
from int8cal.network_kit.kitti_records import Label

HALF_TURN = 3.14159


def label(thing: SceneObject, eye: float) -> Label:
    """Label of an object seen by a camera ``eye`` metres above the road."""
    actor = ACTORS[thing.name]
    x, z = thing.place.x, thing.place.z + actor.length / 2
    rotation = (1 if thing.place.faces_camera else -1) * HALF_TURN / 2
    return Label(
        name=thing.name.capitalize(),
        truncated=thing.truncated,
        occluded=thing.occluded,
        alpha=rotation - atan2(x, z),
        box=thing.box,
        dimensions=(actor.height, actor.width, actor.length),
        location=(x, eye, z),
        rotation_y=rotation,
    )
