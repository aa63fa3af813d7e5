"""Going through images one by one, several at a time, with results in order.

A model gives an image the same values, bit for bit, only if it is run alone and on one thread: how a product is cut
into blocks depends on the number of images and of threads. So each image is a run of its own, and the processors are
filled with runs side by side.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from int8cal.io.progress import watched
from int8cal.io.threads import map_on_threads, usable_cores
from int8cal.models.overlap import Digested
from int8cal.tensorfile import TensorFile
from int8cal.types import Batches, BatchNCHW_f32, ImageCHW_f32, Progress

T = TypeVar("T")

_MOST_RUNS = 8
_MOST_BYTES = 1 << 30  # of the values that runs side by side may give; one run may always


@dataclass(frozen=True)
class LoadedImages:
    """Images that are in memory.

    Attributes:
        numbers: which ones of all they are.
        images: NCHW float32.
    """

    numbers: list[int]
    images: BatchNCHW_f32


def load_images(
    batches: Batches | LoadedImages, size: int, wanted: Callable[[int], bool], most: int | None = None
) -> Iterator[LoadedImages]:
    """The images that are wanted, ``size`` at a time; the last may be fewer.

    Args:
        batches: NCHW float32 batches.
        size: how many at a time.
        wanted: which images, by their numbers.
        most: stop after so many of them; None: all.
    """
    numbers: list[int] = []
    images: list[ImageCHW_f32] = []
    for number, image in islice(_wanted_images(batches, wanted), most and min(most, sys.maxsize)):
        numbers.append(number)
        images.append(image)
        del image  # not kept while the next one is read
        if len(images) == size:
            yield LoadedImages(numbers, _together(images))
            numbers, images = [], []
    if images:
        yield LoadedImages(numbers, _together(images))


def _together(images: list[ImageCHW_f32]) -> BatchNCHW_f32:
    """As one batch; one image is not copied."""
    return np.stack(images) if len(images) > 1 else images[0][np.newaxis]


def for_each_image(
    batches: Batches | LoadedImages,
    size: int,
    work: Callable[[list[int], BatchNCHW_f32], tuple[T, int]],
    *,
    wanted: Callable[[int], bool] = lambda number: True,
    most: int | None = None,
    held: int | None = None,
    progress: Progress | None = None,
    phase: str = "",
) -> Iterator[T]:
    """What ``work`` makes of each image, in the order of the images.

    Args:
        batches: NCHW float32 batches.
        size: how many images a run takes: 1, or the batch size that a model insists on.
        work: gets the numbers of the images and the images; gives its result, and how many bytes the model gave.
            Is called on several threads.
        wanted: which images, by their numbers.
        most: stop after so many of them.
        held: the bytes that a run gives, where that is known from runs before; else the first one runs alone.
        progress: told about each image.
        phase: what is being done, for ``progress``.
    """
    total = sum(map(wanted, batches.numbers if isinstance(batches, LoadedImages) else range(batches.image_count)))
    loaded = load_images(batches, size, wanted, most)
    with watched(progress, total if most is None else min(total, most), phase) as advance:
        if held is None:
            first = next(loaded, None)
            if first is None:
                return
            result, held = work(first.numbers, first.images)
            advance(len(first.numbers))
            yield result
            del first, result
        side_by_side = max(1, min(usable_cores(), _MOST_RUNS, _MOST_BYTES // max(held, 1)))
        window = max(side_by_side, 2)  # files and specs have the next images ready by then
        with closing(map_on_threads(_done(work), loaded, side_by_side, window=window)) as results:
            for count, result in results:
                advance(count)
                yield result


def _done(work: Callable[[list[int], BatchNCHW_f32], tuple[T, int]]) -> Callable[[LoadedImages], tuple[int, T]]:
    """Of images with their numbers: how many they are, and what the work makes of them."""
    return lambda some: (len(some.numbers), work(some.numbers, some.images)[0])


def _images_alone(batches: Batches, numbers: list[int]) -> Iterator[ImageCHW_f32] | None:
    """Images that are read one by one, where that takes no longer than reading their batches; else None."""
    if isinstance(batches, Digested):
        every = range(batches.image_count)  # which it goes through
        return batches.images(numbers) if _are_chunks(batches.batches, every) else None
    if isinstance(batches, TensorFile) and (2 * len(numbers) <= batches.image_count or _are_chunks(batches, numbers)):
        return batches.images(numbers)
    return None


def _are_chunks(batches: Batches, numbers: Sequence[int]) -> bool:
    """Whether each of some images is a chunk of a file, as in ours."""
    if not isinstance(batches, TensorFile):
        return False
    size, *extents = batches.shape
    return all(batches.stored(batch).chunks == (1, *extents) for batch in {number // size for number in numbers})


def _wanted_images(
    batches: Batches | LoadedImages, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, ImageCHW_f32]]:
    """Numbers and values, without keeping batches in memory; of a file of which few are wanted, no others are read."""
    if isinstance(batches, LoadedImages):
        found = zip(batches.numbers, batches.images, strict=True)
        yield from ((number, image) for number, image in found if wanted(number))
        return
    numbers = list(filter(wanted, range(batches.image_count)))
    images = _images_alone(batches, numbers)
    if images is not None:
        remaining = iter(numbers)
        for image in images:
            yield next(remaining), image
            del image  # not kept while the next one is read
        return
    number = 0
    for batch in batches:
        for position in range(len(batch)):
            if wanted(number):
                yield number, np.array(batch[position])  # a view would keep the batch
            number += 1
        del batch
