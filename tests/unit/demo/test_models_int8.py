"""The demo has power: right calibration costs next to nothing, calibration with a wrong scale costs everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from int8cal.demo.evaluate import (
    CLASSIFIER,
    DETECTOR,
    TEST_SEED,
    as_classifier_input,
    as_detector_input,
    pictures,
    scenes,
    score_classifier,
    score_detector,
)
from int8cal.use.quantize import quantize
from int8cal.use.ranges import METHODS

pytestmark = [pytest.mark.extended, pytest.mark.timeout(1800)]

CALIBRATION_SEED = 3
CALIBRATION_IMAGES = 64
IMAGENET_MEAN = np.array([123.68, 116.779, 103.939], np.float32)

WRONG_SCALE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "unscaled": lambda image: image.astype(np.float32),
    "mean without scale": lambda image: image.astype(np.float32) - IMAGENET_MEAN,
}


class Batches:
    """Images as batches of eight, NCHW."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self._images = np.stack(images)
        self.shape = (8, *self._images.shape[1:])

    def __len__(self) -> int:
        return len(self._images) // 8

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._images.reshape(-1, *self.shape))


def predictor(path: Path) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: tuple(session.run(None, {name: batch}))


def accuracies(
    model: Path, folder: Path, pixels: list[np.ndarray], right: Any, measure: Callable[[Path], float]
) -> tuple[float, dict[str, float], dict[str, float]]:
    """(float, INT8 by method with the right images, INT8 with wrong ones)."""
    out = folder / "int8.onnx"

    def of(normalise: Callable[[np.ndarray], np.ndarray], method: Any = "entropy") -> float:
        quantize(
            model, Batches([normalise(image) for image in pixels]), out, method=method, agreement=False, overwrite=True
        )
        return measure(out)

    def channels_first(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda image: np.ascontiguousarray(change(image).transpose(2, 0, 1))

    by_method = {method: of(right, method) for method in METHODS}
    wrong = {name: of(channels_first(change)) for name, change in WRONG_SCALE.items()}
    return measure(model), by_method, wrong


def check(name: str, floating: float, by_method: dict[str, float], wrong: dict[str, float]) -> None:
    print(name, "float", floating, by_method, wrong)
    assert floating >= 0.9
    assert max(by_method.values()) >= floating - 0.01
    for accuracy in wrong.values():
        assert accuracy <= floating - 0.2


def test_classifier(tmp_path: Path) -> None:
    test = list(pictures(TEST_SEED, 1500))
    calibration = [image for image, _ in pictures(CALIBRATION_SEED, CALIBRATION_IMAGES)]

    check(
        "classifier",
        *accuracies(
            CLASSIFIER,
            tmp_path,
            calibration,
            as_classifier_input,
            lambda model: score_classifier(predictor(model), as_classifier_input, test),
        ),
    )


def test_detector(tmp_path: Path) -> None:
    test = list(scenes(TEST_SEED, 640))
    calibration = [scene.image for scene in scenes(CALIBRATION_SEED, CALIBRATION_IMAGES)]
    objects = score_detector(predictor(DETECTOR), as_detector_input, test).objects
    assert objects >= 1000

    check(
        "detector",
        *accuracies(
            DETECTOR,
            tmp_path,
            calibration,
            as_detector_input,
            lambda model: score_detector(predictor(model), as_detector_input, test).f1,
        ),
    )
