"""Calibration data as people get it wrong: the same pictures, other numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from int8cal.io.file_kinds import TENSORFILE
from int8cal.io.files import OutputFile
from int8cal.preprocess import imagenet
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.writer import TensorFileWriter
from int8cal.types import ImageCHW_f32, ImageHWC_u8

Normalise: TypeAlias = Callable[[ImageHWC_u8], ImageCHW_f32]
Mistake: TypeAlias = Callable[[Sequence[ImageHWC_u8], Normalise], Iterator[ImageCHW_f32]]
"""Pictures, and how they ought to be normalised → what lands in the file."""


def _unscaled(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    return (imagenet.channels_first(picture) for picture in pictures)


def _divided_twice(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    return (normalise(picture / np.float32(255)) for picture in pictures)  # type: ignore[arg-type]  # the mistake


def _mean_without_scale(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    return (imagenet.caffe(imagenet.channels_first(picture), imagenet.CAFFE_MEAN_BGR[::-1]) for picture in pictures)


def _noise(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    """What NVIDIA's exporters write when the image folder is missing."""
    rng = np.random.default_rng(0)
    height, width, channels = pictures[0].shape
    return (rng.random((channels, height, width), dtype=np.float32) for _ in pictures)


def _black(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    return (normalise(np.zeros_like(picture)) for picture in pictures)


def _channels_swapped(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    return (normalise(picture[..., ::-1]) for picture in pictures)


def _one_image(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    return (normalise(pictures[0]) for _ in pictures)


MISTAKES: Mapping[str, Mistake] = {
    "unscaled": _unscaled,
    "divided twice": _divided_twice,
    "mean without scale": _mean_without_scale,
    "noise": _noise,
    "black": _black,
    "channels swapped": _channels_swapped,
    "one image repeated": _one_image,
}


def write_mistaken(
    mistake: Mistake, pictures: Sequence[Path], normalise: Normalise, out: Path, *, batch_size: int
) -> None:
    """Write a tensorfile with a mistake in it, without manifest, as a script of one's own would.

    Args:
        mistake: one of `MISTAKES`.
        pictures: image files of one size, a whole number of batches.
        normalise: how they ought to be normalised.
        out: written anew.
        batch_size: images per batch.
    """
    images = [np.asarray(Image.open(path)) for path in pictures]
    height, width, channels = images[0].shape
    compression = Compression.named("fast")
    with OutputFile(str(out), overwrite=True, replaces=TENSORFILE) as output:
        shape = (batch_size, channels, height, width)
        with TensorFileWriter(output.scratch, shape, compression) as writer:
            for values in mistake(images, normalise):
                writer.append(compression.encode(values))
            writer.finish(None, [])
        output.commit()
