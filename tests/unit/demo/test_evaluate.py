"""How the demo counts: boxes from grids, matching with objects, and what its models are worth."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from int8cal.demo.actors import Place
from int8cal.demo.canvas import Camera
from int8cal.demo.evaluate import (
    BOX_SCALE,
    CLASSIFIER,
    DETECTOR,
    STRIDE,
    TEST_SEED,
    TRAINING_SEED,
    DetectorScore,
    Predict,
    as_classifier_input,
    as_detector_input,
    detections,
    iou,
    pictures,
    scenes,
    score_classifier,
    score_detector,
)
from int8cal.demo.scene import CLASSES, Scene, SceneObject
from int8cal.types import Size

PLACE = Place(0.0, 10.0, True)


def predictor(path: object) -> Predict:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: tuple(session.run(None, {name: batch}))


def scene_with(*objects: SceneObject) -> Scene:
    size = Size(64, 96)
    return Scene(np.zeros((*size, 3), np.uint8), Camera(size), objects)


def a_car(box: tuple[float, float, float, float] = (20.0, 8.0, 60.0, 40.0), occluded: int = 0) -> SceneObject:
    return SceneObject("car", box, 0.0, occluded, PLACE)


def drawn(*items: tuple[str, tuple[float, float, float, float], float]) -> Predict:
    """A detector that gives these boxes whatever it sees."""
    coverage, edges = np.zeros((1, 3, 8, 12), np.float32), np.zeros((1, 4, 8, 12), np.float32)
    for name, (left, top, right, bottom), score in items:
        column, row = int((left + right) / 2 / STRIDE), int((top + bottom) / 2 / STRIDE)
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        coverage[0, CLASSES.index(name), row, column] = score
        edges[0, :, row, column] = np.array([x - left, y - top, right - x, bottom - y]) / BOX_SCALE
    return lambda batch: (coverage, edges)


def score(predict: Predict, *objects: SceneObject) -> DetectorScore:
    return score_detector(predict, as_detector_input, [scene_with(*objects)])


def test_boxes_come_back_from_the_grid_and_neighbours_are_one() -> None:
    predict = drawn(("car", (20, 8, 60, 40), 0.9), ("car", (28, 9, 70, 41), 0.8), ("cyclist", (70, 20, 80, 44), 0.7))

    found = detections(*(output[0] for output in predict(np.zeros((1, 3, 64, 96), np.float32))))

    assert [(item.name, item.score) for item in found] == [("car", pytest.approx(0.9)), ("cyclist", pytest.approx(0.7))]
    assert found[0].box == pytest.approx((20, 8, 60, 40), abs=1e-3)


def test_iou_of_known_boxes() -> None:
    assert iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1.0
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert iou((0, 0, 1, 1), (1, 1, 2, 2)) == 0.0


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([("car", (20, 8, 60, 40), 0.9)], DetectorScore(1, 0, 0)),
        ([("car", (20, 8, 60, 40), 0.3)], DetectorScore(0, 1, 0)),
        ([("cyclist", (20, 8, 60, 40), 0.9)], DetectorScore(0, 1, 1)),
        ([("car", (44, 8, 84, 40), 0.9)], DetectorScore(0, 1, 1)),
        ([], DetectorScore(0, 1, 0)),
    ],
)
def test_class_place_and_coverage_decide(
    found: list[tuple[str, tuple[float, float, float, float], float]], expected: DetectorScore
) -> None:
    assert score(drawn(*found), a_car()) == expected


def test_hidden_and_low_objects_count_neither_way() -> None:
    found = drawn(("car", (20, 8, 60, 40), 0.9))

    assert score(found, a_car(occluded=2)) == DetectorScore(0, 0, 0)
    assert score(drawn(), a_car((20, 8, 60, 20))) == DetectorScore(0, 0, 0)
    assert DetectorScore(9, 1, 1).f1 == pytest.approx(0.9)
    assert DetectorScore(9, 1, 1).objects == 10


def test_inputs_are_what_the_tensorfiles_hold() -> None:
    image = np.array([[[255, 0, 51]]], np.uint8)

    assert as_detector_input(image).ravel().tolist() == pytest.approx([1.0, 0.0, 0.2])
    assert as_classifier_input(image).ravel().tolist() == pytest.approx(
        [(1 - 0.485) / 0.224, -0.456 / 0.224, (0.2 - 0.406) / 0.224], rel=1e-5
    )


def test_training_and_test_pictures_differ() -> None:
    first, second = (next(scenes(seed, 1)).image for seed in (TRAINING_SEED, TEST_SEED))
    assert (first != second).any()


def test_models_know_the_demo_s_world() -> None:
    assert score_classifier(predictor(CLASSIFIER), as_classifier_input, pictures(TEST_SEED, 30)) >= 0.9
    assert score_detector(predictor(DETECTOR), as_detector_input, scenes(TEST_SEED, 10)).f1 >= 0.8
