"""FasterRCNN: the numbers of its own training loader without augmentation, from the formulas.

u is a pixel 0..255, h() rounds to float16, everything else is float32::

    v = h(u · 0.003921509)                              as DetectNet_v2's mode 0 (preprocess.normalise)
    size_height_width:  v = h(resize(v, size))          unless the image has that size
    size_min:           v = h(resize(v, limited size))  shorter side size_min.min, aspect ratio kept, longer side at
                                                        most output_image_max where the spec sets it
    x = v · 255                                         channels reversed when image_channel_order is "bgr"
    y = (x - image_channel_mean) / image_scaling_factor

``resize`` is TensorFlow 1's bilinear (preprocess.resample). Samples: the TFRecords of ``dataset_config``, read as for
DetectNet_v2; one permutation with the spec's ``random_seed``.

Images from a folder go the way of NVIDIA's exporter instead: Lanczos, mean in double precision, a product with the
reciprocal of the scaling factor; see `int8cal.network_kit.exporter`.

Evidence: none from the reference; the formulas are tested against a second implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from int8cal.errors import SpecError
from int8cal.images.decode import decode_image
from int8cal.images.limits import output_problem
from int8cal.network_kit.exporter import exporter_arithmetic
from int8cal.network_kit.image_mean import CHANNEL_KEYS, image_mean
from int8cal.network_kit.labels import tfrecord_objects
from int8cal.network_kit.network import CORRECT_FIELD, Arithmetic, Network
from int8cal.network_kit.path_roles import BASE_MODEL, ENGINE, RESULT, TFRECORD_SOURCES, WRITTEN
from int8cal.network_kit.tf_loaders import limited_sample_size, resized_values, tfrecord_selection
from int8cal.samples.encoded import sample_place
from int8cal.samples.samples import Dataset, Sample
from int8cal.samples.sources import DataloaderMode, read_tfrecord_split
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Message, Size, SplitName

_INPUT = "model_config.input_image_config"
_PREPROCESSING = "augmentation_config.preprocessing"
_ORDERS = {3: ("rgb", "bgr"), 1: ("l",)}
_NO_LIMIT = 1 << 24
"""Length of the longer side where the spec sets no limit: no image comes near it, and float32 holds it exactly."""


def _input(message: Message) -> Message:
    return message.model_config.input_image_config


def _channels(message: Message) -> int:
    return 1 if _input(message).image_type else 3


def _scale(message: Message) -> float:
    """What the difference from the mean is multiplied with, where the reference does not divide."""
    return 1.0 / float(_input(message).image_scaling_factor)


def _fixed_size(message: Message) -> Size | None:
    """Height and width of the network input; None when only the shorter side is fixed."""
    config = _input(message)
    if config.WhichOneof("image_size_config") == "size_min":
        return None
    return Size(config.size_height_width.height, config.size_height_width.width)


def _mean(spec: SpecDocument) -> tuple[float, ...]:
    """Mean in the order of the network input's channels."""
    field_path = f"{_INPUT}.image_channel_mean"
    config = _input(spec.message)
    mean = image_mean(spec, config, field_path, _channels(spec.message))
    if mean is None:
        raise SpecError(
            "image_channel_mean should be set in experiment spec file.", where=spec.where(_INPUT), hint=CORRECT_FIELD
        )
    for key, value in zip(CHANNEL_KEYS[len(mean)], mean, strict=True):
        if not 0 < value < 255:
            problem = f"image_channel_mean of {key!r} should be > 0 and < 255. Wrong value: {value:g}"
            raise SpecError(problem, where=spec.where_entry(field_path, key), hint=CORRECT_FIELD)
    return mean if config.image_channel_order != "rgb" else mean[::-1]


def _refuse_outdated(spec: SpecDocument) -> None:
    if spec.written("network_config"):
        raise SpecError(
            "network_config is the form of TLT 1.0, which TAO no longer reads.",
            where=spec.where("network_config"),
            hint="Rename network_config to model_config and its feature_extractor to arch; move training_config's "
            "kitti_data_config to dataset_config and its data_augmentation to augmentation_config; set "
            "training_config.batch_size_per_gpu.",
        )


def _check(spec: SpecDocument) -> None:
    for field_path, problem in _problems(spec.message):
        raise SpecError(problem, where=spec.where(field_path), hint=CORRECT_FIELD)
    _mean(spec)


def _problems(message: Message) -> Iterator[tuple[str, str]]:
    config = _input(message)
    channels = _channels(message)
    if config.image_channel_order not in _ORDERS[channels]:
        allowed = " or ".join(map(repr, _ORDERS[channels]))
        yield (
            f"{_INPUT}.image_channel_order",
            f"image_channel_order is {config.image_channel_order!r}; images with {channels} channels need {allowed}.",
        )
    if config.WhichOneof("image_size_config") is None:
        yield _INPUT, "size_height_width or size_min should be set in experiment spec file."
    size = _fixed_size(message)
    if size and (problem := output_problem(size)):
        yield f"{_INPUT}.size_height_width", problem


