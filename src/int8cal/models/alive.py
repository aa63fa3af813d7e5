"""Does the float model come alive on the images.

A model cannot say that its input is right, but a gross mistake shows: outputs that are the same for every image, and
values inside the network which are far from what they were in training. A batch normalisation remembers the latter;
measured on real models, right images stay within a factor of 3 of it, unscaled ones are off by 60 and more. The order
of channels (RGB or BGR) cannot be seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.errors import TensorFileError, UseError
from int8cal.io.safe_text import printable, shortened
from int8cal.models.binding import InputBinding, images_not_finite
from int8cal.models.computable import Computable
from int8cal.models.probe import Probe, Remembered, probe
from int8cal.models.wants import by_metadata, contradiction, said_by
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.arithmetic import stated_arithmetic
from int8cal.tensorfile.checksums import image_checksum
from int8cal.tensorfile.findings import Finding
from int8cal.tensorfile.selection import some_images as evenly_chosen
from int8cal.types import Batches, BatchNCHW_f32, Size

_TAO_OUTPUTS = {
    "output_cov/Sigmoid:0": ("detectnet_v2",),
    "output_cov/Sigmoid": ("detectnet_v2",),
    "predictions/Softmax:0": ("classification", "classification_tf1"),
    "predictions/Softmax": ("classification", "classification_tf1"),
    "nms_out": ("faster_rcnn",),
    "NMS": ("ssd", "dssd", "retinanet"),
    "BatchedNMS": ("yolo_v3", "yolo_v4", "yolo_v4_tiny"),
    "pred_boxes": ("rtdetr", "dino", "deformable_detr"),
}
"""Output of a model that TAO exported → the networks that have one of that name."""
_OTHERS = ("classification_pyt", "segformer", "ocrnet", "ml_recog")
"""TAO's networks whose outputs have names that any model may have."""

PROBED_IMAGES = 16
"""Images that are shown to a model: enough to differ, few enough for a second."""
MIN_FOR_CLASSES = 8
"""Images that a classifier should not put all into one class; `quantize` shows no more, as each is a run."""
_FAR = 10.0
"""How many times the spread of training means that the scale is wrong."""
_FLAT = 30.0
"""How many times narrower than in training means the same; dark or plain pictures may be narrower, too."""
_SHIFTED = 6.0
"""How many standard deviations of training mean that the offset is wrong."""
_OF_IMAGES = "images."
"""Before the preset in the name of an arithmetic of ``int8cal images``."""
_UNIT = (0.0, 1.0)
_SAME_PROBABILITY = 1e-4
_SAME = 1e-5

_PROVE = (
    "Check preprocessing and model against each other: int8cal verify FILE -e SPEC, or --images DIR, proves the file."
)


def some_images(batches: Batches, wanted: int) -> BatchNCHW_f32:
    """At most ``wanted`` images as one batch: from all over a file, else the first ones."""
    if isinstance(batches, TensorFile):
        return evenly_chosen(batches, wanted)
    found: list[BatchNCHW_f32] = []
    for batch in batches:
        found.append(batch[: wanted - sum(map(len, found))])
        if sum(map(len, found)) >= wanted or not batches.image_count:
            break  # batches of which nobody knows how many they are can be gone through only once
    return np.concatenate(found) if found else np.empty((0, *batches.shape[1:]), np.float32)


def check_alive(
    parts: Computable, binding: InputBinding, images: BatchNCHW_f32, manifest: Mapping[str, Any] | None, *, force: bool
) -> tuple[Finding, ...]:
    """Judge what a float model makes of some images, before time is spent on more of them.

    Args:
        parts: the model.
        binding: its input.
        images: some of those that it will be calibrated by; none: nothing is found.
        manifest: of the file that they are from.
        force: go on in spite of errors, which are warnings then.

    Raises:
        UseError: there are errors, and ``force`` is not set; or the model fails, or the images are no numbers.
    """
    if not len(images):
        return ()
    if not np.isfinite(images).all():
        raise images_not_finite()
    found = (*no_pictures(images), *judge_on(images, parts, binding, manifest))
    error = next((finding for finding in found if finding.level == "error"), None)
    if error is not None and not force:
        raise UseError(error.message, hint=f"{error.hint} To go on all the same: --force.")
    return tuple(replace(finding, level="warning") if finding.level == "error" else finding for finding in found)


