"""What batches in a file have in common with an array: numbers, slices and views of them."""

from __future__ import annotations

import math
import operator
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from int8cal.errors import OutOfMemoryError
from int8cal.io.summary import Summarised, counted, times

if TYPE_CHECKING:
    from int8cal.tensorfile.reader import TensorFile
    from int8cal.types import BatchNCHW_f32, ImageCHW_f32

_Rest: TypeAlias = int | slice


class IndexedBatches(Summarised):
    """Batches that are read when they are asked for.

    ``shape``, ``ndim`` and ``dtype`` are those of one batch, ``len`` is the number of batches: ``np.asarray(file)`` has
    the shape ``(len(file), *file.shape)``. ``file[i]`` is a batch, ``file[i, j]`` an image of it, and ``file[a:b]``
    a view that reads nothing yet.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _batch(self, number: int) -> BatchNCHW_f32:
        """A batch by its number from 0."""

    @abstractmethod
    def _image(self, batch: int, position: int) -> ImageCHW_f32:
        """An image by the numbers of its batch and of its place in there, both from 0."""

    @property
    def ndim(self) -> int:
        """Number of dimensions of every batch: 4."""
        return 4

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Type of the values that are read: float32, whatever the file stores."""
        return np.dtype(np.float32)

    @property
    def image_count(self) -> int:
        """Number of images in all batches."""
        return len(self) * self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all batches as float32, uncompressed."""
        return len(self) * math.prod(self.shape) * 4

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        for number in range(len(self)):
            yield self._batch(number)

    @overload
    def __getitem__(self, key: int) -> BatchNCHW_f32: ...
    @overload
    def __getitem__(self, key: slice) -> BatchSlice: ...
    @overload
    def __getitem__(self, key: tuple[_Rest, ...]) -> npt.NDArray[np.float32]: ...
    def __getitem__(self, key: int | slice | tuple[_Rest, ...]) -> BatchNCHW_f32 | BatchSlice | npt.NDArray[np.float32]:
        if isinstance(key, slice):
            return self._view(key)
        if isinstance(key, tuple):
            first, *rest = key or (None,)
            if not isinstance(first, SupportsIndex):
                raise TypeError("the first index of several is the number of a batch: file[i, j]")
            batch = _place(first, len(self), "batch")
            if rest and isinstance(rest[0], int | np.integer):
                found: npt.NDArray[np.float32] = self._image(batch, _place(rest[0], self.shape[0], "image"))
                rest = rest[1:]
            else:
                found = self._batch(batch)
            return found[tuple(rest)] if rest else found
        return self._batch(_place(key, len(self), "batch"))

    @abstractmethod
    def _view(self, key: slice) -> BatchSlice:
        """Some of the batches."""

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All batches in memory, (batches, B, C, H, W); what NumPy's ``asarray`` calls.

        Raises:
            ValueError: ``copy`` is False: the batches are in a file.
            OutOfMemoryError: they are larger than the memory.
        """
        if copy is False:
            raise ValueError("batches of a file cannot become an array without a copy")
        try:
            array = np.empty((len(self), *self.shape), np.float32 if dtype is None else dtype)
        except MemoryError as error:
            raise OutOfMemoryError.of(error, "for all batches at once") from error
        for number, batch in enumerate(self):
            array[number] = batch
        return array

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        return f"{counted(len(self), 'batch')} of {times(self.shape)} float32"


def _place(index: SupportsIndex, count: int, what: str) -> int:
    """A number from 0 on, of an index that may count from the end."""
    number = operator.index(index)  # TypeError of Python's own for what is not a whole number
    place = number + count if number < 0 else number
    if not 0 <= place < count:
        raise IndexError(f"{what} {number} of {count}")
    return place


class BatchSlice(IndexedBatches):
    """Some batches (`int8cal.types.Batches`) of a tensorfile: a view that reads when it is iterated or indexed.

    It can be used as long as the tensorfile is open.
    """

    def __init__(self, file: TensorFile, numbers: range) -> None:
        self._of, self._numbers = file, numbers

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""
        return self._of.shape

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that the batches are in."""
        return self._of.paths

    def encoded_sha256(self) -> dict[int, bytes]:
        """Number of an image → SHA-256 of the image file that it was made from."""
        known, size = self._of.encoded_sha256(), self.shape[0]
        places = ((batch * size + j, of * size + j) for batch, of in enumerate(self._numbers) for j in range(size))
        return {number: known[of] for number, of in places if of in known}

    def __len__(self) -> int:
        return len(self._numbers)

    def _batch(self, number: int) -> BatchNCHW_f32:
        return self._of[self._numbers[number]]

    def _image(self, batch: int, position: int) -> ImageCHW_f32:
        return self._of[self._numbers[batch], position]

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        return self._of.read_ahead(self._numbers)

    def _view(self, key: slice) -> BatchSlice:
        return BatchSlice(self._of, self._numbers[key])

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        return f"{super().summary()}, of {self._of.path}"