def _contradictions(message: Message) -> Iterator[str]:
    """What augmentation_config says of the network input where input_image_config, which decides, says otherwise."""
    fields = message.augmentation_config.preprocessing
    size = _fixed_size(message)
    expected = {"output_image_channel": _channels(message)}
    if size is None:
        expected["output_image_min"] = _input(message).size_min.min
    else:
        expected |= {"output_image_height": size.height, "output_image_width": size.width}
    for name, value in expected.items():
        written = getattr(fields, name)
        if written and written != value:
            yield f"{_PREPROCESSING}.{name} is {written}, but {_INPUT}, which decides, makes it {value}."


def _read_split(spec: SpecDocument, split: SplitName, data_root: str) -> Dataset:
    selection = tfrecord_selection(spec.message.dataset_config, DataloaderMode.MULTISOURCE, data_root)
    dataset = read_tfrecord_split(selection._replace(mode_is_chosen=False), split)
    return replace(dataset, warnings=(*dataset.warnings, *_contradictions(spec.message)))


def _arithmetic(spec: SpecDocument, dataset: Dataset, _: Mapping[str, str]) -> Arithmetic:
    message = spec.message
    config = _input(message)
    channels, mean, factor = _channels(message), _mean(spec), config.image_scaling_factor
    size_of = _target_size(message)
    subtract = np.array(mean, dtype=np.float32)[:, None, None]
    divide = np.float32(factor)
    reverse = config.image_channel_order == "bgr"
    accurate = message.dataset_config.image_extension in ("jpg", "jpeg")

    def decode(encoded: bytes, sample: Sample) -> ImageHWC_u8:
        return decode_image(encoded, channels, fast_dct=not accurate, where=sample_place(sample))

    def to_tensor(image: ImageHWC_u8, sample: Sample) -> ImageCHW_f32:
        values = resized_values(image[..., ::-1] if reverse else image, size_of(sample))
        values *= np.float32(255)
        values -= subtract
        values /= divide
        return values

    return Arithmetic(
        name="faster_rcnn.loader",
        evidence="unverified",
        decode=decode,
        to_tensor=to_tensor,
        shape=lambda sample: (channels, *size_of(sample)),
        options=_facts(message, mean) | {"jpeg_dct": "accurate" if accurate else "fast"},
    )


def _facts(message: Message, mean: tuple[float, ...]) -> dict[str, Any]:
    config = _input(message)
    return {
        "channels": len(mean),
        "channel_order": {"l": "grey"}.get(config.image_channel_order, config.image_channel_order.upper()),
        "mean": list(mean),
        "scale": _scale(message),
        "shortest_side": config.size_min.min or None,
    }


def _target_size(message: Message) -> Callable[[Sample], Size]:
    fixed = _fixed_size(message)
    if fixed is not None:
        return lambda sample: fixed
    shortest = _input(message).size_min.min
    longest = message.augmentation_config.preprocessing.output_image_max or _NO_LIMIT

    return partial(limited_sample_size, shortest=shortest, longest=longest, field="size_min")


def _folder_arithmetic(spec: SpecDocument, dataset: Dataset, _: Mapping[str, str]) -> Arithmetic:
    size = _fixed_size(spec.message)
    if size is None:
        raise SpecError(
            "size_min gives no fixed size, which images from a folder need.",
            where=spec.where(f"{_INPUT}.size_min"),
            hint="Set size_height_width, or use the spec's data.",
        )
    config = _input(spec.message)
    return exporter_arithmetic(
        "faster_rcnn.exporter",
        evidence="unverified",
        size=size,
        mean=_mean(spec),
        reverse=config.image_channel_order == "bgr",
        scale=_scale(spec.message),
    )


_PATH_ROLES: Mapping[str, str] = {
    **TFRECORD_SOURCES,
    "training_config.retrain_pruned_model": BASE_MODEL,
    "training_config.pretrained_weights": BASE_MODEL,
    "training_config.resume_from_model": BASE_MODEL,
    "training_config.output_model": WRITTEN,
    "training_config.visualizer.wandb_config.wandb_dir": WRITTEN,
    "inference_config.images_dir": "none: images for inference, not for calibration",
    "inference_config.model": RESULT,
    "inference_config.detection_image_output_dir": WRITTEN,
    "inference_config.labels_dump_dir": WRITTEN,
    "inference_config.trt_inference.trt_engine": ENGINE,
    "evaluation_config.model": RESULT,
    "evaluation_config.trt_evaluation.trt_engine": ENGINE,
}

NETWORK = Network(
    name="faster_rcnn",
    title="FasterRCNN object detection: from the formulas, not verified against NVIDIA",
    root="int8cal.faster_rcnn.Experiment",
    seed=lambda message: int(message.random_seed),
    batch_size=lambda message: int(message.training_config.batch_size_per_gpu),
    dataset=_read_split,
    arithmetic=_arithmetic,
    check=_check,
    pixel_fields=frozenset({"model_config", "model_config.input_image_config"}),
    detect=lambda message: True,
    path_roles=_PATH_ROLES,
    epochs_field="training_config.num_epochs",
    objects=tfrecord_objects,
    refuse_outdated=_refuse_outdated,
    folder_arithmetic=_folder_arithmetic,
)
