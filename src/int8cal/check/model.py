"""`verify --model`: does the float model come alive on the images of a tensorfile.

A model cannot say that its input is right, but a gross mistake shows: outputs that are the same for every image, and
values inside the network which are far from what they were in training. A batch normalisation remembers the latter;
measured on real models, right images stay within a factor of 3 of it, unscaled ones are off by 60 and more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from int8cal.check.selection import some_images
from int8cal.errors import Int8calError, UseError
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.findings import Finding
from int8cal.text_safety import printable

if TYPE_CHECKING:
    from int8cal.use.probe import Probe, Remembered

PROBED_IMAGES = 16
"""Images that are shown to a model: enough to differ, few enough for a second."""
_MIN_FOR_CLASSES = 8
"""Images that a classifier should not put all into one class."""
_FAR = 10.0
"""How many times the spread of training means that the scale is wrong."""
_SHIFTED = 6.0
"""How many standard deviations of training mean that the offset is wrong."""
_SAME_PROBABILITY = 1e-4
_SAME = 1e-5

_CHECK_SPEC = "Check preprocessing and model against each other: int8cal verify FILE -e SPEC proves the file."


def try_model(path: str | os.PathLike[str], model: str | os.PathLike[str]) -> list[Finding]:
    """Show a float model images from all over a tensorfile, and judge what it makes of them.

    Args:
        path: the tensorfile.
        model: the float ONNX model; that it does not take the images is a finding.

    Raises:
        TensorFileError: the file cannot be opened as a tensorfile at all.
        UseError: the model cannot be read.
        UnavailableError: onnx or onnxruntime is not installed.
    """
    from int8cal.use.onnx_file import load_model
    from int8cal.use.probe import probe

    loaded = load_model(model)
    with TensorFile(path) as file:
        images = some_images(file, PROBED_IMAGES)
    if not len(images):
        return []  # which is reported of the file itself
    try:
        seen = probe(loaded, images)
    except UseError as error:
        return [unfit(error)]
    different = len({image.tobytes() for image in images})
    return judge_model(seen, different_images=different)


def judge_model(seen: Probe, *, different_images: int) -> list[Finding]:
    """Judge what a float model makes of some images.

    Args:
        seen: what it made of them.
        different_images: how many of the images are different ones.
    """
    norm = seen.first_norm
    found = [finding for name, values in seen.outputs.items() for finding in _output(name, values, different_images)]
    found += _norm(norm) if norm else ()
    if seen.outputs and not any(finding.level == "error" for finding in found):
        images = len(next(iter(seen.outputs.values())))
        fed = f"{printable(seen.binding.name)}, {seen.binding.layout.upper()}"
        remembered = "" if norm else "; it has no batch normalisation left that would remember the training data"
        found.append(
            Finding(
                "note",
                "model-alive",
                f"the model takes the images ({fed}), and its outputs are alive on {images} of them: "
                f"{', '.join(map(printable, seen.outputs))}{remembered}",
                "Nothing; that channels or images are the right ones is still not proved by it.",
            )
        )
    return [*found, *_unseen(seen)]


def unfit(error: Int8calError) -> Finding:
    """The finding for a model that does not take the images, or fails on them."""
    return Finding("error", "model-input", error.message, error.hint or "Use the model and the file for each other.")


def _unseen(seen: Probe) -> Iterator[Finding]:
    if seen.unseen:
        yield Finding(
            "note",
            "model-output-unseen",
            f"outputs that do not have numbers for each image were not judged: "
            f"{', '.join(map(printable, seen.unseen))}",
            "Nothing, if other outputs are judged; else compare the model's results by hand.",
        )


def _output(name: str, values: npt.NDArray[np.float32], different_images: int) -> Iterator[Finding]:
    shown = f"output {printable(name)}"
    if not np.isfinite(values).all():
        yield Finding("error", "model-not-finite", f"{shown} has NaN or infinite values", _CHECK_SPEC)
        return
    if different_images < 2:
        return
    change = float(np.ptp(values, axis=0).max(initial=0.0))
    in_unit_range = values.min(initial=0) >= 0 and values.max(initial=0) <= 1
    if change < (_SAME_PROBABILITY if in_unit_range else _SAME * float(np.abs(values).max(initial=0))):
        yield Finding(
            "error",
            "model-dead",
            f"{shown} is the same for {different_images} different images (it changes by {change:.2g} at most)",
            f"The network does not see the images: their scale is wrong. {_CHECK_SPEC}",
        )
    elif _is_one_class(values) and different_images >= _MIN_FOR_CLASSES:
        chosen = int(values.reshape(len(values), -1)[0].argmax())
        yield Finding(
            "warning",
            "model-one-class",
            f"{shown}: class {chosen} is the most probable one for all of {different_images} different images",
            f"If they are of several classes, the input is wrong. {_CHECK_SPEC}",
        )


def _is_one_class(values: npt.NDArray[np.float32]) -> bool:
    scores = values.reshape(len(values), -1)
    is_classifier = values.ndim >= 2 and values.shape[1] >= 2 and scores.shape[1] == values.shape[1]
    return is_classifier and len(set(scores.argmax(axis=1).tolist())) == 1


def _norm(norm: Remembered) -> Iterator[Finding]:
    alive = norm.training_deviation > 1e-3 * np.median(norm.training_deviation)
    if not alive.any():
        return
    trained = norm.training_deviation[alive]
    factor = float(np.median(norm.deviation[alive] / trained))
    shift = float(np.median(np.abs(norm.mean - norm.training_mean)[alive] / trained))
    if factor > _FAR or shift > _SHIFTED:
        yield Finding(
            "error",
            "model-scale",
            f"behind its first layer the model sees values {factor:.3g} times as wide as in training, "
            f"shifted by {shift:.3g} standard deviations: the images are not scaled as it was trained",
            _CHECK_SPEC,
        )
    elif factor < 1 / _FAR:
        yield Finding(
            "warning",
            "model-scale",
            f"behind its first layer the model sees values {factor:.2g} times as wide as in training: "
            "the images are too flat for it",
            _CHECK_SPEC,
        )
