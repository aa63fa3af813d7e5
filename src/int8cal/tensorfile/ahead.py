"""Batches of a tensorfile in order, inflated ahead on threads. At most a few images are ahead of what was taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from int8cal.errors import TensorFileError
from int8cal.guard.hdf5 import Piece, StoredArray
from int8cal.io.threads import map_on_threads, usable_cores
from int8cal.types import BatchNCHW_f32, ImageCHW_f32

_WORTH_THREADS = 8 << 20
"""Bytes of values, below which threads cost more than they save."""


@dataclass
class ReadBatch:
    """A batch that was read.

    Attributes:
        number: which one.
        values: its values.
        seen: what was made of each image, see `read_ahead`.
        error: why it cannot be used.
    """

    number: int
    values: BatchNCHW_f32
    seen: dict[int, Any] = field(default_factory=dict)
    error: TensorFileError | None = None


def read_ahead(
    stored: Callable[[int], StoredArray],
    numbers: Sequence[int],
    shape: tuple[int, int, int, int],
    look: Callable[[int, int, ImageCHW_f32], Any],
    *,
    as_zlib: bool = False,
) -> Generator[ReadBatch]:
    """Read batches. What HDF5 does is done on the caller's thread, what costs time on others.

    Args:
        stored: number of a batch → the batch, unread.
        numbers: of the batches.
        shape: (B, C, H, W) of each.
        look: called with batch number, position and values of each image, on any thread. A `TensorFileError` that it
            raises, or reading, is the error of its batch; the others are read on.
        as_zlib: refuse what HDF5's own inflate would not take.
    """

    def pieces() -> Iterator[tuple[ReadBatch, Piece | None, bool]]:
        for number in numbers:
            batch = ReadBatch(number, np.empty(0, np.float32))
            waiting: Piece | None = None
            try:
                array = stored(number)
                batch.values = np.empty(shape, np.float32)
                for piece in array.pieces(batch.values, as_zlib=as_zlib):
                    if waiting:
                        yield batch, waiting, False
                    waiting = piece
            except TensorFileError as error:
                batch.error = error
            yield batch, waiting, True

    def inflate(item: tuple[ReadBatch, Piece | None, bool]) -> tuple[ReadBatch, TensorFileError | None, bool]:
        batch, piece, is_last = item
        try:
            if piece and not batch.error:
                piece()
                for row in piece.rows:
                    batch.seen[row] = look(batch.number, row, batch.values[row])
        except TensorFileError as error:
            return batch, error, is_last
        return batch, None, is_last

    is_small = len(numbers) * math.prod(shape) * 4 < _WORTH_THREADS
    workers = 1 if is_small else usable_cores()
    if workers == 1:
        yield from _whole(map(inflate, pieces()), look)
        return
    with closing(map_on_threads(inflate, pieces(), workers, window=workers)) as inflated:
        yield from _whole(inflated, look)


def _whole(
    inflated: Iterator[tuple[ReadBatch, TensorFileError | None, bool]],
    look: Callable[[int, int, ImageCHW_f32], Any],
) -> Iterator[ReadBatch]:
    """Each batch, once its last piece is there."""
    for batch, error, is_last in inflated:
        batch.error = batch.error or error
        if not is_last:
            continue
        try:
            for row in range(len(batch.values)):
                if row not in batch.seen and not batch.error:  # its chunks are not those of one image
                    batch.seen[row] = look(batch.number, row, batch.values[row])
        except TensorFileError as reason:
            batch.error = reason
        yield batch
        del batch  # not kept while the next one is made
