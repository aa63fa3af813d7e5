"""TFRecord data sources → samples: records that name their images, and records that hold them.

Records are read and checked here; images are not touched.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from int8cal.errors import DataError, MissingDataError, RecordError
from int8cal.samples.encoded import ENCODED_FEATURE
from int8cal.samples.paths import WORKING_DIRECTORY_HINT, matching_files, path_inside, path_text, require_folder
from int8cal.samples.samples import Dataset, RecordRef, Sample, Source
from int8cal.samples.tfrecord import (
    CONVERT_AGAIN,
    FRAME_ID,
    MAX_IMAGE_RECORD_BYTES,
    OBJECT_DETECTION_API,
    Record,
    bytes_feature,
    frame_id,
    integer_feature,
    iterate_records,
    parse_features,
    record_place,
    side_by_side,
)
from int8cal.types import Message, SplitName


class DataloaderMode(enum.IntEnum):
    """The reference's data loaders; each has rules of its own for what must be there."""

    MULTISOURCE = 0
    LEGACY = 1
    DEFAULT = 2


@dataclass(frozen=True, slots=True)
class SourcePaths:
    """One data source of a spec, its paths joined to the data root.

    Attributes:
        index: index in the spec.
        pattern: glob pattern of its TFRecord files.
        image_dir: folder to which the records' frame ids are relative.
        image_extension: file extension of its images, without the dot.
    """

    index: int
    pattern: str
    image_dir: str
    image_extension: str


class TFRecordSelection(NamedTuple):
    """What a spec says about its TFRecord data.

    Attributes:
        sources: the data sources in spec order.
        mode: the reference's data loader whose rules apply.
        mode_is_chosen: the spec says which, and may say another.
        validation_fold: files with this fold number are the validation split, the others the training split.
        validation_source: a source that is the validation split; ``sources`` are then the training split in full.
        needs_validation_sizes: the recorded sizes of the validation split decide numbers of the training split.
    """

    sources: tuple[SourcePaths, ...]
    mode: DataloaderMode
    validation_fold: int | None = None
    validation_source: SourcePaths | None = None
    needs_validation_sizes: bool = False
    mode_is_chosen: bool = True


class _SourceFiles(NamedTuple):
    """One source with those of its TFRecord files that belong to a split."""

    source: SourcePaths
    files: tuple[str, ...]


_BOX_EDGES = tuple(f"target/coordinates_{edge}" for edge in ("x1", "x2", "y1", "y2"))
_POLYGON = tuple(f"target/coordinates/{part}" for part in ("x", "y", "index"))

_LABEL_FEATURES: Mapping[DataloaderMode, tuple[tuple[str, ...], ...]] = {
    DataloaderMode.MULTISOURCE: (("target/object_class", *_BOX_EDGES), ("target/object_class", *_POLYGON)),
    DataloaderMode.LEGACY: (_BOX_EDGES,),
    DataloaderMode.DEFAULT: (),
}
"""Alternatives of label features without which the reference's loader stops, although no pixel depends on them.
It looks for them in the first record of a source only."""

_MAX_SIZE = 2**31 - 1

INDEX_PREFIX = "idx-"
"""Name prefix of the index files that lie beside records of whole images and match the same patterns."""


def read_tfrecord_split(selection: TFRecordSelection, split: SplitName) -> Dataset:
    """Samples of one split, in record order.

    Args:
        selection: what the spec says.
        split: the split to read.

    Returns:
        The split with every source that the spec has for it, those without records included; at least one sample.

    Raises:
        DataError: the spec has no such split, no record is in it, or an image name leads out of its folder.
        MissingDataError: TFRecords or an image directory are not there.
        RecordError: a TFRecord file is damaged or a record lacks a feature.
    """
    if split == "validation":
        _require_validation_split(selection)
    training, validation, warnings = _find_files(selection, split)
    chosen = validation if split == "validation" else training
    for files in chosen:
        require_folder(files.source.image_dir, "dataset image directory")

    sources = tuple(_read_source(files, selection) for files in chosen)
    if not any(source.samples for source in sources):
        raise DataError(
            f"no record is in the {split} split: none of the TFRecord files belongs to it, or they are empty",
            hint=_fold_hint(selection),
        )
    warnings += (
        f"Data source {source.index} ({path_text(source.name)}) has no records in the {split} split."
        for source in sources
        if not source.samples
    )
    validation_sources = None
    if selection.needs_validation_sizes:
        same = split == "validation"
        validation_sources = sources if same else tuple(_read_source(files, selection) for files in validation)
    return Dataset(split, sources, validation_sources, warnings=tuple(warnings))


