"""The rules of a plan: what may be asked for, how many batches there are, and the one shape that all images need."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from int8cal.errors import DataError, UsageError
from int8cal.samples.encoded import sample_place
from int8cal.samples.folders import ImageFolder
from int8cal.samples.paths import path_text
from int8cal.tensorfile.layout import MAX_BATCH_BYTES, MAX_SEED, is_seed
from int8cal.types import SplitName

if TYPE_CHECKING:
    from int8cal.networks.network import Arithmetic, Network
    from int8cal.samples.samples import Dataset
    from int8cal.spec.prototext.spec import Spec
    from int8cal.types import SampleOrder

_BATCH_SIZE = "in the spec, or by --batch_size of int8cal NETWORK"
"""Where the user says how large a batch is: the Azure ML component has no input for it."""


def require_possible(*, split: str, max_batches: int | None, batch_size: int | None, seed: int | None) -> None:
    """Refuse numbers and names that no plan can have; None stands for what the spec or the network says."""
    if split not in get_args(SplitName):
        raise UsageError(f"there is no split {split!r}", hint=f"Use {' or '.join(get_args(SplitName))}.")
    if max_batches is not None and (max_batches == 0 or max_batches < -1):
        raise UsageError(
            f"{max_batches} batches cannot be made", hint="Give -m a positive number, or -1 for all full batches."
        )
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"a batch cannot have {batch_size} images", hint="Give --batch_size a positive number.")
    if seed is not None and not is_seed(seed):
        raise UsageError(
            f"seed {seed} is no unsigned 32-bit number", hint=f"Give --seed a number from 0 to {MAX_SEED}."
        )


def checked_options(network: Network, options: Mapping[str, str]) -> dict[str, str]:
    """The value of every option of the network."""
    known = {option.name: option for option in network.options}
    for name, value in options.items():
        if name not in known:
            hint = f"It has: {', '.join(known)}." if known else f"It has none: leave {name} out."
            raise UsageError(f"{network.name}, which the spec is of, has no option {name!r}", hint=hint)
        if value not in known[name].choices:
            raise UsageError(f"{name} cannot be {value!r}", hint=f"Use one of {', '.join(known[name].choices)}.")
    return {name: options.get(name, option.default) for name, option in known.items()}


def image_folder(path: str | os.PathLike[str] | None, split: SplitName, *, recursive: bool) -> ImageFolder | None:
    """The folder that images are taken from in place of the spec's data; None when none is named."""
    if path is not None and not os.fspath(path):
        raise UsageError("an empty path names no folder of images", hint="Give --cal_image_dir the path of one.")
    if path is None:
        if recursive:
            raise UsageError("--recursive is for images from a folder", hint="Give --cal_image_dir, too.")
        return None
    if split != "training":
        raise UsageError(
            "images from a folder belong to no split of the spec",
            hint="Give either --cal_image_dir or --use_validation_set.",
        )
    return ImageFolder(os.fspath(path), recursive)


def folder_arithmetic(network: Network, spec: Spec, dataset: Dataset, options: Mapping[str, str]) -> Arithmetic:
    """That of the reference's exporter; where it has none, the network's own, which it never gives such images."""
    if network.folder_arithmetic:
        return network.folder_arithmetic(spec, dataset, options)
    own = network.arithmetic(spec, dataset, options)
    return own if own.evidence == "unverified" else replace(own, evidence="not compared")


def full_batches(dataset: Dataset, folder: ImageFolder | None, spec: Spec, batch_size: int, max_batches: int) -> int:
    """Number of full batches to make; the reference's limits, and its silent empty files refused."""
    images = len(dataset.samples)
    source, kind, where = "dataset", f"{dataset.split} images", spec.path
    if folder:
        source, kind, where = "folder", "images", path_text(folder.path)
    available = images // batch_size
    if available == 0:
        raise DataError(
            f"{images} {kind} do not fill one batch of {batch_size}",
            where=where,
            hint=f"Make batches of at most {images}, {_BATCH_SIZE}."
            if images
            else "Check the split and the data sources.",
        )
    if max_batches > available:
        raise DataError(
            f"The {source} contains {available} minibatches, while the requested amount is {max_batches} "
            f"({images} {kind}, {batch_size} per batch)",
            where=where,
            hint=f"Ask for at most {available} (-m, max_batches), or make smaller batches, {_BATCH_SIZE}.",
        )
    return available if max_batches == -1 else max_batches


def common_shape(arithmetic: Arithmetic, dataset: Dataset, order: SampleOrder, batch_size: int) -> tuple[int, int, int]:
    """(C, H, W) that all chosen samples have in common."""
    first = dataset.samples[order[0]]
    shape = arithmetic.shape(first)
    for sample in (dataset.samples[index] for index in order[1:]):
        other = arithmetic.shape(sample)
        if other != shape:
            raise DataError(
                f"{first.frame_id} becomes {shape} (channels, height, width), {sample.frame_id} becomes {other}; "
                "a tensorfile holds one shape",
                where=sample_place(sample),
                hint="Let the spec resize to one fixed size, or keep images of one size.",
            )
    if math.prod(shape) * 4 * batch_size > MAX_BATCH_BYTES:
        raise UsageError(
            f"a batch of {batch_size} images of {shape} takes over {MAX_BATCH_BYTES >> 30} GiB",
            hint=f"Make smaller batches, {_BATCH_SIZE}.",
        )
    return shape
