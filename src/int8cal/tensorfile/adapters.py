"""Batches in the forms that quantisers ask for. Nothing is copied or read ahead; no quantiser is imported.

`BatchSource` is the base of everything that holds calibration batches: it needs a length, a shape and an iterator that
can be started again and again.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from int8cal.errors import UnavailableError, UsageError
from int8cal.types import BatchNCHW_f32


class BatchSource(ABC):
    """Calibration batches, float32 (B, C, H, W), and the readers made of them."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of batches."""

    @abstractmethod
    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        """All batches from the first; may be called any number of times."""

    @property
    def images(self) -> int:
        """Number of images in all batches."""
        return len(self) * self.shape[0]

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that the batches are in, if they are in files."""
        return ()

    def ort(self, name: str) -> OrtReader:
        """For ONNX Runtime: a ``CalibrationDataReader`` that feeds the input ``name``.

        ``quantize_static("model.onnx", "int8.onnx", file.ort("input_1"))``. Also serves readers that want ``rewind``.
        """
        return OrtReader(self, name)

    def polygraphy(self, name: str) -> NamedBatches:
        """For Polygraphy: a data loader of ``{name: batch}``, which can be gone through more than once.

        ``Calibrator(data_loader=file.polygraphy("input_1"))``
        """
        return NamedBatches(self, name)

    def nncf(self, name: str) -> NamedBatches:
        """For NNCF: ``nncf.Dataset(file.nncf("input_1"))``; pass ``subset_size=len(file)`` to use all batches."""
        return NamedBatches(self, name)

    def torch(self) -> TorchBatches:
        """For PyTorch: an iterable of ``torch.Tensor``, each a batch (B, C, H, W), float32.

        Raises:
            UnavailableError: PyTorch is not installed.
        """
        try:
            return TorchBatches(self, importlib.import_module("torch"))
        except ImportError as error:
            raise UnavailableError("PyTorch is not installed", hint="pip install torch") from error

    def rebatch(self, size: int, *, drop_remainder: bool = False) -> Rebatched:
        """The same images in the same order, in batches of another size.

        Args:
            size: images per batch.
            drop_remainder: leave out the last images when their number does not fill a batch.

        Raises:
            UsageError: ``size`` is not positive, no batch can be filled, or the images do not fill the last batch and
                ``drop_remainder`` is not set.
        """
        return Rebatched(self, size, drop_remainder=drop_remainder)


class NamedBatches:
    """Re-iterable of ``{input name: batch}``."""

    def __init__(self, source: BatchSource, name: str) -> None:
        self._source = source
        self._name = name

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[dict[str, BatchNCHW_f32]]:
        for batch in self._source:
            yield {self._name: batch}


class OrtReader(NamedBatches):
    """What ONNX Runtime calls a calibration data reader: ``get_next`` until it gives None."""

    def __init__(self, source: BatchSource, name: str) -> None:
        super().__init__(source, name)
        self._position = super().__iter__()

    def get_next(self) -> dict[str, BatchNCHW_f32] | None:
        """The next batch; None after the last."""
        return next(self._position, None)

    def rewind(self) -> None:
        """Begin again with the first batch."""
        self._position = iter(self)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give only the batches ``start_index`` … ``end_index`` - 1 from now on."""
        self._position = islice(iter(self), start_index, end_index)


class TorchBatches:
    """Re-iterable of ``torch.Tensor``."""

    def __init__(self, source: BatchSource, torch: Any) -> None:
        self._source = source
        self._torch = torch

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._source:
            yield self._torch.from_numpy(batch)


class Rebatched(BatchSource):
    """See `BatchSource.rebatch`.

    Attributes:
        dropped: how many images at the end are left out.
    """

    def __init__(self, source: BatchSource, size: int, *, drop_remainder: bool = False) -> None:
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise UsageError(f"a batch cannot have {size!r} images", hint="Give a whole number above 0.")
        self._source = source
        self._size = int(size)
        self._count, self.dropped = divmod(source.images, size)
        if self._count == 0:
            raise UsageError(
                f"{source.images} images do not fill one batch of {size}",
                hint="Choose smaller batches, or more images.",
            )
        if self.dropped and not drop_remainder:
            raise UsageError(
                f"{source.images} images are no whole number of batches of {size}: {self.dropped} are left over",
                hint=f"Choose a divisor of {source.images}, or leave them out on purpose (--drop_remainder).",
            )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""
        return (self._size, *self._source.shape[1:])

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that the batches are in, if they are in files."""
        return self._source.paths

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        batch = np.empty(self.shape, np.float32)
        filled = 0
        for images in self._source:
            for image in images:
                batch[filled] = image
                filled += 1
                if filled == self._size:
                    yield batch
                    batch, filled = np.empty(self.shape, np.float32), 0
