"""All images of a folder → samples, as NVIDIA's exporters take them (``--cal_image_dir``)."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from int8cal.errors import DataError, ImageError
from int8cal.samples.encoded import read_encoded
from int8cal.samples.labelled_images import IMAGE_EXTENSIONS
from int8cal.samples.listing import count_files, files_below, names_in
from int8cal.samples.paths import path_text
from int8cal.samples.samples import Dataset, Sample, Source
from int8cal.types import SplitName


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Where images are taken from in place of the spec's data.

    Attributes:
        path: the folder.
        recursive: folders below it, too; links to folders are not followed.
    """

    path: str
    recursive: bool = False


def read_folder(folder: ImageFolder, split: SplitName, *, sizes: bool) -> Dataset:
    """Images of a folder by their extension (``.jpg``, ``.jpeg``, ``.png``, lower case), sorted.

    Args:
        folder: which.
        split: what the result is called.
        sizes: read the size of every image from its header, for arithmetic that needs recorded sizes. Images whose
            header cannot be read have size 0 here, and fail when they are decoded.

    Raises:
        MissingDataError: the folder is not there.
        DataError: it cannot be read, or no image is in it.
    """
    what = "folder of calibration images"
    names = list(files_below(folder.path, what)) if folder.recursive else names_in(folder.path, what)
    images = [name for name in names if os.path.splitext(name)[1] in IMAGE_EXTENSIONS]
    samples = [Sample(source=0, frame_id=name, path=os.path.join(folder.path, name)) for name in images]
    others = set(names) - set(images)
    files = count_files(folder.path, others)
    if not samples:
        below = "" if folder.recursive else ", or --recursive for those in folders below it"
        raise DataError(
            f"No image is in the folder, among {files} files.",
            where=path_text(folder.path),
            hint=f"Images are files named {', '.join(sorted(IMAGE_EXTENSIONS))} (lower case){below}.",
        )
    if sizes:
        samples = [_with_size(sample) for sample in samples]
    source = Source(0, folder.path, tuple(samples))
    counts = {"files of other kinds": files}
    if not folder.recursive:
        counts["folders not entered"] = len(others) - files
    return Dataset(split, (source,), counts=counts)


def _with_size(sample: Sample) -> Sample:
    from int8cal.images.pictures import picture_size  # late: Pillow, for some runs from a folder alone

    try:
        height, width = picture_size(read_encoded(sample), sample.path)
    except ImageError:
        return sample
    return replace(sample, height=height, width=width)
