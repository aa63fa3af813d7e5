"""`verify --model`: does the float model come alive on the images of a tensorfile.

A model cannot say that its input is right, but a gross mistake shows: outputs that are the same for every image, and
values inside the network which are far from what they were in training. A batch normalisation remembers the latter;
measured on real models, right images stay within a factor of 3 of it, unscaled ones are off by 60 and more.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from int8cal.check.selection import some_images
from int8cal.errors import ImageShapeError, UseError
from int8cal.io.safe_text import printable
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.batches import opened_file
from int8cal.tensorfile.findings import Finding

if TYPE_CHECKING:
    from int8cal.models.binding import Constants
    from int8cal.models.probe import Probe, Remembered
    from int8cal.types import Layout

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


def try_model(
    file: str | os.PathLike[str] | TensorFile,
    model: str | os.PathLike[str],
    *,
    input_name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
) -> list[Finding]:
    """Show a float model images from all over a tensorfile, and judge what it makes of them.

    Args:
        file: a tensorfile, or its path.
        model: the float ONNX model; that it takes images of another shape is a finding.
        input_name: its input, to be sure of it.
        layout: layout of that input, where it cannot be told.
        constants: values of its other inputs, which take no images.

    Raises:
        UseError: the model cannot be read, or nothing can be told by it: its input cannot be fed, or it fails.
        UnavailableError: onnx or onnxruntime is not installed.
    """
    from int8cal.models.onnx_file import load_model
    from int8cal.models.probe import probe

    loaded = load_model(model)
    with opened_file(file) as opened:
        images = some_images(opened, PROBED_IMAGES)
    if not len(images):
        return []  # which is reported of the file itself
    try:
        seen = probe(loaded, images, input_name=input_name, layout=layout, constants=constants)
    except ImageShapeError as error:
        return [_unfit(error)]
    except UseError as error:  # no fault of the file
        raise UseError(error.message, where=os.fspath(model), hint=error.hint) from error
    different = len({image.tobytes() for image in images})
    return judge_model(seen, different_images=different)


def judge_model(seen: Probe, *, different_images: int) -> list[Finding]:
    """Judge what a float model makes of some images.

    Args:
        seen: what it made of them.
        different_images: how many of the images are different ones.
    """
    norm = seen.first_norm
    broken = [name for name, values in seen.outputs.items() if not np.isfinite(values).all()]
    dead = {} if different_images < 2 else _dead(seen, broken)
    alive = [name for name in seen.outputs if name not in (*broken, *dead)]
    found = [
        *map(_not_finite, broken),
        *(_same(name, change, seen, alive, different_images) for name, change in dead.items()),
        *_one_class(seen, alive, different_images),
        *(_norm(norm) if norm else ()),
    ]
    if alive and not any(finding.level == "error" for finding in found):
        images = len(seen.outputs[alive[0]])
        fed = f"{printable(seen.binding.name)}, {seen.binding.layout.upper()}"
        remembered = "" if norm else "; it has no batch normalisation left that would remember the training data"
        found.append(
            Finding(
                "note",
                "model-alive",
                f"the model takes the images ({fed}), and its outputs are alive on {images} of them: "
                f"{', '.join(map(printable, alive))}{remembered}",
                "Nothing; that channels or images are the right ones is still not proved by it.",
            )
        )
    return [*found, *_unseen(seen)]


def _unfit(error: ImageShapeError) -> Finding:
    """The finding for a model that takes other images."""
    return Finding("error", "model-input", error.message, error.hint or "Use the model and the file for each other.")


def _unseen(seen: Probe) -> Iterator[Finding]:
    if seen.unseen:
        yield Finding(
            "note",
            "model-output-unseen",
            f"outputs that do not have numbers for each image, or not from its pixels, were not judged: "
            f"{', '.join(map(printable, seen.unseen))}",
            "Nothing, if other outputs are judged; else compare the model's results by hand.",
        )


def _not_finite(name: str) -> Finding:
    return Finding("error", "model-not-finite", f"output {printable(name)} has NaN or infinite values", _CHECK_SPEC)


def _dead(seen: Probe, broken: Collection[str]) -> dict[str, float]:
    """Outputs that are the same for every image → how much they change at most."""
    found: dict[str, float] = {}
    for name, values in seen.outputs.items():
        if name in broken:
            continue
        change = float(np.ptp(values, axis=0).max(initial=0.0))
        in_unit_range = values.min(initial=0) >= 0 and values.max(initial=0) <= 1
        if change < (_SAME_PROBABILITY if in_unit_range else _SAME * float(np.abs(values).max(initial=0))):
            found[name] = change
    return found


def _same(name: str, change: float, seen: Probe, alive: Collection[str], different_images: int) -> Finding:
    """The finding for a dead output.

    Only when no floating-point output is alive, the network does not see the images. One that is dead beside others may
    be so by nature, and a class or a count has good reason to be the same for similar images.
    """
    said = f"output {printable(name)} is the same for {different_images} different images"
    is_whole, are_all_whole = name in seen.whole, seen.whole == seen.outputs.keys()
    if not is_whole and seen.whole.issuperset(alive):
        message = f"{said} (it changes by {change:.2g} at most)"
        hint = f"The network does not see the images: their scale is wrong. {_CHECK_SPEC}"
        return Finding("error", "model-dead", message, hint)
    is_loud = not alive if are_all_whole else not is_whole
    hint = f"Nothing, if it is so by nature, or these images are alike; else the input is wrong. {_CHECK_SPEC}"
    return Finding("warning" if is_loud else "note", "model-output-same", said, hint)


def _one_class(seen: Probe, alive: Collection[str], different_images: int) -> Iterator[Finding]:
    for name in alive if different_images >= _MIN_FOR_CLASSES else ():
        values = seen.outputs[name]
        if name in seen.whole or not _is_one_class(values):
            continue
        chosen = int(values.reshape(len(values), -1)[0].argmax())
        yield Finding(
            "warning",
            "model-one-class",
            f"output {printable(name)}: class {chosen} is the most probable one for all of "
            f"{different_images} different images",
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
