"""Whatever a caller gives for batches → `int8cal.types.Batches`, checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from int8cal.errors import UsageError
from int8cal.tensorfile.arrays import array_batches, is_of_arrays
from int8cal.tensorfile.reader import TensorFile
from int8cal.types import Batches, BatchNCHW_f32


@runtime_checkable
class MakesBatches(Protocol):
    """What makes batches when it is asked to, such as `int8cal.Plan`."""

    def batches(self) -> Batches:
        """Batches that can be iterated again."""


BatchesLike: TypeAlias = (
    str | os.PathLike[str] | Batches | MakesBatches | Iterable[BatchNCHW_f32] | Callable[[], Iterable[BatchNCHW_f32]]
)
"""A tensorfile or its path, the path of a file of NumPy (``.npy``, ``.npz``), a plan or what `int8cal.Plan.batches`
gives, a list of arrays, a function that returns an iterator of arrays; an iterator where one pass is enough."""

_KINDS = "Give a tensorfile, its path, a plan, a list of arrays, or a function that returns an iterator of them."
_AGAIN = "Give a list, or a function that returns an iterator."
_ARRAYS = "Give float32 arrays of the shape (images, channels, height, width)."


@contextmanager
def opened(given: BatchesLike, *, again: bool = True) -> Iterator[Batches]:
    """The batches of whatever was given; a tensorfile that is opened for it is closed again.

    Arrays that are not in a file must be float32 (B, C, H, W), equal in all but the last one's number of images, which
    may be smaller. Those that are not C-contiguous are copied. All but those of an iterator are gone through once at
    the start, to count and check them.

    Args:
        given: see `BatchesLike`.
        again: whether the caller goes through the batches more than once, or must know their number beforehand.

    Raises:
        UsageError: it is none of these, a batch is not as it must be, or it can be taken only once where ``again`` is
            set.
        TensorFileError: the tensorfile cannot be opened.
        UseError: a file of NumPy cannot be used.
    """
    if not isinstance(given, str | os.PathLike):
        yield as_batches(given, again=again)
    elif is_of_arrays(os.fsdecode(given)):
        yield as_batches(array_batches(os.fsdecode(given)))
    else:
        with TensorFile(given) as file:
            yield file


@contextmanager
def opened_file(given: str | os.PathLike[str] | TensorFile) -> Iterator[TensorFile]:
    """A tensorfile that is open already, or one that is opened and closed again.

    Raises:
        UsageError: it is neither a tensorfile nor a path.
        TensorFileError: it cannot be opened as a tensorfile.
    """
    if isinstance(given, TensorFile):
        yield given
    else:
        with TensorFile(given) as file:
            yield file


def as_batches(given: object, *, again: bool = True) -> Batches:
    """The same as `opened`, for what is not a path."""
    if isinstance(given, Batches):
        return given
    if isinstance(given, MakesBatches):
        return given.batches()
    if isinstance(given, np.ndarray):
        raise UsageError("batches are given as one array", hint="Give a list of batches: [array] for one.")
    if isinstance(given, Iterator):
        if again:
            raise UsageError("the batches can be gone through only once, and are needed again", hint=_AGAIN)
        return _OnePass(given)
    if callable(given):
        return _GivenBatches(given)
    if isinstance(given, Iterable):
        return _GivenBatches(partial(iter, given))
    raise UsageError(f"batches cannot be of the type {type(given).__name__}", hint=_KINDS)


def _checked(batch: object, number: int, shape: tuple[int, ...] | None) -> BatchNCHW_f32:
    """A batch as it must be, C-contiguous; ``shape`` is that of the first."""
    what = f"batch {number}"
    if not isinstance(batch, np.ndarray):
        raise UsageError(f"{what} is of the type {type(batch).__name__}, not an array", hint=_ARRAYS)
    if batch.dtype != np.float32:
        raise UsageError(f"{what} holds {batch.dtype}, not float32", hint=_ARRAYS)
    if batch.ndim != 4 or not batch.size:
        raise UsageError(f"{what} has the shape {batch.shape}", hint=_ARRAYS)
    if shape and (batch.shape[1:] != shape[1:] or len(batch) > shape[0]):
        raise UsageError(
            f"{what} has the shape {batch.shape}, the first batch {shape}",
            hint="Give batches of one shape; only the last may have fewer images.",
        )
    return np.ascontiguousarray(batch)


def _all_checked(batches: Iterable[object]) -> Iterator[BatchNCHW_f32]:
    """Batches as they must be, each for itself and in their sequence."""
    shape: tuple[int, ...] | None = None
    smaller: int | None = None
    for number, given in enumerate(batches):
        batch = _checked(given, number, shape)
        shape = shape or batch.shape
        if smaller is not None:
            raise UsageError(
                f"batch {smaller} has fewer images than the first one, and is not the last",
                hint="Only the last batch may have fewer images.",
            )
        if len(batch) < shape[0]:
            smaller = number
        yield batch
        del given, batch  # not kept while the next one is made


class _Unfiled:
    """Batches that are in no file, of images that nothing is known of."""

    shape: tuple[int, int, int, int]

    @property
    def paths(self) -> tuple[str, ...]:
        return ()

    def encoded_sha256(self) -> Mapping[int, bytes]:
        return {}


class _GivenBatches(_Unfiled):
    """Batches that a function, called for every pass, returns an iterator of."""

    def __init__(self, make: Callable[[], Iterable[object]]) -> None:
        self._make = make
        self._count = self.image_count = 0
        for batch in self._pass():
            if not self._count:
                self.shape = _shape_of(batch)
            self._count += 1
            self.image_count += len(batch)
            del batch
        if not self._count:
            raise UsageError("there are no batches", hint=_KINDS)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        images = 0
        for batch in self._pass():
            images += len(batch)
            yield batch
            del batch
        if images != self.image_count:
            raise UsageError(
                f"the batches had {self.image_count} images at first, and have {images} when they are taken again",
                hint="Give a list, or a function that returns a new iterator each time.",
            )

    def _pass(self) -> Iterator[BatchNCHW_f32]:
        made = self._make()
        if not isinstance(made, Iterable):
            raise UsageError(f"the function returned a {type(made).__name__}, not an iterator of arrays", hint=_AGAIN)
        return _all_checked(made)


class _OnePass(_Unfiled):
    """Batches that can be gone through once. The first is kept, and may be looked at until the second is taken.

    Their number is that of the batches that were taken so far.
    """

    def __init__(self, batches: Iterator[object]) -> None:
        self._rest = _all_checked(batches)
        first = next(self._rest, None)
        if first is None:
            raise UsageError("there are no batches", hint=_KINDS)
        self._first = first
        self.shape = _shape_of(first)
        self._count, self.image_count = 0, 0
        self._begun = False

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        yield self._first
        if self._begun:
            raise UsageError("the batches can be gone through only once, and are needed again", hint=_AGAIN)
        self._begun = True
        self._count, self.image_count = 1, len(self._first)
        for batch in self._rest:
            self._count += 1
            self.image_count += len(batch)
            yield batch
            del batch


def _shape_of(batch: BatchNCHW_f32) -> tuple[int, int, int, int]:
    images, channels, height, width = batch.shape
    return images, channels, height, width
