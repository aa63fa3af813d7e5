"""What the outputs of a model say about its input."""

from __future__ import annotations

import numpy as np
import pytest

from int8cal.models.alive import judge_model
from int8cal.models.binding import InputBinding
from int8cal.models.probe import Probe, Remembered

RANDOM = np.random.default_rng(0)


def judged(values, norm=None, images=16, unseen=()):
    outputs = {} if values is None else {"y": values.astype(np.float32)}
    found = judge_model(Probe(InputBinding("x", "nchw", None), outputs, unseen, norm, different_images=images))
    return {finding.code: finding.level for finding in found}


def judged_together(whole=(), **outputs):
    """What is said of several outputs, those named in ``whole`` of whole numbers: (code, level, output or none)."""
    values = {name: value.astype(np.float32) for name, value in outputs.items()}
    seen = Probe(InputBinding("x", "nchw", None), values, (), None, frozenset(whole), different_images=16)
    said = judge_model(seen)
    names = [name for finding in said for name in [finding.message.removeprefix("output ").split()[0].rstrip(":")]]
    return [(one.code, one.level, name if name in outputs else "") for one, name in zip(said, names, strict=True)]


def scores(classes):
    """Probabilities of 16 images whose most probable class is as given."""
    values = RANDOM.random((16, 3)) * 0.3
    values[np.arange(16), classes] += 1
    return values / values.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(16, 3), (16, 3, 1, 1)])
def test_classes(shape):
    assert judged(scores(np.arange(16) % 3).reshape(shape)) == {"model-alive": "note"}
    assert judged(scores(np.zeros(16, int)).reshape(shape))["model-one-class"] == "warning"
    assert "model-one-class" not in judged(scores(np.zeros(16, int)).reshape(shape), images=4)


def test_a_map_of_one_value_per_place_is_no_classifier():
    values = RANDOM.random((16, 3, 4, 4))
    values[:, 0] += 1
    assert judged(values) == {"model-alive": "note"}


def test_dead_outputs():
    assert judged(np.full((16, 1, 8, 8), 3e-7))["model-dead"] == "error"
    assert judged(RANDOM.random((16, 1, 8, 8)) * 1e-6)["model-dead"] == "error"
    assert judged(np.repeat(RANDOM.normal(size=(1, 5)), 16, axis=0) * 100)["model-dead"] == "error"
    assert judged(np.full((16, 4), 0.25), images=1) == {"model-alive": "note"}


ALIVE, CONSTANT = RANDOM.random((16, 2, 4, 4)), np.ones((16, 4, 3))


def test_an_output_that_is_dead_beside_a_live_one_is_no_error():
    """An anchors output, or a number of detections, is constant by nature."""
    assert judged_together(boxes=ALIVE, anchors=CONSTANT) == [
        ("model-output-same", "warning", "anchors"),
        ("model-alive", "note", ""),
    ]
    assert judged_together(boxes=ALIVE, count=CONSTANT, whole=["count"]) == [
        ("model-output-same", "note", "count"),
        ("model-alive", "note", ""),
    ]


def test_the_live_outputs_are_the_ones_that_are_called_alive():
    seen = Probe(InputBinding("x", "nchw", None), {"boxes": ALIVE, "anchors": CONSTANT}, (), None, different_images=16)
    (alive,) = [one.message for one in judge_model(seen) if one.code == "model-alive"]
    assert "alive on 16 of them: boxes;" in alive


def test_no_live_output_of_floating_point_numbers_is_an_error():
    assert judged_together(boxes=CONSTANT, scores=2 * CONSTANT) == [
        ("model-dead", "error", "boxes"),
        ("model-dead", "error", "scores"),
    ]
    count = np.arange(16)[:, None]  # a whole number that changes shows nothing of the rest
    assert judged_together(boxes=CONSTANT, count=count, whole=["count"]) == [("model-dead", "error", "boxes")]
    broken = np.full((16, 2), np.nan)
    assert ("model-dead", "error", "boxes") in judged_together(boxes=CONSTANT, scores=broken)


def test_a_model_of_whole_numbers_alone():
    """The images may be of one class."""
    assert judged_together(chosen=CONSTANT, whole=["chosen"]) == [("model-output-same", "warning", "chosen")]
    moving = np.arange(16)[:, None] * np.ones((16, 4))
    assert judged_together(chosen=CONSTANT, count=moving, whole=["chosen", "count"]) == [
        ("model-output-same", "note", "chosen"),
        ("model-alive", "note", ""),
    ]


def test_outputs_without_numbers_for_each_image_are_named_and_not_judged():
    assert judged(None, unseen=("boxes",)) == {"model-output-unseen": "note"}
    assert judged(scores(np.arange(16) % 3), unseen=("loss",)) == {
        "model-alive": "note",
        "model-output-unseen": "note",
    }


def test_not_finite():
    assert judged(np.array([[1.0, np.nan], [0, 1]]))["model-not-finite"] == "error"


@pytest.mark.parametrize(
    ("width", "shift", "level"),
    [
        (1, 0, None),
        (3, 1, None),
        (1 / 4, 1, None),
        (60, 0, "error"),
        (1, 20, "error"),
        (1 / 20, 0, "warning"),
        (1 / 255, 0, "error"),
    ],
)
def test_batch_normalisation_remembers(width, shift, level):
    trained = RANDOM.random(8) + 0.5
    norm = Remembered("c", shift * trained, width * trained, np.zeros(8), trained)
    assert judged(RANDOM.random((16, 5)), norm).get("model-scale") == level


def test_channels_that_were_always_zero_do_not_count():
    trained = np.array([1.0, 1.0, 1.0, 0.0])
    norm = Remembered("c", np.zeros(4), np.array([1.0, 1.0, 1.0, 5.0]), np.zeros(4), trained)
    assert "model-scale" not in judged(RANDOM.random((16, 5)), norm)
