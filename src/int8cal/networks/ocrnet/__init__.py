"""OCRNet (TAO 5 to 7): what NVIDIA's evaluation feeds the network, gray (or RGB) in −1..1.

u is a pixel 0..255 of the image as Pillow makes it gray (``L``; RGB where ``input_channel`` is 3), resized by its
antialiased bicubic filter to input_height × input_width; EXIF orientation is ignored; f() rounds to float32::

    value = f(f(f(u / 255) − 0.5) / 0.5)

With ``keep_aspect_ratio`` the width is ceil(input_height · w/h) if that is less, and the columns right of it repeat the
last one. Samples: the lines of a gt file in order, else an LMDB from image 1 on; only the first training folder is
used, as there. A picture that cannot be opened is black to NVIDIA's loader; here it is an error. Evidence: golden set
of TAO 7.0.1, every bit equal.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image

from int8cal.errors import DataError
from int8cal.network_kit import torch_loaders as kit
from int8cal.network_kit.network import ORDER, Arithmetic, Network
from int8cal.network_kit.path_roles import BASE_MODEL, TRAINING, VALIDATION
from int8cal.preprocess.torchvision import in_window, normalised, resized
from int8cal.samples import lmdb_images
from int8cal.samples.paths import path_text, working_directory
from int8cal.samples.samples import Dataset, Sample, Source
from int8cal.samples.torch_listings import Listing, listed_words, words_below
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, SplitName

_HEIGHT, _WIDTH, _CHANNEL = "model.input_height", "model.input_width", "model.input_channel"
_ASPECT = "dataset.augmentation.keep_aspect_ratio"
_CHARACTERS = "dataset.character_list_file"
_LISTED = {
    "train": ("dataset.train_dataset_dir", "dataset.train_gt_file"),
    "val": ("dataset.val_dataset_dir", "dataset.val_gt_file"),
    "test": ("evaluate.test_dataset_dir", "evaluate.test_dataset_gt_file"),
}
_FOLDERS = {
    "infer": "inference.inference_dataset_dir",
    "calibration": "dataset.quant_calibration_dataset.images_dir",
}


def _size(spec: SpecDocument) -> Size:
    return kit.checked_size(spec, spec.message.value(_HEIGHT), spec.message.value(_WIDTH), _HEIGHT, _WIDTH)


def _check(spec: SpecDocument) -> None:
    _size(spec)


def _notes(spec: SpecDocument) -> Iterator[str]:
    size, engine = _size(spec), kit.stated_size(spec, "gen_trt_engine")
    if engine not in (None, size):
        yield (
            f"{spec.where('gen_trt_engine')}: the engine's input is {engine.width} × {engine.height} (width × height), "
            f"but {_WIDTH} and {_HEIGHT} make the evaluation feed {size.width} × {size.height}, and so the calibration "
            f"data. Where they should be equal, write model: {{input_width: {engine.width}, "
            f"input_height: {engine.height}}}"
        )


def _read_split(spec: SpecDocument, split: SplitName, root: str) -> Dataset:
    if split in _FOLDERS:
        folder = kit.expanded(root, kit.given(spec, _FOLDERS[split], split))
        return kit.dataset_of(split, [words_below(0, folder)])
    folder_name, list_name = _LISTED[split]
    folders = kit.given(spec, folder_name, split)
    notes = list(_missing_characters(spec, root))
    if isinstance(folders, list):
        if len(folders) > 1:
            notes.append(f"{spec.where(folder_name)}: as in NVIDIA's loader, only the first of {len(folders)} is used")
        folders = folders[0]
    folder = kit.expanded(root, folders)
    list_file = spec.message.value(list_name)
    listing = listed_words(0, folder, kit.expanded(root, list_file)) if list_file else _lmdb(folder, spec, list_name)
    return kit.dataset_of(split, [listing], notes)


def _missing_characters(spec: SpecDocument, root: str) -> Iterator[str]:
    path = spec.message.value(_CHARACTERS)
    if path and not os.path.isfile(kit.expanded(root, path)):
        yield f"{spec.where(_CHARACTERS)}: {path_text(path)} is not there; NVIDIA's loader would stop, which reads it"


def _lmdb(folder: str, spec: SpecDocument, list_name: str) -> Listing:
    path = os.path.join(folder, lmdb_images.DATA_FILE)
    try:
        names = lmdb_images.image_names(folder)
    except DataError as error:
        hint = f"{error.hint} Without {list_name} the folder must be an LMDB."
        error.hint = hint
        raise
    return Listing(Source(0, folder, tuple(Sample(0, name, path, member=name) for name in names)))


def _arithmetic(spec: SpecDocument, dataset: Dataset, options: Mapping[str, str]) -> Arithmetic:
    size = _size(spec)
    channels = 3 if spec.message.value(_CHANNEL) == 3 else 1
    table = normalised([0.5], [0.5], channels)
    keeps_aspect = spec.message.value(_ASPECT)
    facts = {"channel_order": "RGB" if channels == 3 else "grey", "value_range": [-1.0, 1.0]}

    def to_tensor(pixels: ImageHWC_u8) -> ImageCHW_f32:
        width = size.width
        if keeps_aspect:
            width = min(width, math.ceil(size.height * (pixels.shape[1] / pixels.shape[0])))
        pixels = resized(pixels, Size(size.height, width), Image.Resampling.BICUBIC)
        if width < size.width:
            pixels = np.pad(pixels, ((0, 0), (0, size.width - width), (0, 0)), mode="edge")
        return in_window(pixels, table, size)

    decode = kit.decoder("RGB" if channels == 3 else "L", upright=False)
    if keeps_aspect:
        return kit.image_arithmetic("ocrnet.aspect", decode, to_tensor, (channels, *size), facts | {"fit": "height"})
    return kit.image_arithmetic("ocrnet.stretch", decode, to_tensor, (channels, *size), facts)


NETWORK = Network(
    name="ocrnet",
    title="OCRNet of TAO 5 to 7: every bit equal to NVIDIA's evaluation loader",
    root="int8cal.ocrnet.Experiment",
    batch_size=kit.batch_size,
    spec_batches=kit.spec_batches,
    dataset=_read_split,
    arithmetic=_arithmetic,
    folder_arithmetic=_arithmetic,
    check=_check,
    notes=_notes,
    detect=lambda message: True,
    path_roles={
        **kit.COMMON_ROLES,
        "model.pruned_graph_path": BASE_MODEL,
        "model.quantize_model_path": BASE_MODEL,
        "dataset.train_dataset_dir[]": TRAINING,
        "dataset.train_gt_file": TRAINING,
        _CHARACTERS: TRAINING,
        "dataset.val_dataset_dir": VALIDATION,
        "dataset.val_gt_file": VALIDATION,
        "dataset.quant_calibration_dataset.images_dir": TRAINING,
        "evaluate.test_dataset_dir": VALIDATION,
        "evaluate.test_dataset_gt_file": VALIDATION,
        "inference.inference_dataset_dir": VALIDATION,
        "dataset_convert.input_img_dir": TRAINING,
        "dataset_convert.gt_file": TRAINING,
        "dataset_convert.results_dir": "none: written by the job, not read",
        "prune.checkpoint": "none: a trained model, which calibration data do not need",
        "prune.results_dir": "none: written by the job, not read",
    },
    splits=kit.SPLITS,
    listed_splits=kit.LISTED_SPLITS,
    options=(ORDER,),
    data_root=working_directory,
    epochs_field=kit.EPOCHS_FIELD,
)
