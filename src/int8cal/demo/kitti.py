"""KITTI label files (15 columns) and NVIDIA's TFRecords for the objects of a scene."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import atan2

from int8cal.demo.actors import ACTORS
from int8cal.demo.scene import SceneObject
from int8cal.samples.tfrecord import Example, frame_record
from int8cal.types import Size

HALF_TURN = 3.14159


@dataclass(frozen=True)
class Label:
    """One line of a KITTI label file.

    Attributes:
        name: class, as written (``Car``).
        truncated: 0..1.
        occluded: 0, 1 or 2.
        alpha: observation angle, radians.
        box: left, top, right, bottom, pixels.
        dimensions: height, width, length, metres.
        location: x, y, z of the middle of the bottom in camera coordinates (y points down), metres.
        rotation_y: turn about the vertical axis, radians.
    """

    name: str
    truncated: float
    occluded: int
    alpha: float
    box: tuple[float, float, float, float]
    dimensions: tuple[float, float, float]
    location: tuple[float, float, float]
    rotation_y: float

    def line(self) -> str:
        """The 15 columns, without a line end."""
        numbers = (*self.box, *self.dimensions, *self.location, self.rotation_y)
        return f"{self.name} {self.truncated:.2f} {self.occluded} {self.alpha:.2f} " + " ".join(
            f"{number:.2f}" for number in numbers
        )


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


def example(frame_id: str, size: Size, labels: Sequence[Label]) -> bytes:
    """One frame as a serialised ``tf.train.Example``, with the features of NVIDIA's ``dataset_convert``.

    Args:
        frame_id: image folder and stem: ``image_2/000001``.
        size: of the picture, pixels.
        labels: of the frame.
    """
    message = Example()
    features = message.features.feature

    def put(name: str, kind: str, values: Iterable[object]) -> None:
        feature = getattr(features[name], kind)
        feature.SetInParent()  # a frame without objects still says of which kind its lists are
        feature.value.extend(values)

    put("frame/id", "bytes_list", [frame_id.encode()])
    put("frame/height", "int64_list", [size.height])
    put("frame/width", "int64_list", [size.width])
    put("target/object_class", "bytes_list", [item.name.lower().encode() for item in labels])
    put("target/occlusion", "int64_list", [item.occluded for item in labels])
    columns = {
        "truncation": [item.truncated for item in labels],
        "observation_angle": [item.alpha for item in labels],
        **_columns("coordinates", ("x1", "y1", "x2", "y2"), [item.box for item in labels]),
        **_columns("world_bbox", ("h", "w", "l"), [item.dimensions for item in labels]),
        **_columns("world_bbox", ("x", "y", "z"), [item.location for item in labels]),
        "world_bbox_rot_y": [item.rotation_y for item in labels],
    }
    for name, values in columns.items():
        put(f"target/{name}", "float_list", values)
    payload: bytes = message.SerializeToString(deterministic=True)
    return payload


def tfrecord(payloads: Iterable[bytes]) -> bytes:
    """A TFRecord file."""
    return b"".join(map(frame_record, payloads))


def shard_name(stem: str, fold: int, folds: int, shard: int, shards: int) -> str:
    """File name of a shard as ``dataset_convert`` forms it."""
    return f"{stem}-fold-{fold:03d}-of-{folds:03d}-shard-{shard:05d}-of-{shards:05d}"


def _columns(prefix: str, parts: Sequence[str], rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    return {f"{prefix}_{part}": [row[index] for row in rows] for index, part in enumerate(parts)}