def _require_validation_split(selection: TFRecordSelection) -> None:
    if selection.validation_fold is None and selection.validation_source is None:
        raise DataError(
            "the spec has no validation split: dataset_config sets neither validation_fold nor validation_data_source",
            hint="Set one of them, or leave out --use_validation_set to use the training split.",
        )
    if selection.mode == DataloaderMode.LEGACY and selection.validation_fold is not None:
        raise DataError(
            "with dataloader_mode LEGACY the validation_fold of a source list has no samples: "
            "a defect of the reference, which writes an empty tensorfile",
            hint="Set dataloader_mode: DEFAULT, which makes the same pixels, or use validation_data_source.",
        )


def _fold_hint(selection: TFRecordSelection) -> str:
    if selection.validation_fold is None:
        return "Look at the files that tfrecords_path matches; int8cal records KITTI_DIR -o DIR makes TFRecords."
    return (
        f"validation_fold is {selection.validation_fold}: the validation split are the files with "
        f"{_fold_mark(selection.validation_fold)!r} in their path, the training split all others."
    )


def _fold_mark(fold: int) -> str:
    return f"fold-{fold:03d}-of-"


def _find_files(
    selection: TFRecordSelection, split: SplitName
) -> tuple[list[_SourceFiles], list[_SourceFiles], list[str]]:
    """Files of the training split, of the validation split, and warnings.

    The training sources must be there whatever split is read, as in the reference. A validation source must be there
    where it decides numbers; otherwise its absence is a warning.
    """
    sources = [_SourceFiles(source, matching_files(source.pattern)) for source in selection.sources]
    if selection.validation_fold is not None:
        mark = _fold_mark(selection.validation_fold)
        in_fold = _keep(sources, lambda path: mark in path)
        warnings = _without_fold(selection.validation_fold, in_fold)
        return _keep(sources, lambda path: mark not in path), in_fold, warnings

    if split == "validation" and selection.mode == DataloaderMode.MULTISOURCE:
        for files in sources:
            require_folder(files.source.image_dir, "dataset image directory")
    if selection.validation_source is None:
        return sources, [], []
    source = selection.validation_source
    validation: list[_SourceFiles] = []
    try:
        validation = [_SourceFiles(source, matching_files(source.pattern))]
        require_folder(source.image_dir, "dataset image directory")
    except MissingDataError as error:
        if split == "validation" or (selection.needs_validation_sizes and not validation):
            raise
        return sources, validation, [f"validation_data_source: {error.message} The training split does not need it."]
    return sources, validation, []


def _without_fold(fold: int, in_fold: list[_SourceFiles]) -> list[str]:
    if any(files.files for files in in_fold):
        return []
    mark = _fold_mark(fold)
    return [f"validation_fold is {fold}, and no TFRecord file has {mark!r} in its path: all are in the training split."]


def _keep(sources: Iterable[_SourceFiles], belongs: Callable[[str], bool]) -> list[_SourceFiles]:
    return [_SourceFiles(files.source, tuple(filter(belongs, files.files))) for files in sources]


def _read_source(files: _SourceFiles, selection: TFRecordSelection) -> Source:
    """All records of a source, files in order."""
    samples: list[Sample] = []
    read = partial(_read_file, files.source, selection)
    for part in side_by_side(read, files.files):
        if not samples and part.unlabelled:
            raise part.unlabelled
        if part.error:
            raise part.error
        samples += part.samples
    return Source(files.source.index, files.source.pattern, tuple(samples))


