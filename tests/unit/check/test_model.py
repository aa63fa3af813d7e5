"""What the outputs of a model say about its input."""

from __future__ import annotations

import numpy as np
import pytest

from int8cal.check.model import judge_model
from int8cal.use.probe import Probe, Remembered
from int8cal.use.session import InputBinding

RANDOM = np.random.default_rng(0)


def judged(values, norm=None, images=16, unseen=()):
    outputs = {} if values is None else {"y": values.astype(np.float32)}
    found = judge_model(Probe(InputBinding("x", "nchw", None), outputs, unseen, norm), different_images=images)
    return {finding.code: finding.level for finding in found}


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
    [(1, 0, None), (3, 1, None), (1 / 4, 1, None), (60, 0, "error"), (1, 20, "error"), (1 / 100, 0, "warning")],
)
def test_batch_normalisation_remembers(width, shift, level):
    trained = RANDOM.random(8) + 0.5
    norm = Remembered("c", shift * trained, width * trained, np.zeros(8), trained)
    assert judged(RANDOM.random((16, 5)), norm).get("model-scale") == level


def test_channels_that_were_always_zero_do_not_count():
    trained = np.array([1.0, 1.0, 1.0, 0.0])
    norm = Remembered("c", np.zeros(4), np.array([1.0, 1.0, 1.0, 5.0]), np.zeros(4), trained)
    assert "model-scale" not in judged(RANDOM.random((16, 5)), norm)
