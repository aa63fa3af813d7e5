"""Folders of images with a folder of labels beside each (the sequence format) → samples."""

from __future__ import annotations

import os

from int8cal.samples.listing import count_files, names_in
from int8cal.samples.samples import Sample, Source

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png"})
"""File extensions of images, in lower case only: those that the reference's exporter takes as well."""

_LABEL_EXTENSION = ".txt"


def read_labelled_images(index: int, image_dir: str, label_dir: str) -> tuple[Source, dict[str, int]]:
    """Images of one data source that have a label file; the labels themselves are not read.

    Args:
        index: index of the source in the spec.
        image_dir: folder of the images; folders in it are not entered.
        label_dir: folder of the labels: ``<image name without extension>.txt``.

    Returns:
        The samples sorted by name, and how many images without label, labels without image and other files there are.

    Raises:
        MissingDataError: a folder is not there.
        DataError: a folder cannot be read.
    """
    stems = _stems(names_in(label_dir, "label folder"), frozenset({_LABEL_EXTENSION}))
    labels = {stem for stem, _ in stems}
    names = names_in(image_dir, "image folder")
    images = _stems(names, IMAGE_EXTENSIONS)
    samples = tuple(
        Sample(source=index, frame_id=name, path=os.path.join(image_dir, name))
        for stem, name in images
        if stem in labels
    )
    counts = {
        "images without label": len(images) - len(samples),
        "labels without image": len(labels - {stem for stem, _ in images}),
        "files of other kinds": count_files(image_dir, set(names) - {name for _, name in images}),
    }
    return Source(index, image_dir, samples), counts


def _stems(names: list[str], extensions: frozenset[str]) -> list[tuple[str, str]]:
    """(name without extension, name) of the names with one of the extensions."""
    parts = ((*os.path.splitext(name), name) for name in names)
    return [(stem, name) for stem, extension, name in parts if extension in extensions]
