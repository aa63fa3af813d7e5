"""Going through images one by one, several at a time, with results in order.

A model gives an image the same values, bit for bit, only if it is run alone and on one thread: how a product is cut
into blocks depends on the number of images and of threads. So each image is a run of its own, and the processors are
filled with runs side by side.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from int8cal.io.progress import watched
from int8cal.types import Batches, BatchNCHW_f32, Progress

T = TypeVar("T")

_MOST_RUNS = 8
_MOST_BYTES = 1 << 30  # of what runs side by side may hold together; one run may always


def for_each_image(
    batches: Batches,
    size: int,
    work: Callable[[list[int], BatchNCHW_f32], tuple[T, int]],
    *,
    wanted: Callable[[int], bool] = lambda number: True,
    most: int | None = None,
    progress: Progress | None = None,
    phase: str = "",
) -> Iterator[T]:
    """What ``work`` makes of each image, in the order of the images.

    Args:
        batches: NCHW float32 batches.
        size: how many images a run takes: 1, or the batch size that a model insists on.
        work: gets the numbers of the images and the images; gives its result, and how many bytes it held meanwhile.
            Is called on several threads.
        wanted: which images, by their numbers.
        most: stop after so many of them.
        progress: told about each image.
        phase: what is being done, for ``progress``.
    """
    total = sum(map(wanted, range(batches.image_count)))
    parts = _parts(batches, size, wanted, most)
    with watched(progress, total if most is None else min(total, most), phase) as advance:
        first = next(parts, None)
        if first is None:
            return
        result, held = work(*first)
        advance(len(first[0]))
        yield result
        runs = max(1, min(os.cpu_count() or 1, _MOST_RUNS, _MOST_BYTES // max(held, 1)))
        del first, result
        with ThreadPoolExecutor(runs) as pool:
            waiting: deque[tuple[int, Future[tuple[T, int]]]] = deque()
            try:
                for numbers, images in parts:
                    waiting.append((len(numbers), pool.submit(work, numbers, images)))
                    del images
                    if len(waiting) > runs:
                        yield _taken(waiting, advance)
                while waiting:
                    yield _taken(waiting, advance)
            finally:
                for _, future in waiting:
                    future.cancel()


def _taken(waiting: deque[tuple[int, Future[tuple[T, int]]]], advance: Callable[[int], None]) -> T:
    count, future = waiting.popleft()
    result = future.result()[0]
    advance(count)
    return result


def _parts(
    batches: Batches, size: int, wanted: Callable[[int], bool], most: int | None
) -> Iterator[tuple[list[int], BatchNCHW_f32]]:
    """Numbers and images, ``size`` at a time; the last may be fewer."""
    numbers: list[int] = []
    images: list[BatchNCHW_f32] = []
    number = taken = 0
    for batch in batches:
        for image in batch:
            if wanted(number) and (most is None or taken < most):
                numbers.append(number)
                images.append(image[None] if size > 1 else np.array(image[None]))
                taken += 1
            number += 1
            if len(images) == size:
                yield numbers, np.concatenate(images) if size > 1 else images[0]
                numbers, images = [], []
        if most is not None and taken >= most and not images:
            return
        del batch, image  # not kept while the next one is read
    if images:
        yield numbers, np.concatenate(images)
