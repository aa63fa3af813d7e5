"""The ``dataset_config`` that specs of DetectNet_v2 and FasterRCNN share."""

from __future__ import annotations

import os

from int8cal.samples.sources import DataloaderMode, SourcePaths, TFRecordSelection
from int8cal.types import Message


def tfrecord_selection(config: Message, mode: DataloaderMode, data_root: str) -> TFRecordSelection:
    """What a ``dataset_config`` says about its TFRecords.

    Args:
        config: the message.
        mode: the reference's data loader whose rules apply.
        data_root: folder to which relative paths are joined.
    """

    def paths(index: int, source: Message) -> SourcePaths:
        pattern, image_dir = (
            os.path.join(data_root, path) for path in (source.tfrecords_path, source.image_directory_path)
        )
        return SourcePaths(index, pattern, image_dir, config.image_extension)

    split_type = config.WhichOneof("dataset_split_type")
    has_source = split_type == "validation_data_source"
    return TFRecordSelection(
        sources=tuple(paths(index, source) for index, source in enumerate(config.data_sources)),
        mode=mode,
        validation_fold=config.validation_fold if split_type == "validation_fold" else None,
        validation_source=paths(0, config.validation_data_source) if has_source else None,
    )
