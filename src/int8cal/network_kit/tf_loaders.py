"""What the TensorFlow loaders of DetectNet_v2 and FasterRCNN share.

Their ``dataset_config``; and resizing as they do it: bilinear, in half precision (mode 0 of DetectNet_v2).
"""

from __future__ import annotations

import os

from int8cal.errors import ImageError
from int8cal.images.limits import MAX_PIXELS
from int8cal.preprocess.normalise import HALF_VALUES, look_up
from int8cal.preprocess.resample import limited_size, resize_bilinear_legacy
from int8cal.samples.encoded import sample_place
from int8cal.samples.samples import Sample
from int8cal.samples.sources import DataloaderMode, SourcePaths, TFRecordSelection
from int8cal.samples.tfrecord import CONVERT_AGAIN
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Message, Size


def resized_values(image: ImageHWC_u8, size: Size) -> ImageCHW_f32:
    """Values 0..1 of an image at a size: resized and rounded to half precision again, unless it has that size."""
    if image.shape[:2] == size:
        return look_up(image, HALF_VALUES)
    return resize_bilinear_legacy(image, HALF_VALUES, size, half=True)


def limited_sample_size(sample: Sample, shortest: int, longest: int, *, field: str) -> Size:
    """Size of a sample whose sides are limited; it depends on the recorded size, not on the file's.

    Args:
        sample: a sample of a TFRecord.
        shortest: pixels of the shorter side; the aspect ratio is kept.
        longest: pixels that the longer side has at most.
        field: the spec's field that asks for it, for errors.

    Raises:
        ImageError: the record gives no size, or the result would have no pixels, or too many.
    """
    if not (sample.height and sample.width):
        raise ImageError(
            f"The record gives no image size, which {field} needs.",
            where=sample_place(sample),
            hint=CONVERT_AGAIN,
        )
    size = limited_size(Size(sample.height, sample.width), shortest, longest)
    if min(size) < 1:
        raise ImageError(
            f"output dimensions must be positive, got {size.width}×{size.height}.",
            where=sample_place(sample),
            hint=f"Set output_image_max, to at least {field}.",
        )
    if size.height * size.width > MAX_PIXELS:
        raise ImageError(
            f"The result would have {size.width}×{size.height} pixels.",
            where=sample_place(sample),
            hint=f"At most {MAX_PIXELS} are made: set a smaller {field}, or a smaller output_image_max.",
        )
    return size


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
