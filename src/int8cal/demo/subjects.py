"""The demo's two networks, each with its data to calibrate with, its test set, and its score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from int8cal.demo.class_folders import make_class_folders
from int8cal.demo.dataset import make_dataset
from int8cal.demo.evaluate import (
    CALIBRATION_SEED,
    CLASSIFIER,
    DETECTOR,
    SCENE_SIZE,
    TEST_SEED,
    Predict,
    as_classifier_input,
    as_detector_input,
    objects_to_find,
    pictures,
    scenes,
    score_classifier,
    score_detector,
)
from int8cal.io.progress import watched
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Progress

CALIBRATION_IMAGES = 128
BATCH_SIZE = 8


@dataclass(frozen=True)
class TestSet:
    """Pictures that neither training nor calibration has seen.

    Attributes:
        items: how many things are judged on them.
        score: a model → its figure on them, 0..1.
    """

    __test__ = False  # no class of tests, whatever its name

    items: int
    score: Callable[[Predict], float]


class Subject(Protocol):
    """One of the two networks.

    Attributes:
        name: what it is.
        figure: what its score is called.
        items: what is counted in its test set.
        model: the float ONNX file.
        pattern: its calibration pictures, below the folder of the data set.
    """

    name: str
    figure: str
    items: str
    model: Path
    pattern: str

    def normalise(self, image: ImageHWC_u8) -> ImageCHW_f32:
        """Picture → what the network takes, as it was trained."""

    def make_data(self, folder: Path, progress: Progress | None) -> Path:
        """Draw the calibration pictures into a new folder; gives the experiment spec."""

    def test_set(self, items: int, progress: Progress | None) -> TestSet:
        """Draw pictures until at least so many items are on them."""


class Detector:
    """Finds cars, pedestrians and cyclists in scenes of 192×320."""

    name, figure, items = "detector", "F1", "objects"
    model = DETECTOR
    pattern = "training/image_2/*.png"

    def normalise(self, image: ImageHWC_u8) -> ImageCHW_f32:
        """RGB 0..1."""
        return as_detector_input(image)

    def make_data(self, folder: Path, progress: Progress | None) -> Path:
        """A DetectNet_v2 data set whose pictures have the network's size."""
        return make_dataset(
            folder,
            images=CALIBRATION_IMAGES,
            seed=CALIBRATION_SEED,
            size=SCENE_SIZE,
            network_size=SCENE_SIZE,
            batch_size=BATCH_SIZE,
            validation_split=False,
            progress=progress,
        ).spec

    def test_set(self, items: int, progress: Progress | None) -> TestSet:
        """Scenes with so many objects that have to be found."""
        drawn, objects = [], 0
        with watched(progress, items) as advance:
            for scene in scenes(TEST_SEED, 100 * items):
                drawn.append(scene)
                wanted = objects_to_find(scene)
                advance(min(wanted, items - objects))
                objects += wanted
                if objects >= items:
                    break
        return TestSet(objects, lambda predict: score_detector(predict, self.normalise, drawn).f1)


class Classifier:
    """Tells cars, pedestrians and cyclists apart in pictures of 64×64."""

    name, figure, items = "classifier", "accuracy", "pictures"
    model = CLASSIFIER
    pattern = "train/*/*.png"

    def normalise(self, image: ImageHWC_u8) -> ImageCHW_f32:
        """Mode ``torch``."""
        return as_classifier_input(image)

    def make_data(self, folder: Path, progress: Progress | None) -> Path:
        """Class folders with a classification spec."""
        return make_class_folders(
            folder, images=CALIBRATION_IMAGES, seed=CALIBRATION_SEED, batch_size=BATCH_SIZE, progress=progress
        )

    def test_set(self, items: int, progress: Progress | None) -> TestSet:
        """So many pictures."""
        drawn = []
        with watched(progress, items) as advance:
            for picture in pictures(TEST_SEED, items):
                drawn.append(picture)
                advance(1)
        return TestSet(items, partial(score_classifier, normalise=self.normalise, of=drawn))


SUBJECTS: tuple[Subject, ...] = (Detector(), Classifier())
