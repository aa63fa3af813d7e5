"""Classification: what NVIDIA's ``classification calibration_tensorfile`` of TAO (TensorFlow 1.15) writes.

u is a pixel 0..255 after the image was converted to RGB (or grey; 16-bit grey keeps 0..65535) and stretched to
``input_image_size`` by nearest neighbour, whatever interpolation the spec trains with. All in float32::

    caffe   u - mean              channels reversed: blue, green, red; mean from image_mean, or 103.939, 116.779, 123.68
                                  (grey: 117.3786)
    torch   (u/255 - mean)/0.224  mean 0.485, 0.456, 0.406 (grey: 0.449); one deviation for all channels
    tf      u/127.5 - 1

Crops, flips and colour augmentation take no part. The option ``resize: training`` stretches with the spec's
interpolation (antialiased bilinear or bicubic) instead: those are the pixels that the network was trained on.

Samples: class folders as Keras lists them; the reference's order is a permutation without a seed, here with one.
Evidence: equal in every bit to the reference (Keras 2.2.4 with NVIDIA's patches, Pillow 8.4.0) on the golden set, but
for colour JPEGs: the reference's Pillow decodes them with another JPEG library.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from PIL import Image

from int8cal.errors import SpecError
from int8cal.images.limits import output_problem
from int8cal.images.pictures import COLOUR_JPEG_DECODER, open_image, open_picture, size_of
from int8cal.network_kit.image_mean import image_mean
from int8cal.network_kit.labels import folder_class
from int8cal.network_kit.network import Arithmetic, Network, Option, ReferenceCommand
from int8cal.network_kit.path_roles import BASE_MODEL, RESULT, TRAINING, VALIDATION, WRITTEN
from int8cal.preprocess import imagenet
from int8cal.preprocess.colour import rgb_pixels, to_grey_keeping_depth, to_rgb
from int8cal.preprocess.normalise import level_planes, look_up
from int8cal.preprocess.stretch import interpolated, interpolated_pixels, nearest, nearest_positions
from int8cal.samples.encoded import sample_place
from int8cal.samples.folders import read_class_folders
from int8cal.samples.paths import working_directory
from int8cal.samples.samples import Dataset, Sample
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, SplitName

_INPUT_SIZE = "model_config.input_image_size"
_MEAN = "train_config.image_mean"
_SMALLEST_SIDE = 16
_SIZE_HINT = 'Write "channels,height,width".'

_RESIZE = Option(
    name="resize",
    help="nearest: nearest neighbour, as NVIDIA's command; training: the spec's interpolation, as in training.",
    choices=("nearest", "training"),
    default="nearest",
)

_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
"""By the number of model_config.resize_interpolation_method."""


def _input_shape(spec: SpecDocument) -> tuple[int, int, int]:
    """Channels, height, width of ``input_image_size``."""
    text = spec.message.model_config.input_image_size
    where = spec.where(_INPUT_SIZE)
    try:
        channels, height, width = map(int, text.split(","))
    except ValueError as error:
        raise SpecError(f"input_image_size is {text!r}, not three numbers.", where=where, hint=_SIZE_HINT) from error
    if channels not in (1, 3):
        raise SpecError(
            f"Invalid input image dimension. {channels} channels are not 1 or 3.", where=where, hint=_SIZE_HINT
        )
    for name, length in (("height", height), ("width", width)):
        if length < _SMALLEST_SIDE:
            raise SpecError(
                f"Image {name} should be greater than {_SMALLEST_SIDE - 1} pixels.", where=where, hint=_SIZE_HINT
            )
    if problem := output_problem(Size(height, width)):
        raise SpecError(problem, where=where, hint=_SIZE_HINT)
    return channels, height, width


def _mean(spec: SpecDocument, channels: int) -> tuple[float, ...]:
    default = imagenet.CAFFE_MEAN_BGR if channels == 3 else imagenet.CAFFE_MEAN_GREY
    return image_mean(spec, spec.message.train_config, _MEAN, channels) or default


def _check(spec: SpecDocument) -> None:
    _mean(spec, _input_shape(spec)[0])


def _read_split(spec: SpecDocument, split: SplitName, data_root: str) -> Dataset:
    config = spec.message.train_config
    path = config.train_dataset_path if split == "training" else config.val_dataset_path
    return read_class_folders(os.path.join(data_root, path), split)


def _arithmetic(spec: SpecDocument, dataset: Dataset, options: Mapping[str, str]) -> Arithmetic:
    channels, height, width = _input_shape(spec)
    size = Size(height, width)
    mean = _mean(spec, channels)
    mode = spec.message.train_config.preprocess_mode
    as_trained = options[_RESIZE.name] == "training"
    resample = _FILTERS[spec.message.model_config.resize_interpolation_method]
    reversed_channels = mode == "caffe" and channels == 3
    pixel_mean, scale = imagenet.pixel_terms(mode, mean, channels)

    def values(planes: ImageCHW_f32) -> ImageCHW_f32:
        if mode == "caffe":
            return imagenet.caffe(planes, mean)
        return imagenet.torch(planes) if mode == "torch" else imagenet.tf(planes)

    def grey_tensor(picture: Image.Image, sample: Sample) -> ImageCHW_f32:
        grey = to_grey_keeping_depth(picture)
        stretched = interpolated(grey, size, resample) if as_trained else nearest(grey, size)
        return values(imagenet.channels_first(np.asarray(stretched)))

    # The result's channels, not the picture's: NumPy takes pixels out of a reversed one slowly.
    order = slice(None, None, -1 if reversed_channels else 1)
    tables = values(level_planes(channels))[order, 0]

    def colour_tensor(image: ImageHWC_u8 | Image.Image, sample: Sample) -> ImageCHW_f32:
        positions = None
        if isinstance(image, Image.Image):
            picture = to_rgb(image)
            pixels = np.asarray(interpolated(picture, size, resample) if as_trained else nearest(picture, size))
        elif as_trained:
            pixels = rgb_pixels(interpolated_pixels(image, size, resample))
        else:
            pixels, positions = rgb_pixels(image), nearest_positions(size_of(image), size)
        out = np.empty((channels, *size), np.float32)
        look_up(pixels, tables, out[order], positions=positions)
        return out

    open_, to_tensor = (open_image, colour_tensor) if channels == 3 else (open_picture, grey_tensor)
    return Arithmetic(
        name=f"classification.{mode}",
        evidence="unverified" if as_trained else "bit-exact but for colour JPEGs",
        decode=lambda encoded, sample: open_(encoded, sample_place(sample)),
        to_tensor=to_tensor,
        shape=lambda sample: (channels, height, width),
        options={
            "channels": channels,
            "channel_order": _channel_order(channels, reversed_channels=reversed_channels),
            "mean": pixel_mean,
            "scale": scale,
            "resize": resample.name.lower() if as_trained else "nearest",
            "colour_jpeg_decoder": COLOUR_JPEG_DECODER,
        },
        size=size_of,
    )


def _channel_order(channels: int, *, reversed_channels: bool) -> str:
    if channels == 1:
        return "grey"
    return "BGR" if reversed_channels else "RGB"


_PATH_ROLES: Mapping[str, str] = {
    "eval_config.eval_dataset_path": VALIDATION,
    "eval_config.model_path": RESULT,
    "model_config.byom_model": BASE_MODEL,
    "train_config.train_dataset_path": TRAINING,
    "train_config.val_dataset_path": VALIDATION,
    "train_config.pretrained_model_path": BASE_MODEL,
    "train_config.visualizer.wandb_config.wandb_dir": WRITTEN,
}

NETWORK = Network(
    name="classification",
    title="Image classification: every bit equal to NVIDIA's command, colour JPEGs excepted",
    root="int8cal.classification.Experiment",
    batch_size=lambda message: int(message.train_config.batch_size_per_gpu),
    dataset=_read_split,
    arithmetic=_arithmetic,
    check=_check,
    pixel_fields=frozenset({"model_config", "train_config"}),
    detect=lambda message: True,
    path_roles=_PATH_ROLES,
    epochs_field="train_config.n_epochs",
    objects=folder_class,
    default_max_batches=1,
    reference_command=ReferenceCommand("classification", "classification_tf1", "--experiment_spec", "--output"),
    options=(_RESIZE,),
    data_root=working_directory,
)
