"""`verify --model`: does the float model come alive on the images of a tensorfile.

A model cannot say that its input is right, but a gross mistake shows: outputs that are the same for every image, and
values inside the network which are far from what they were in training. A batch normalisation remembers the latter;
measured on real models, right images stay within a factor of 3 of it, unscaled ones are off by 60 and more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from int8cal.check.selection import some_images
from int8cal.errors import Int8calError, UseError
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.findings import Finding
from int8cal.text_safety import printable
from int8cal.types import BatchNCHW_f32

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


class Remembered(Protocol):
    """What goes into a batch normalisation now, and went into it in training, per channel."""

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean now."""

    @property
    def deviation(self) -> npt.NDArray[np.float64]:
        """Standard deviation now."""

    @property
    def training_mean(self) -> npt.NDArray[np.float64]:
        """Mean in training."""

    @property
    def training_deviation(self) -> npt.NDArray[np.float64]:
        """Standard deviation in training."""


class Binding(Protocol):
    """The input that a model was fed through."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def layout(self) -> str:
        """``nchw`` or ``nhwc``."""


class Seen(Protocol):
    """What a model made of some images."""

    @property
    def binding(self) -> Binding:
        """The input that was fed."""

    @property
    def outputs(self) -> Mapping[str, npt.NDArray[np.float32]]:
        """Output name → values, the images along the first axis."""

    @property
    def first_norm(self) -> Remembered | None:
        """The batch normalisation nearest to the input; None when there is none any more."""


def try_model(path: str | os.PathLike[str], run: Callable[[BatchNCHW_f32], Seen]) -> list[Finding]:
    """Show a float model images from all over a tensorfile, and judge what it makes of them.

    Args:
        path: the tensorfile.
        run: runs the model once, as `int8cal.use.probe.probe` does; a `UseError` of it is a finding.

    Raises:
        TensorFileError: the file cannot be opened as a tensorfile at all.
    """
    with TensorFile(path) as file:
        images = some_images(file, PROBED_IMAGES)
    if not len(images):
        return []  # which is reported of the file itself
    try:
        seen = run(images)
    except UseError as error:
        return [unfit(error)]
    different = len({image.tobytes() for image in images})
    fed = f"{seen.binding.name}, {seen.binding.layout.upper()}"
    return judge_model(seen.outputs, seen.first_norm, fed=fed, different_images=different)


def judge_model(
    outputs: Mapping[str, npt.NDArray[np.float32]], norm: Remembered | None, *, fed: str, different_images: int
) -> list[Finding]:
    """Judge what a float model makes of some images.

    Args:
        outputs: output name → values, the images along the first axis.
        norm: its first batch normalisation; None when it has none any more.
        fed: name and layout of the input, for the message.
        different_images: how many of the images are different ones.
    """
    found = [finding for name, values in outputs.items() for finding in _output(name, values, different_images)]
    found += _norm(norm) if norm else ()
    if not any(finding.level == "error" for finding in found):
        images = len(next(iter(outputs.values()), ()))
        remembered = "" if norm else "; it has no batch normalisation left that would remember the training data"
        found.append(
            Finding(
                "note",
                "model-alive",
                f"the model takes the images ({printable(fed)}), and its outputs are alive on {images} of them: "
                f"{', '.join(map(printable, outputs))}{remembered}",
                "Nothing; that channels or images are the right ones is still not proved by it.",
            )
        )
    return found


def unfit(error: Int8calError) -> Finding:
    """The finding for a model that does not take the images, or fails on them."""
    return Finding("error", "model-input", error.message, error.hint or "Use the model and the file for each other.")


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
