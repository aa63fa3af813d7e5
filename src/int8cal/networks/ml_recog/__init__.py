"""Metric Learning Recognition (TAO 5 to 7): what NVIDIA's evaluation feeds the network.

u is a pixel 0..255 of the RGB image after Pillow's antialiased bilinear resize and a crop of its middle; EXIF
orientation is ignored; f() rounds to float32::

    value = f(f(f(u / 255) − mean) / std)       pixel_mean and pixel_std of the spec; RGB

The reference hands width and height over where height and width are taken: the image is resized to a height of
int(1.14 · input_width) and a width of int(1.14 · input_height), and the crop is input_width high and input_height wide.
Its export makes the same exchange, so that loader and model agree. Samples: class folders and the folders in them,
sorted. ``val`` is the gallery (``val_dataset.reference``), ``query`` its queries. Evidence: golden set of TAO 7.0.1,
every bit equal.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from PIL import Image

from int8cal.errors import DataError, SpecError
from int8cal.network_kit import torch_loaders as kit
from int8cal.network_kit.labels import folder_class
from int8cal.network_kit.network import ORDER, Arithmetic, Network
from int8cal.network_kit.path_roles import BASE_MODEL, TRAINING, VALIDATION
from int8cal.preprocess.torchvision import centred, in_window, resized
from int8cal.samples.paths import working_directory
from int8cal.samples.samples import Dataset
from int8cal.samples.torch_listings import Listing, flat_images, torchvision_classes
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, SplitName

_WIDTH, _HEIGHT = "model.input_width", "model.input_height"
_MEAN, _STD = "dataset.pixel_mean", "dataset.pixel_std"
_VALIDATION = "dataset.val_dataset"
_MARGIN = 1.14


def _crop(spec: SpecDocument) -> Size:
    """Size of the results: as high as ``input_width``, as wide as ``input_height``."""
    return kit.checked_size(spec, spec.message.value(_WIDTH), spec.message.value(_HEIGHT), _WIDTH)


def _check(spec: SpecDocument) -> None:
    _crop(spec)
    kit.checked_values(spec, _MEAN, _STD)


def _listing(spec: SpecDocument, split: SplitName, root: str) -> Listing:
    if split == "train":
        return torchvision_classes(0, os.path.join(root, kit.given(spec, "dataset.train_dataset", split)))
    if split == "infer":
        folder = os.path.join(root, kit.given(spec, "inference.input_path", split))
        kind = spec.message.value("inference.inference_input_type")
        if kind == "classification_folder":
            return torchvision_classes(0, folder)
        if kind == "image_folder":
            return flat_images(0, folder)
        raise SpecError(
            f"inference.inference_input_type is {kind!r}, which gives no calibration data",
            where=spec.where("inference.inference_input_type"),
            hint="Write image_folder or classification_folder.",
        )
    key = "query" if split == "query" else "reference"
    folders = kit.given(spec, _VALIDATION, split)
    folder = folders.get(key)
    if not isinstance(folder, str) or not folder:
        raise DataError(f"{_VALIDATION} has no {key}", where=spec.where(_VALIDATION), hint=f"Add {_VALIDATION}.{key}.")
    return torchvision_classes(0, os.path.join(root, folder))


def _read_split(spec: SpecDocument, split: SplitName, root: str) -> Dataset:
    return kit.dataset_of(split, [_listing(spec, split, root)])


def _arithmetic(spec: SpecDocument, dataset: Dataset, options: Mapping[str, str]) -> Arithmetic:
    crop = _crop(spec)
    table, facts = kit.checked_values(spec, _MEAN, _STD)
    larger = Size(int(crop.height * _MARGIN), int(crop.width * _MARGIN))

    def cropped(pixels: ImageHWC_u8) -> ImageCHW_f32:
        return in_window(centred(resized(pixels, larger, Image.Resampling.BILINEAR), crop), table, crop)

    return kit.image_arithmetic(
        "ml_recog.crop", kit.decoder("RGB", upright=False), cropped, (3, *crop), facts | {"fit": list(larger)}
    )


NETWORK = Network(
    name="ml_recog",
    title="Metric Learning Recognition of TAO 5 to 7: every bit equal to NVIDIA's evaluation loader",
    root="int8cal.ml_recog.Experiment",
    batch_size=kit.batch_size,
    spec_batches=kit.spec_batches,
    dataset=_read_split,
    arithmetic=_arithmetic,
    folder_arithmetic=_arithmetic,
    check=_check,
    notes=lambda spec: kit.unit_notes(spec, _MEAN, _STD),
    detect=lambda message: True,
    path_roles={
        **kit.COMMON_ROLES,
        "model.pretrained_model_path": BASE_MODEL,
        "model.pretrained_trunk_path": BASE_MODEL,
        "model.pretrained_embedder_path": BASE_MODEL,
        "dataset.train_dataset": TRAINING,
        f"{_VALIDATION}.reference": VALIDATION,
        f"{_VALIDATION}.query": VALIDATION,
        "dataset.class_map": VALIDATION,
        "inference.input_path": VALIDATION,
    },
    splits=("train", "val", "query", "test", "infer"),
    listed_splits=kit.LISTED_SPLITS,
    options=(ORDER,),
    data_root=working_directory,
    epochs_field=kit.EPOCHS_FIELD,
    objects=folder_class,
)