def judge_on(
    images: BatchNCHW_f32, parts: Computable, binding: InputBinding, manifest: Mapping[str, Any] | None
) -> list[Finding]:
    """Whether a float model and images fit each other: by what both say of themselves, and by running it once.

    Args:
        images: some of a file.
        parts: the model.
        binding: its input.
        manifest: of the file.

    Raises:
        UseError: the model fails on the images.
    """
    return [
        *contradictions(parts.original, binding, images, manifest),
        *other_size(parts.original, binding, images),
        *judge_model(probe(parts, images, binding)),
    ]


def no_pictures(images: BatchNCHW_f32) -> Iterator[Finding]:
    """Whether images are such that nothing can be calibrated by them, whatever the model.

    Args:
        images: some of those that it will be calibrated by.
    """
    count, pixels = len(images), images.shape[2] * images.shape[3]
    hint = "Look at the images, and at what is made of them: int8cal inspect FILE."
    if pixels > 1 and (images.min(axis=(2, 3)) == images.max(axis=(2, 3))).all():
        yield Finding("error", "blank", f"every image looked at ({count}) is of one colour: no picture is in it", hint)
    elif count > 1 and len(set(map(image_checksum, images))) == 1:
        yield Finding("error", "one-image", f"the {count} images looked at are the same one, bit for bit", hint)


def contradictions(
    model: Any, binding: InputBinding, images: BatchNCHW_f32, manifest: Mapping[str, Any] | None
) -> Iterator[Finding]:
    """Whether a file was made for another model than this, as far as both say what they are.

    Args:
        model: ``onnx.ModelProto``.
        binding: its input.
        images: some of the file.
        manifest: of the file: it names one of TAO's networks, or a preset of ``int8cal images``.
    """
    network = str((manifest or {}).get("network") or "")
    known = {*_OTHERS, *(name for names in _TAO_OUTPUTS.values() for name in names)}
    for output in model.graph.output:
        fitting = _TAO_OUTPUTS.get(output.name)
        if fitting and network in known and network not in fitting:
            yield Finding(
                "error",
                "model-network",
                f"the tensorfile was made for {printable(network)}, and the model's output {printable(output.name)} is "
                f"that of {' or '.join(fitting)}",
                f"Make the file again: int8cal {fitting[0]} calibration_tensorfile -e SPEC.",
            )
    preset, values = _by_preset(manifest or {}, images.shape[1])
    if not preset:
        return
    found = said_by(model, binding)
    is_right = found.exporter == "Ultralytics" and values == _UNIT  # by numbers of its own
    if not is_right and (said := contradiction(found, preset, values)):
        named = f"--preset {found.exporter.lower()}" if found.exporter else "the model's own preprocessing"
        yield Finding(
            "error",
            "model-preset",
            said,
            f"Make the file again with {named}; or, if its numbers are right all the same, by them alone: --scale, "
            "--mean, --std.",
        )


def _by_preset(manifest: Mapping[str, Any], channels: int) -> tuple[str, tuple[float, float]]:
    """The preset that a file was made by, empty where it was none, and the values of the darkest and lightest pixel."""
    try:
        stated = stated_arithmetic(manifest, channels)
    except TensorFileError:  # which is an error of the file, not of what the model makes of it
        stated = None
    preset = stated.name.removeprefix(_OF_IMAGES) if stated else ""
    if stated is None or stated.name in (preset, f"{_OF_IMAGES}stated"):
        return "", _UNIT
    mean, scale = np.array(stated.mean), np.array(stated.scale)
    least, greatest = ((level - mean) * scale for level in (0, 255))
    return printable(shortened(preset, 80)), (float(least.min()), round(float(greatest.max()), 9))


