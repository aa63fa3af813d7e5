"""Images in one folder per class → samples, in the order in which Keras lists them."""

from __future__ import annotations

import os

from int8cal.errors import DataError
from int8cal.samples.listing import files_below, names_in
from int8cal.samples.paths import path_text
from int8cal.samples.samples import Dataset, Sample, Source
from int8cal.types import SplitName

IMAGE_ENDINGS = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")
"""What the lower-cased name of an image ends with; as in the reference, no dot is asked for."""


def read_class_folders(root: str, split: SplitName) -> Dataset:
    """Images of a classification data set.

    Classes are the folders in ``root`` (links to folders too) in sorted order, whether they hold images or not. Inside
    a class, folders are walked in the order of their paths, links to folders are not followed, names are sorted. Files
    that lie directly in ``root``, and files that are no images by their name, are left out and counted.

    Args:
        root: the folder of class folders.
        split: what the folder is, for the result.

    Raises:
        MissingDataError: the folder is not there.
        DataError: it cannot be read, or no image is in it.
    """
    names = names_in(root, f"folder of {split} images")
    classes = [name for name in names if os.path.isdir(os.path.join(root, name))]
    samples: list[Sample] = []
    empty = others = 0
    for name in classes:
        listed = [os.path.join(name, path) for path in files_below(os.path.join(root, name), "class folder")]
        images = [path for path in listed if path.lower().endswith(IMAGE_ENDINGS)]
        samples += (Sample(source=0, frame_id=path, path=os.path.join(root, path)) for path in images)
        empty += not images
        others += len(listed) - len(images)
    if not samples:
        raise DataError(
            f"No image is in the {len(classes)} class folders.",
            where=path_text(root),
            hint=f"One folder per class is expected, with images named {', '.join(IMAGE_ENDINGS)}.",
        )
    return Dataset(
        split,
        (Source(0, root, tuple(samples)),),
        counts={
            "classes": len(classes),
            "empty class folders": empty,
            "files outside class folders": len(names) - len(classes),
            "files of other kinds": others,
        },
    )
