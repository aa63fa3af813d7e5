"""How good the demo's detector and classifier are: boxes from grids, matching, F1, accuracy.

Training, calibration and test pictures are drawn from seeds of their own, so that no picture is in two of the sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from int8cal.demo.scene import CLASSES, Box, Scene, SceneObject, draw_object, draw_scene
from int8cal.preprocess import imagenet
from int8cal.types import BatchNCHW_f32, ImageCHW_f32, ImageHWC_u8, Size

Values: TypeAlias = npt.NDArray[np.float32]
Predict: TypeAlias = Callable[[BatchNCHW_f32], tuple[Values, ...]]
"""A model: one batch → its outputs."""

DETECTOR = Path(__file__).with_name("models") / "detector.onnx"
CLASSIFIER = Path(__file__).with_name("models") / "classifier.onnx"

TRAINING_SEED, TEST_SEED, CALIBRATION_SEED = 1001, 1002, 1003
SCENE_SIZE = Size(192, 320)
PICTURE_SIZE = Size(64, 64)

STRIDE = 8
BOX_SCALE = 35.0
MIN_COVERAGE = 0.4
MIN_HEIGHT = 16.0
MATCH_IOU = 0.5
_SUPPRESS_IOU = 0.4


@dataclass(frozen=True)
class Detection:
    """A box that the detector found: class, edges (left, top, right, bottom) in pixels, coverage 0..1."""

    name: str
    box: Box
    score: float


@dataclass(frozen=True)
class DetectorScore:
    """Counts over all scenes, and what follows from them."""

    found: int
    missed: int
    wrong: int

    @property
    def objects(self) -> int:
        """Objects that had to be found."""
        return self.found + self.missed

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0..1."""
        return 2 * self.found / max(2 * self.found + self.missed + self.wrong, 1)


def scenes(seed: int, count: int, size: Size = SCENE_SIZE) -> Iterator[Scene]:
    """The first ``count`` scenes of a seed."""
    for index in range(count):
        yield draw_scene(np.random.default_rng((seed, index)), size)


def pictures(seed: int, count: int) -> Iterator[tuple[ImageHWC_u8, int]]:
    """The first ``count`` pictures of a seed, each with the index of its class, the classes in turn."""
    for index in range(count):
        label = index % len(CLASSES)
        yield draw_object(np.random.default_rng((seed, index)), CLASSES[label], PICTURE_SIZE), label


def as_detector_input(image: ImageHWC_u8) -> ImageCHW_f32:
    """RGB 0..1: the numbers of a DetectNet_v2 tensorfile of pictures that need no resizing."""
    return imagenet.channels_first(image) / np.float32(255)


def as_classifier_input(image: ImageHWC_u8) -> ImageCHW_f32:
    """The numbers of a classification tensorfile in mode ``torch``."""
    return imagenet.torch(imagenet.channels_first(image))


def objects_to_find(scene: Scene) -> int:
    """Objects of a scene that count: high enough, mostly visible."""
    return sum(_counts(item) for item in scene.objects)


def score_detector(
    predict: Predict, normalise: Callable[[ImageHWC_u8], ImageCHW_f32], of: Iterable[Scene]
) -> DetectorScore:
    """Match detections with objects: same class, IoU of at least 0.5, best coverage first.

    Objects lower than 16 pixels, mostly covered or mostly outside need not be found; what lies on them is not counted.

    Args:
        predict: batch of one → coverage (1, classes, h, w), edges (1, 4, h, w).
        normalise: picture → network input.
        of: scenes with their objects.
    """
    found = missed = wrong = 0
    for scene in of:
        coverage, edges = predict(normalise(scene.image)[None])
        right, extra = _match(detections(coverage[0], edges[0]), scene.objects)
        found, missed, wrong = found + right, missed + objects_to_find(scene) - right, wrong + extra
    return DetectorScore(found, missed, wrong)


def score_classifier(
    predict: Predict, normalise: Callable[[ImageHWC_u8], ImageCHW_f32], of: Iterable[tuple[ImageHWC_u8, int]]
) -> float:
    """Share of pictures, 0..1, whose most probable class is the right one."""
    right = [int(predict(normalise(image)[None])[0].argmax()) == label for image, label in of]
    return sum(right) / max(len(right), 1)


def detections(coverage: Values, edges: Values) -> list[Detection]:
    """Boxes of one picture.

    Args:
        coverage: (classes, h, w), 0..1 per 8×8 cell.
        edges: (4, h, w): distance of the cell's centre to left, top, right, bottom edge, in units of 35 pixels.
    """
    best, which = coverage.max(axis=0), coverage.argmax(axis=0)
    rows, columns = np.nonzero(best >= MIN_COVERAGE)
    order = np.argsort(-best[rows, columns], kind="stable")
    kept: list[Detection] = []
    for row, column in zip(rows[order], columns[order], strict=True):
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        left, top, right, bottom = (float(value) * BOX_SCALE for value in edges[:, row, column])
        box = (x - left, y - top, x + right, y + bottom)
        if all(iou(box, other.box) < _SUPPRESS_IOU for other in kept):
            kept.append(Detection(CLASSES[which[row, column]], box, float(best[row, column])))
    return kept


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


def _counts(item: SceneObject) -> bool:
    return item.box[3] - item.box[1] >= MIN_HEIGHT and item.occluded < 2 and item.truncated <= 0.5


def _match(found: list[Detection], objects: Iterable[SceneObject]) -> tuple[int, int]:
    """(objects found, detections without object)."""
    free = list(objects)
    right = extra = 0
    for detection in found:
        partner = max(free, key=lambda item: iou(detection.box, item.box), default=None)
        overlap = iou(detection.box, partner.box) if partner else 0.0
        if partner is not None and overlap >= MATCH_IOU and (partner.name == detection.name or not _counts(partner)):
            free.remove(partner)
            right += _counts(partner)
        elif detection.box[3] - detection.box[1] >= MIN_HEIGHT and not _on_ignored(detection, free):
            extra += 1
    return right, extra


def _on_ignored(detection: Detection, objects: Iterable[SceneObject]) -> bool:
    return any(not _counts(item) and iou(detection.box, item.box) > 0.2 for item in objects)