def other_size(model: Any, binding: InputBinding, images: BatchNCHW_f32) -> Iterator[Finding]:
    """Whether images have another size than the metadata of a model name that takes any.

    Args:
        model: ``onnx.ModelProto``.
        binding: its input.
        images: some of them.
    """
    said, made = by_metadata(model)[1], Size(*images.shape[2:])
    shape = next(one for one in model.graph.input if one.name == binding.name).type.tensor_type.shape.dim
    axes = (1, 2) if binding.layout == "nhwc" else (2, 3)
    if said and said != made and any(shape[axis].dim_value < 1 for axis in axes):
        yield Finding(
            "warning",
            "model-size",
            f"the model's metadata say {said.height}x{said.width} pixels, and the images have "
            f"{made.height}x{made.width} (height x width)",
            f"Make them of {said.height}x{said.width}, unless the model will be run with this size.",
        )


def judge_model(seen: Probe) -> list[Finding]:
    """Judge what a float model makes of some images."""
    norm = seen.first_norm
    broken = [name for name, values in seen.outputs.items() if not np.isfinite(values).all()]
    dead = {} if seen.different_images < 2 else _dead(seen, broken)
    alive = [name for name in seen.outputs if name not in (*broken, *dead)]
    found = [
        *map(_not_finite, broken),
        *(_same(name, change, seen, alive) for name, change in dead.items()),
        *_one_class(seen, alive),
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
                "Nothing to do. It does not prove that channels or images are the right ones.",
            )
        )
    return [*found, *_unseen(seen)]


def _unseen(seen: Probe) -> Iterator[Finding]:
    if seen.unseen:
        yield Finding(
            "note",
            "model-output-unseen",
            f"outputs that do not have numbers for each image, or not from its pixels, were not judged: "
            f"{', '.join(map(printable, seen.unseen))}",
            "Nothing to do if other outputs are judged; otherwise compare the model's results by hand.",
        )


def _not_finite(name: str) -> Finding:
    return Finding("error", "model-not-finite", f"output {printable(name)} has NaN or infinite values", _PROVE)


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


def _same(name: str, change: float, seen: Probe, alive: Collection[str]) -> Finding:
    """The finding for a dead output.

    Only when no floating-point output is alive, the network does not see the images. One that is dead beside others may
    be so by nature, and a class or a count has good reason to be the same for similar images.
    """
    said = f"output {printable(name)} is the same for {seen.different_images} different images"
    is_whole, are_all_whole = name in seen.whole, seen.whole == seen.outputs.keys()
    if not is_whole and seen.whole.issuperset(alive):
        message = f"{said} (it changes by {change:.2g} at most)"
        hint = f"The network does not see the images: their scale is wrong, or they are nearly alike. {_PROVE}"
        return Finding("error", "model-dead", message, hint)
    is_loud = not alive if are_all_whole else not is_whole
    hint = f"Nothing to do if that is its nature, or if the images are alike; else its input is wrong. {_PROVE}"
    return Finding("warning" if is_loud else "note", "model-output-same", said, hint)


def _one_class(seen: Probe, alive: Collection[str]) -> Iterator[Finding]:
    for name in alive if seen.different_images >= MIN_FOR_CLASSES else ():
        values = seen.outputs[name]
        if name in seen.whole or name in seen.ranked or not _is_one_class(values):
            continue
        chosen = int(values.reshape(len(values), -1)[0].argmax())
        yield Finding(
            "warning",
            "model-one-class",
            f"output {printable(name)}: class {chosen} is the most probable one for all of "
            f"{seen.different_images} different images",
            f"If they are of several classes, the input is wrong. {_PROVE}",
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
            _PROVE,
        )
    elif factor < 1 / _FLAT:
        yield Finding(
            "error",
            "model-scale",
            f"behind its first layer the model sees values {factor:.2g} times as wide as in training: "
            "the images are not scaled as it was trained",
            _PROVE,
        )
    elif factor < 1 / _FAR:
        yield Finding(
            "warning",
            "model-scale",
            f"behind its first layer the model sees values {factor:.2g} times as wide as in training: "
            "the images are too flat for it",
            _PROVE,
        )