class _FileSamples(NamedTuple):
    """The samples of one file; what is wrong with its first record, if it is the source's; what stopped the reading."""

    samples: list[Sample]
    unlabelled: RecordError | None
    error: DataError | None


def _read_file(source: SourcePaths, selection: TFRecordSelection, path: str) -> _FileSamples:
    samples: list[Sample] = []
    unlabelled: RecordError | None = None
    try:
        for record in iterate_records(path):
            where = record_place(path, record.offset)
            features = parse_features(record.payload, where)
            if not samples:
                unlabelled = _without_labels(features, selection, where)
            samples.append(_sample(source, path, record, features, selection.mode, where))
    except DataError as error:
        return _FileSamples(samples, unlabelled, error)
    return _FileSamples(samples, unlabelled, None)


def _sample(
    source: SourcePaths, path: str, record: Record, features: Mapping[str, Message], mode: DataloaderMode, where: str
) -> Sample:
    name = frame_id(features, where)
    default = None if mode == DataloaderMode.MULTISOURCE else 0
    height = integer_feature(features, "frame/height", where, default=default)
    width = integer_feature(features, "frame/width", where, default=default)
    if not (0 <= height <= _MAX_SIZE and 0 <= width <= _MAX_SIZE):
        raise RecordError(
            f"the record gives an impossible image size: height {height}, width {width}",
            where=where,
            hint=CONVERT_AGAIN,
        )
    return Sample(
        source=source.index,
        frame_id=name,
        path=path_inside(source.image_dir, name, source.image_extension, where),
        height=height,
        width=width,
        record=RecordRef(path, record.offset, record.crc),
    )


def _without_labels(features: Mapping[str, Message], selection: TFRecordSelection, where: str) -> RecordError | None:
    """The error for a first record without the labels that the reference looks for."""
    alternatives = _LABEL_FEATURES[selection.mode]
    missing = [[name for name in names if name not in features] for names in alternatives]
    if not missing or not all(missing) or OBJECT_DETECTION_API in features:
        return None
    fewest = min(missing, key=len)
    loader, way_out = "the reference's data loader", "."
    if selection.mode_is_chosen:
        loader, way_out = f"dataloader_mode {selection.mode.name}", ", or set dataloader_mode: DEFAULT."
    return RecordError(
        f"the record has no feature {fewest[0]!r}, which {loader} needs",
        where=where,
        hint=CONVERT_AGAIN.removesuffix(".") + way_out,
    )


def read_embedded_images(index: int, pattern: str) -> Source:
    """Records of one data source: files in sorted order, records in file order.

    Args:
        index: index of the source in the spec.
        pattern: glob pattern of the TFRecord files; index files among them are left out.

    Raises:
        MissingDataError: no TFRecord file matches.
        RecordError: a file is damaged, or a record holds no image file.
    """
    files = [
        path
        for path in matching_files(pattern, hint=WORKING_DIRECTORY_HINT)
        if not os.path.basename(path).startswith(INDEX_PREFIX)
    ]
    if not files:
        raise MissingDataError(
            f"only index files ({INDEX_PREFIX}*) match pattern {path_text(pattern)}",
            hint="Name the TFRecord files themselves; the index files beside them are not needed.",
            filename=pattern,
        )
    parts = side_by_side(lambda path: list(_embedded_samples(index, path)), files, at_once=2)  # records of whole images
    return Source(index, pattern, tuple(sample for part in parts for sample in part))


def _embedded_samples(index: int, path: str) -> Iterator[Sample]:
    for number, record in enumerate(iterate_records(path, largest=MAX_IMAGE_RECORD_BYTES)):
        where = record_place(path, record.offset)
        features = parse_features(record.payload, where)
        bytes_feature(features, ENCODED_FEATURE, where)
        name = frame_id(features, where) if FRAME_ID in features else ""
        yield Sample(
            source=index,
            frame_id=name or f"{os.path.basename(path)}#{number}",
            path=path,
            height=integer_feature(features, "frame/height", where, default=0),
            width=integer_feature(features, "frame/width", where, default=0),
            record=RecordRef(path, record.offset, record.crc),
            embedded=True,
        )
