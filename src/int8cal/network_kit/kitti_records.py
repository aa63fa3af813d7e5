"""TFRecords from images and KITTI labels, as the reference's loaders read them.

Features and shard names are those of NVIDIA's ``dataset_convert``. The partition is our own, so the files are not those
that NVIDIA's command writes.

A data set is a folder with one folder of images and one of labels, a text file of the same name for each image, in
which every line is an object in 15 columns.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from int8cal.errors import DataError, MissingDataError, UsageError
from int8cal.images.pictures import picture_size
from int8cal.io.folders import new_folder
from int8cal.io.paths import absolute
from int8cal.io.safe_text import shell_word, short_repr
from int8cal.samples.folders import list_folder, listed_suffixes, suffixes_of
from int8cal.samples.nearby import folders_below
from int8cal.samples.paths import open_data_file, path_text, read_text_file
from int8cal.samples.tfrecord import Example, frame_record
from int8cal.samples.torch_listings import TORCHVISION_SUFFIXES
from int8cal.types import Size

Partition: TypeAlias = Literal["random", "sequence"]

_COLUMNS = 15
_SHOWN = 6
_MAX_LABEL_BYTES = 1 << 22
"""Of one image: the record of as many objects is not too long for `int8cal.samples.tfrecord`."""
_LARGEST = float(np.finfo(np.float32).max)
"""Records hold floats of 32 bits."""
_LARGEST_INTEGER = 1 << 31
_LABEL_HINT = "A KITTI label has 15 columns: class, truncated, occluded, alpha, 4 of the box, 3 sizes, 3 places, angle."


@dataclass(frozen=True)
class Label:
    """One line of a KITTI label file.

    Attributes:
        name: class, as written (``Car``).
        truncated: 0..1.
        occluded: 0, 1 or 2.
        alpha: observation angle, radians.
        box: left, top, right, bottom, pixels.
        dimensions: height, width, length, metres.
        location: x, y, z of the middle of the bottom in camera coordinates (y points down), metres.
        rotation_y: turn about the vertical axis, radians.
    """

    name: str
    truncated: float
    occluded: int
    alpha: float
    box: tuple[float, float, float, float]
    dimensions: tuple[float, float, float]
    location: tuple[float, float, float]
    rotation_y: float

    def line(self) -> str:
        """The 15 columns, without a line end."""
        numbers = (*self.box, *self.dimensions, *self.location, self.rotation_y)
        return f"{self.name} {self.truncated:.2f} {self.occluded} {self.alpha:.2f} " + " ".join(
            f"{number:.2f}" for number in numbers
        )


def read_labels(path: str) -> list[Label]:
    """The objects of a label file; blank lines do not count.

    Raises:
        MissingDataError: it is not there.
        DataError: a line is not a KITTI label, or the file is far too long.
    """
    hint = "Every image needs a label file, be it empty."
    text = read_text_file(path, "label file", _MAX_LABEL_BYTES, hint=hint, too_long=_LABEL_HINT)
    return [
        _label(line.split(), f"{path_text(path)}:{number}")
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
    ]


def _label(columns: list[str], where: str) -> Label:
    if len(columns) != _COLUMNS:
        raise DataError(f"a label of {len(columns)} columns", where=where, hint=_LABEL_HINT)
    try:
        numbers = [_number(column) for column in columns[1:]]
        if numbers[1] % 1 or abs(numbers[1]) > _LARGEST_INTEGER:
            raise ValueError(f"occluded is {short_repr(columns[2])}, not a whole number of at most {_LARGEST_INTEGER}")
        truncated, occluded, alpha, *rest = numbers
        left, top, right, bottom, height, width, length, x, y, z, rotation = rest
        return Label(
            columns[0], truncated, int(occluded), alpha, (left, top, right, bottom), (height, width, length), (x, y, z),
            rotation,
        )  # fmt: skip
    except ValueError as error:
        raise DataError(str(error), where=where, hint=_LABEL_HINT) from None


def _number(column: str) -> float:
    try:
        if not column.isascii() or "_" in column:  # Python takes such
            raise ValueError
        number = float(column)
    except ValueError:
        raise ValueError(f"a column is not a number: {short_repr(column)}") from None
    if not abs(number) <= _LARGEST:
        raise ValueError(f"a column is not a finite float of 32 bits: {short_repr(column)}")
    return number


def example(frame_id: str, size: Size, labels: Sequence[Label]) -> bytes:
    """One frame as a serialised ``tf.train.Example``, with the features of NVIDIA's ``dataset_convert``.

    Args:
        frame_id: image folder and stem: ``image_2/000001``.
        size: of the picture, pixels.
        labels: of the frame.
    """
    message = Example()
    features = message.features.feature

    def put(name: str, kind: str, values: Iterable[object]) -> None:
        feature = getattr(features[name], kind)
        feature.SetInParent()  # a frame without objects still says of which kind its lists are
        feature.value.extend(values)

    put("frame/id", "bytes_list", [os.fsencode(frame_id)])
    put("frame/height", "int64_list", [size.height])
    put("frame/width", "int64_list", [size.width])
    put("target/object_class", "bytes_list", [os.fsencode(item.name.lower()) for item in labels])
    put("target/occlusion", "int64_list", [item.occluded for item in labels])
    columns = {
        "truncation": [item.truncated for item in labels],
        "observation_angle": [item.alpha for item in labels],
        **_columns("coordinates", ("x1", "y1", "x2", "y2"), [item.box for item in labels]),
        **_columns("world_bbox", ("h", "w", "l"), [item.dimensions for item in labels]),
        **_columns("world_bbox", ("x", "y", "z"), [item.location for item in labels]),
        "world_bbox_rot_y": [item.rotation_y for item in labels],
    }
    for name, values in columns.items():
        put(f"target/{name}", "float_list", values)
    payload: bytes = message.SerializeToString(deterministic=True)
    return payload


def _columns(prefix: str, parts: Sequence[str], rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    return {f"{prefix}_{part}": [row[index] for row in rows] for index, part in enumerate(parts)}


def tfrecord(payloads: Iterable[bytes]) -> bytes:
    """A TFRecord file."""
    return b"".join(map(frame_record, payloads))


def shard_name(stem: str, fold: int, folds: int, shard: int, shards: int) -> str:
    """File name of a shard as ``dataset_convert`` forms it."""
    return f"{stem}-fold-{fold:03d}-of-{folds:03d}-shard-{shard:05d}-of-{shards:05d}"


@dataclass(frozen=True)
class Records:
    """What was written.

    Attributes:
        folder: where.
        files: names of the TFRecord files, sorted.
        frames: images in each fold.
        classes: objects of each class, as they are called in the records.
        labels_without_image: label files that belong to no image.
        left_out: files in the folder of images with another suffix, by suffix.
    """

    folder: str
    files: tuple[str, ...]
    frames: tuple[int, ...]
    classes: Mapping[str, int] = field(default_factory=dict)
    labels_without_image: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)


def write_records(
    root: str,
    out: str,
    *,
    image_dir: str = "image_2",
    label_dir: str = "label_2",
    extension: str = "png",
    stem: str = "kitti_trainval",
    folds: int = 2,
    validation: float = 20.0,
    shards: int = 10,
    sequences: Mapping[str, str] | None = None,
    seed: int = 42,
) -> Records:
    """Convert a KITTI data set.

    Args:
        root: the folder that holds the two others; ``image_directory_path`` of the spec.
        out: the folder to make. It is complete, or it is not there.
        image_dir: name of the folder of images, which lies in ``root``; an absolute path of it will do.
        label_dir: name of the folder of labels.
        extension: of the images, without the dot.
        stem: beginning of the file names.
        folds: number of parts; of two, the first is the validation split.
        validation: percentage of the images that go into the first of two folds; more folds are of equal size.
        shards: files for each fold.
        sequences: image name without extension → the sequence it belongs to, which is in one fold as a whole; None:
            each image is drawn for itself.
        seed: of the partition.

    Raises:
        UsageError: a number makes no sense, or the folder of images lies outside of ``root``.
        MissingDataError: a folder or a label is not there.
        DataError: an image or label cannot be read, or there is no image.
        OutputError: the folder exists, or cannot be written.
    """
    if folds < 1 or shards < 1 or not 0 <= validation <= 100:
        raise UsageError("a partition needs 1 fold and 1 shard at least, and 0 to 100 % for validation")
    if 0 < validation < 1:
        raise UsageError(
            f"the share for validation is in per cent, and {validation:g} is less than one per cent",
            hint=f"For {100 * validation:g} % of the images: --val_split {100 * validation:g}.",
        )
    image_dir = _name_below(root, image_dir)
    _require_folders(root, image_dir, label_dir)
    frames, left_out = _frames(os.path.join(root, image_dir), extension, os.path.join(root, label_dir))
    labels = list_folder(os.path.join(root, label_dir), "folder of labels", (".txt",)).files
    classes: Counter[str] = Counter()
    payloads = {}
    for name in frames:
        objects = read_labels(os.path.join(root, label_dir, f"{name}.txt"))
        classes.update(item.name.lower() for item in objects)
        payloads[name] = example(
            f"{image_dir}/{name}", _size(os.path.join(root, image_dir, f"{name}.{extension}")), objects
        )
    parts = _partition(frames, sequences, folds, validation, seed)
    with new_folder(out, holding=re.compile(r".*-of-\d{5}")) as draft:
        for fold, members in enumerate(parts):
            for shard, part in enumerate(np.array_split(np.arange(len(members)), shards)):
                content = tfrecord(payloads[members[index]] for index in part)
                Path(draft, shard_name(stem, fold, folds, shard, shards)).write_bytes(content)
        files = tuple(sorted(os.listdir(draft)))
    left = len({name.removesuffix(".txt") for name in labels if name.endswith(".txt")} - set(frames))
    return Records(out, files, tuple(map(len, parts)), dict(sorted(classes.items())), left, left_out)


def _name_below(root: str, image_dir: str) -> str:
    """The folder of images as the names in the records begin: relative to the root.

    Raises:
        UsageError: it lies elsewhere, where no loader would look.
    """
    for resolved in (absolute, os.path.realpath):
        name = os.path.relpath(resolved(os.path.join(root, image_dir)), resolved(root))
        if name.split(os.sep)[0] != os.pardir:
            return name
    folder = absolute(os.path.join(root, image_dir))
    raise UsageError(
        f"the folder of images lies outside of {path_text(root)}",
        where=path_text(image_dir),
        hint="Records name images relative to KITTI_DIR: give a folder that holds them, such as "
        f"int8cal records {shell_word(os.path.dirname(folder))} --image_dir {shell_word(os.path.basename(folder))}.",
    )


def _require_folders(root: str, image_dir: str, label_dir: str) -> None:
    """Say of a data set that lies otherwise what there is, and what to type.

    Raises:
        MissingDataError: the folder of images or that of labels is not there.
    """
    for name, what in ((image_dir, "images"), (label_dir, "labels")):
        folder = os.path.join(root, name)
        if os.path.isdir(folder) or not os.path.isdir(root):
            continue
        below = list(islice(folders_below(root), 1, None))
        above, given = os.path.split(absolute(root))  # where the folder of images itself was given
        near = [above, *below] if given in (image_dir, label_dir) else below
        holding = next((one for one in near if os.path.isdir(os.path.join(one, name))), None)
        there = ", ".join(path_text(os.path.relpath(one, root)) for one in below[:_SHOWN]) or "none"
        hint = (
            f"{path_text(holding)} has it: int8cal records {shell_word(holding)} -o DIR"
            if holding
            else f"Name the folders with --image_dir and --label_dir. Folders in {path_text(root)}: {there}."
        )
        raise MissingDataError(
            f"there is no such folder of {what}", where=path_text(folder), hint=hint, filename=folder
        )


def _frames(folder: str, extension: str, labels: str) -> tuple[list[str], dict[str, int]]:
    """Names of the images without their extension, sorted, and the suffixes of all other files."""
    files = list_folder(folder, "folder of images", ()).files
    names = [name.removesuffix(f".{extension}") for name in files if name.endswith(f".{extension}")]
    left_out = suffixes_of(name for name in files if not name.endswith(f".{extension}"))
    if names:
        return names, left_out
    there = listed_suffixes(left_out) or "none"
    if found := _image_extension(files):
        advice = f"Add --image_extension {shell_word(found)}."
    elif _image_extension(list_folder(labels, "folder of labels", ()).files):
        advice = f"The images are in {path_text(labels)}: swap --image_dir and --label_dir."
    else:
        advice = "Name the folder of images with --image_dir."
    raise DataError(f"no image is named *.{extension}", where=path_text(folder), hint=f"There are: {there}. {advice}")


def _image_extension(files: Sequence[str]) -> str | None:
    """The most frequent extension of images, as an option takes it; None without images."""
    suffixes = Counter(os.path.splitext(name)[1] for name in files)
    return next((one[1:] for one, _ in suffixes.most_common() if one.lower() in TORCHVISION_SUFFIXES), None)


def _size(path: str) -> Size:
    with open_data_file(path, "image file", DataError, hint="Repair or remove the image.") as file:
        return picture_size(file.read(), path)


def _partition(
    frames: Sequence[str], sequences: Mapping[str, str] | None, folds: int, validation: float, seed: int
) -> list[list[str]]:
    """The frames of each fold, in a random order; frames of one sequence stay together."""
    groups: dict[str, list[str]] = {}
    for name in frames:
        if sequences is not None and name not in sequences:
            raise MissingDataError(
                f"the image {path_text(name)} is in no sequence", hint="Name it in the file of sequences."
            )
        groups.setdefault(sequences[name] if sequences is not None else name, []).append(name)
    names = list(groups)
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    if folds == 2:
        border = round(validation / 100 * len(order))
        chosen = [order[:border], order[border:]]
    else:
        chosen = [[order[index] for index in part] for part in np.array_split(np.arange(len(order)), folds)]
    return [[name for group in fold for name in groups[group]] for fold in chosen]
