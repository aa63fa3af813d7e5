"""Batches in the forms that quantisers ask for. Nothing is copied or read ahead; no quantiser is imported.

    from int8cal import TensorFile, readers

    with TensorFile("calibration.tensor") as file:
        reader = readers.ort(file, "input_1")

Each function takes an open tensorfile, what `int8cal.Plan.batches` gives, a list of float32 arrays (B, C, H, W), or a
function that returns an iterator of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from int8cal.errors import UnavailableError, UsageError
from int8cal.io.arguments import checked_arguments
from int8cal.io.optional import install_line
from int8cal.tensorfile.batches import as_batches
from int8cal.types import Batches, BatchNCHW_f32

__all__ = ["nncf", "ort", "polygraphy", "rebatch", "torch"]

Source: TypeAlias = Batches | Iterable[BatchNCHW_f32] | Callable[[], Iterable[BatchNCHW_f32]]


@checked_arguments()
def ort(batches: Source, name: str) -> OrtReader:
    """For ONNX Runtime: a ``CalibrationDataReader`` that feeds the input ``name``.

    ``quantize_static("model.onnx", "int8.onnx", readers.ort(file, "input_1"))``. NVIDIA ModelOpt (0.44 and later) takes
    the same: ``quantize("model.onnx", calibration_data_reader=readers.ort(file, "input_1"))``.
    """
    return OrtReader(as_batches(batches), name)


@checked_arguments()
def polygraphy(batches: Source, name: str) -> NamedBatches:
    """For Polygraphy: a data loader of ``{name: batch}``, which can be gone through more than once.

    ``Calibrator(data_loader=readers.polygraphy(file, "input_1"))``
    """
    return NamedBatches(as_batches(batches), name)


@checked_arguments()
def nncf(batches: Source, name: str) -> NamedBatches:
    """For NNCF: ``nncf.Dataset(readers.nncf(file, "input_1"))``; pass ``subset_size=len(file)`` to use all batches."""
    return NamedBatches(as_batches(batches), name)


def torch(batches: Source) -> TorchBatches:
    """For PyTorch: an iterable of ``torch.Tensor``, each a batch (B, C, H, W), float32.

    Raises:
        UnavailableError: PyTorch is not installed.
    """
    try:
        return TorchBatches(as_batches(batches), importlib.import_module("torch"))
    except ImportError as error:
        raise UnavailableError("PyTorch is not installed", hint=f"Install it: {install_line('torch')}") from error


@checked_arguments(size=1)
def rebatch(batches: Source, size: int, *, drop_remainder: bool = False) -> Rebatched:
    """The same images in the same order, in batches of another size.

    Args:
        batches: the images.
        size: images per batch.
        drop_remainder: leave out the last images when their number does not fill a batch.

    Raises:
        UsageError: ``size`` is not positive, no batch can be filled, or the images do not fill the last batch and
            ``drop_remainder`` is not set.
    """
    return Rebatched(as_batches(batches), size, drop_remainder=drop_remainder)


class NamedBatches:
    """Re-iterable of ``{input name: batch}``."""

    def __init__(self, batches: Batches, name: str) -> None:
        self._batches = batches
        self._name = name

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, BatchNCHW_f32]]:
        for batch in self._batches:
            yield {self._name: batch}


class OrtReader(NamedBatches):
    """What ONNX Runtime calls a calibration data reader: ``get_next`` until it gives None."""

    def __init__(self, batches: Batches, name: str) -> None:
        super().__init__(batches, name)
        self._position = super().__iter__()

    def get_next(self) -> dict[str, BatchNCHW_f32] | None:
        """The next batch; None after the last."""
        return next(self._position, None)

    def get_first(self) -> dict[str, BatchNCHW_f32]:
        """The first batch, whichever comes next; ModelOpt asks for it."""
        return next(iter(self))

    def rewind(self) -> None:
        """Begin again with the first batch."""
        self._position = iter(self)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give only the batches ``start_index`` … ``end_index`` - 1 from now on."""
        self._position = islice(iter(self), start_index, end_index)


class TorchBatches:
    """Re-iterable of ``torch.Tensor``."""

    def __init__(self, batches: Batches, torch: Any) -> None:
        self._batches = batches
        self._torch = torch

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            yield self._torch.from_numpy(batch)


class Rebatched:
    """Batches (`int8cal.types.Batches`) of another size; see `rebatch`.

    Attributes:
        dropped: how many images at the end are left out.
    """

    def __init__(self, batches: Batches, size: int, *, drop_remainder: bool = False) -> None:
        self._batches = batches
        self._size = size
        images = batches.image_count
        self._count, self.dropped = divmod(images, size)
        if self._count == 0:
            raise UsageError(
                f"{images} images do not fill one batch of {size}", hint="Choose smaller batches, or more images."
            )
        if self.dropped and not drop_remainder:
            raise UsageError(
                f"{images} images are not a whole number of batches of {size}: {self.dropped} are left over",
                hint=f"Choose a divisor of {images}, or leave them out on purpose (--drop_remainder).",
            )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""
        return (self._size, *self._batches.shape[1:])

    @property
    def image_count(self) -> int:
        """Number of images in all batches."""
        return self._count * self._size

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that the batches are in, if they are in files."""
        return self._batches.paths

    def encoded_sha256(self) -> Mapping[int, bytes]:
        """Number of an image → SHA-256 of the image file that it was made from."""
        return {
            number: digest for number, digest in self._batches.encoded_sha256().items() if number < self.image_count
        }

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        batch = np.empty(self.shape, np.float32)
        filled = 0
        for images in self._batches:
            for image in images:
                batch[filled] = image
                filled += 1
                if filled == self._size:
                    yield batch
                    batch, filled = np.empty(self.shape, np.float32), 0
