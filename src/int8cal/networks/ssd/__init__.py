"""SSD and DSSD: the numbers that the exporter of NVIDIA's TAO (TensorFlow 1.15) feeds to TensorRT.

A DSSD spec has ``dssd_config`` in place of ``ssd_config``; data and arithmetic are those of SSD. TAO's own tensorfile
command for them does not exist. The arithmetic is that of `int8cal.network_kit.exporter`, with the
channels blue, green, red, and the mean from image_mean, or 103.939, 116.779, 123.68 (grey: 117.3786).

No augmentation takes part. Samples: images that have a label file, sorted by name, or TFRecords with embedded images;
one permutation with a seed (the exporter draws without one).

Evidence: equal in every bit to the exporter (Pillow 8.4.0) on the golden set; colour JPEGs excepted, as there.
The exporter takes a missing channel of image_mean for 0; here it is an error.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from int8cal.errors import DataError, SpecError
from int8cal.images.limits import output_problem
from int8cal.network_kit.exporter import exporter_arithmetic
from int8cal.network_kit.image_mean import image_mean
from int8cal.network_kit.labels import tfrecord_objects
from int8cal.network_kit.network import Arithmetic, Network
from int8cal.network_kit.path_roles import (
    BASE_MODEL,
    TRAINING,
    TRAINING_RECORDS,
    VALIDATION,
    VALIDATION_RECORDS,
    WRITTEN,
)
from int8cal.preprocess.imagenet import CAFFE_MEAN_BGR, CAFFE_MEAN_GREY
from int8cal.samples.folders import read_labelled_images
from int8cal.samples.paths import path_text, working_directory
from int8cal.samples.samples import Dataset, Source
from int8cal.samples.sources import read_embedded_images
from int8cal.spec.document import SpecDocument
from int8cal.types import Message, Size, SplitName

_AUGMENTATION = "augmentation_config"
_NAMED = 3
"""How many of many data sources an error names."""


def _mean(spec: SpecDocument) -> tuple[float, ...]:
    config = spec.message.augmentation_config
    default = CAFFE_MEAN_BGR if config.output_channel == 3 else CAFFE_MEAN_GREY
    return image_mean(spec, config, f"{_AUGMENTATION}.image_mean", config.output_channel) or default


def _check(spec: SpecDocument) -> None:
    config = spec.message.augmentation_config
    if problem := output_problem(Size(config.output_height, config.output_width)):
        hint = "Make output_width and output_height smaller."
        raise SpecError(problem, where=spec.where(_AUGMENTATION), hint=hint)
    _mean(spec)


def _read_split(spec: SpecDocument, split: SplitName, data_root: str) -> Dataset:
    name = "data_sources" if split == "training" else "validation_data_sources"
    listed = getattr(spec.message.dataset_config, name)
    if not listed:
        raise DataError(
            f"The spec names no {name}.",
            where=spec.where("dataset_config"),
            hint=f"Add dataset_config.{name}, or leave out --use_validation_set to use the training split.",
        )
    read = [
        _read_source(index, fields, data_root, spec.where(f"dataset_config.{name}[{index}]"))
        for index, fields in enumerate(listed)
    ]
    if not any(source.samples for source, _ in read):
        raise _no_image(spec, name, read)
    counts: Counter[str] = Counter()
    for _, left_out in read:
        counts.update(left_out)
    return Dataset(split, tuple(source for source, _ in read), counts=dict(counts))


def _no_image(spec: SpecDocument, name: str, read: Sequence[tuple[Source, Mapping[str, int]]]) -> DataError:
    """The error for sources none of which has a sample: what was found in their place."""
    found = [f"{path_text(source.name)} ({_left_out(counts)})" for source, counts in read[:_NAMED]]
    more = [f"and {len(read) - _NAMED} more"] if len(read) > _NAMED else []
    named = "Images are named .jpg, .jpeg or .png (lower case) and have a .txt file in the label folder."
    return DataError(
        f"No image of the {name} can be used: {'; '.join([*found, *more])}.",
        where=spec.where("dataset_config"),
        hint=named
        if any(counts for _, counts in read)
        else "The TFRecord files are empty: convert the data set again.",
    )


def _left_out(counts: Mapping[str, int]) -> str:
    if not counts:
        return "no records"
    return ", ".join(f"{what}: {count}" for what, count in counts.items() if count) or "no file"


def _read_source(index: int, fields: Message, data_root: str, where: str) -> tuple[Source, dict[str, int]]:
    if fields.tfrecords_path:
        return read_embedded_images(index, os.path.join(data_root, fields.tfrecords_path)), {}
    if not (fields.image_directory_path and fields.label_directory_path):
        raise SpecError(
            "A data source needs image_directory_path and label_directory_path, or tfrecords_path.",
            where=where,
            hint="Add what is missing; TFRecords must hold the images themselves.",
        )
    return read_labelled_images(
        index,
        os.path.join(data_root, fields.image_directory_path),
        os.path.join(data_root, fields.label_directory_path),
    )


def _arithmetic(spec: SpecDocument, dataset: Dataset, _: Mapping[str, str]) -> Arithmetic:
    config = spec.message.augmentation_config
    return exporter_arithmetic(
        f"{network_of(spec.message)}.exporter",
        evidence="exporter-equal but for colour JPEGs",
        size=Size(config.output_height, config.output_width),
        mean=_mean(spec),
        reverse=True,
    )


def network_of(message: Message) -> str:
    """``ssd`` or ``dssd``, by the field that is set; ``ssd`` when none is."""
    return "dssd" if message.WhichOneof("network") == "dssd_config" else "ssd"


_PATH_ROLES: Mapping[str, str] = {
    "dataset_config.data_sources[].label_directory_path": TRAINING,
    "dataset_config.data_sources[].image_directory_path": TRAINING,
    "dataset_config.data_sources[].root_path": TRAINING,
    "dataset_config.data_sources[].tfrecords_path": TRAINING_RECORDS,
    "dataset_config.validation_data_sources[].label_directory_path": VALIDATION,
    "dataset_config.validation_data_sources[].image_directory_path": VALIDATION,
    "dataset_config.validation_data_sources[].root_path": VALIDATION,
    "dataset_config.validation_data_sources[].tfrecords_path": VALIDATION_RECORDS,
    "training_config.resume_model_path": BASE_MODEL,
    "training_config.pretrain_model_path": BASE_MODEL,
    "training_config.pruned_model_path": BASE_MODEL,
    "training_config.visualizer.wandb_config.wandb_dir": WRITTEN,
}

_SSD = Network(
    name="ssd",
    title="SSD object detection: equal to what NVIDIA's exporter computes, colour JPEGs excepted",
    root="int8cal.ssd.Experiment",
    batch_size=lambda message: int(message.training_config.batch_size_per_gpu),
    dataset=_read_split,
    arithmetic=_arithmetic,
    check=_check,
    pixel_fields=frozenset({"ssd_config or dssd_config", "augmentation_config"}),
    detect=lambda message: network_of(message) == "ssd",
    path_roles=_PATH_ROLES,
    epochs_field="training_config.num_epochs",
    objects=tfrecord_objects,
    folder_arithmetic=_arithmetic,
    data_root=working_directory,
)

NETWORKS = (
    _SSD,
    replace(
        _SSD,
        name="dssd",
        title="DSSD object detection: equal to what NVIDIA's exporter computes, colour JPEGs excepted",
        detect=lambda message: network_of(message) == "dssd",
    ),
)
