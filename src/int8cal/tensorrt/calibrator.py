"""A TensorRT INT8 calibrator that feeds a tensorfile (TensorRT 8 to 10).

``EntropyCalibrator2`` is a subclass of TensorRT's own, so it is made when it is first asked for::

    from int8cal import TensorFile
    from int8cal.tensorrt.calibrator import EntropyCalibrator2

    with TensorFile("calibration.tensor") as file, EntropyCalibrator2(file, "cal.bin") as calibrator:
        config.int8_calibrator = calibrator
        engine = builder.build_serialized_network(network, config)

TensorRT takes an exception in a calibrator for the end of the data and calibrates with what it has got. Therefore every
error is kept, no cache is written after one, and leaving the ``with`` block raises it. So does a calibration that ended
before the last batch. An error of the block itself goes on, with the kept one as a note. Nor does TensorRT say whether
it took a cache: one that it would not take is refused beforehand, and as soon as it asks for a batch, it has to take
all.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np

from int8cal.errors import UnavailableError, UseError
from int8cal.io.file_kinds import CALIBRATION_CACHE
from int8cal.io.files import write_file
from int8cal.tensorfile.batches import as_batches
from int8cal.tensorrt.cache import ENTROPY_2, loads, read_text, version_number
from int8cal.types import Batches, BatchNCHW_f32

_CUDA_RUNTIMES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2")
_HOST_TO_DEVICE = 1


def __getattr__(name: str) -> Any:
    if name != "EntropyCalibrator2":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _calibrator_class(_tensorrt())


def _tensorrt() -> ModuleType:
    try:
        tensorrt = importlib.import_module("tensorrt")
    except ImportError as error:
        raise UnavailableError(
            f"TensorRT cannot be imported ({error})",
            hint="Install TensorRT 8 to 10 for your GPU; without it: int8cal quantize --trt_cache",
        ) from error
    if not hasattr(tensorrt, "IInt8EntropyCalibrator2"):
        raise UseError(
            f"TensorRT {tensorrt.__version__} has no INT8 calibrators any more",
            hint="Make a Q/DQ model instead: int8cal quantize MODEL.onnx FILE -o OUT.onnx",
        )
    return tensorrt


class _DeviceMemory:
    """One buffer on the GPU, by the CUDA runtime that TensorRT itself needs."""

    def __init__(self, size: int) -> None:
        self._runtime = _cuda_runtime()
        pointer = ctypes.c_void_p()
        self._check(self._runtime.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(size)), "reserve memory")
        self.address = int(pointer.value or 0)

    def fill(self, values: BatchNCHW_f32) -> None:
        """Copy an array to the GPU."""
        source = values.ctypes.data_as(ctypes.c_void_p)
        target, size = ctypes.c_void_p(self.address), ctypes.c_size_t(values.nbytes)
        self._check(self._runtime.cudaMemcpy(target, source, size, _HOST_TO_DEVICE), "copy a batch")

    def free(self) -> None:
        """Give the memory back."""
        self._runtime.cudaFree(ctypes.c_void_p(self.address))

    def _check(self, code: int, what: str) -> None:
        if code:
            raise UseError(f"CUDA cannot {what}: error {code}")


def _cuda_runtime() -> Any:
    for name in _CUDA_RUNTIMES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise UnavailableError("the CUDA runtime (libcudart) is not there", hint="Install the CUDA that TensorRT needs.")


class Feed:
    """Batches on their way to TensorRT: what the calibrator does, free of TensorRT.

    Args:
        batches: NCHW float32 batches, e.g. an open `int8cal.tensorfile.TensorFile`.
        cache: calibration cache to use if it exists, and to write where TensorRT calibrates; None: neither.
        version: the running TensorRT release.

    Attributes:
        error: what went wrong; TensorRT itself would not say.

    Raises:
        UseError: TensorRT would ignore the cache without a word: it is of another version or algorithm, or no text.
    """

    def __init__(self, batches: Batches, cache: str | os.PathLike[str] | None, version: str) -> None:
        self.error: Exception | None = None
        self._batches = as_batches(batches)
        self._position: Iterator[BatchNCHW_f32] | None = None
        self._consumed = 0
        self._asked = self._served = False
        self._memory: _DeviceMemory | None = None
        self._cache = None if cache is None else os.fspath(cache)
        self._content: bytes | None = None
        if self._cache is not None and os.path.exists(self._cache):
            self._content = _usable_content(self._cache, version)

    @property
    def batch_size(self) -> int:
        """Images per batch."""
        return self._batches.shape[0]

    @property
    def from_cache(self) -> bool:
        """True when TensorRT got the cache and asked for no batch: only then did it use the cache."""
        return self._served and not self._asked

    def next_pointer(self, inputs: Sequence[str]) -> int | None:
        """Copy the next batch to the GPU and give its address; None after the last, or after an error.

        Args:
            inputs: names of the network's inputs, which must be one.
        """
        self._asked = True
        if self.error is not None:
            return None
        with self._errors_kept():
            _require_one_input(inputs)
            return self._copy_next()

    def read(self) -> bytes | None:
        """Content of the cache; None when there is none."""
        self._served = self._content is not None
        return self._content

    def write(self, content: bytes) -> None:
        """Keep the cache that TensorRT made, unless something went wrong on the way, or it is the one that it got."""
        if self._cache is None or self.error is not None or self.from_cache:
            return
        with self._errors_kept():
            self._check_complete()
            write_file(
                self._cache,
                content,
                overwrite=self._content is not None,
                inputs=self._batches.paths,
                replaces=CALIBRATION_CACHE,
            )
            self._content = content

    def finish(self) -> None:
        """Free the GPU's memory, and raise what went wrong.

        Raises:
            Exception: what went wrong in reading, copying or writing.
            UseError: TensorRT did not take all batches.
        """
        self.free()
        if self.error is not None:
            raise self.error
        if not self.from_cache:
            self._check_complete()

    def free(self) -> None:
        """Free the GPU's memory."""
        if self._memory is not None:
            self._memory.free()
            self._memory = None

    @contextmanager
    def _errors_kept(self) -> Iterator[None]:
        """TensorRT swallows what its calibrator raises; `finish` raises it again."""
        try:
            yield
        except Exception as error:
            self.error = error
            raise

    def _copy_next(self) -> int | None:
        if self._position is None:
            self._position = iter(self._batches)
        batch = next(self._position, None)
        if batch is None:
            return None
        batch = np.ascontiguousarray(batch, np.float32)
        self._check_shape(batch)
        if self._memory is None:
            self._memory = _DeviceMemory(batch.nbytes)
        self._memory.fill(batch)
        self._consumed += 1
        return self._memory.address

    def _check_shape(self, batch: BatchNCHW_f32) -> None:
        """TensorRT is told one size: a smaller batch would leave images of the one before, a larger has no room."""
        if batch.shape != tuple(self._batches.shape):
            found, wanted = ("×".join(map(str, shape)) for shape in (batch.shape, self._batches.shape))
            raise UseError(
                f"batch {self._consumed} is of {found}, the calibration's batches are of {wanted}",
                hint="Give batches of one shape, as int8cal.TensorFile does.",
            )

    def _check_complete(self) -> None:
        if self._consumed != len(self._batches):
            raise UseError(f"TensorRT calibrated with {self._consumed} of {len(self._batches)} batches")


def _require_one_input(inputs: Sequence[str]) -> None:
    if len(inputs) != 1:
        listed = ", ".join(map(repr, inputs)) or "none"
        raise UseError(
            f"the network has {len(inputs)} inputs ({listed}), a tensorfile feeds one",
            hint="Make the other inputs constants of the model.",
        )


def _usable_content(cache: str, version: str) -> bytes:
    """Content of a cache that TensorRT will take.

    Raises:
        UseError: it would not, and would not say so.
    """
    text = read_text(cache)
    found = loads(text, cache)  # not JSON, which TensorRT cannot read
    hint = "Delete it to calibrate again; TensorRT would ignore it without a word."
    if found.first_line is not None:
        raise UseError(f"the calibration cache begins with {found.header!r}", where=cache, hint=hint)
    if found.version != version_number(version):
        raise UseError(
            f"the calibration cache is of TensorRT {found.release}, this is {version}",
            where=cache,
            hint=hint,
        )
    if found.algorithm != ENTROPY_2:
        raise UseError(
            f"the calibration cache is of {found.algorithm}, this calibrator is of {ENTROPY_2}", where=cache, hint=hint
        )
    return text.encode()


@cache
def _calibrator_class(trt: Any) -> type:
    """The subclass of TensorRT's calibrator; its methods are called by TensorRT."""

    class EntropyCalibrator2(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        """Feeds every batch of a tensorfile to TensorRT's entropy calibration; use it in a ``with`` statement.

        Args:
            batches: NCHW float32 batches, e.g. an open `int8cal.tensorfile.TensorFile`; all of one shape.
            cache: calibration cache to use if it exists, and to write where TensorRT calibrates.

        Raises:
            UseError: TensorRT would not take the cache; on leaving the block: it did not take all batches.
        """

        def __init__(self, batches: Batches, cache: str | os.PathLike[str] | None = None) -> None:
            super().__init__()
            self.feed = Feed(batches, cache, ".".join(trt.__version__.split(".")[:3]))

        def get_batch_size(self) -> int:
            return self.feed.batch_size

        def get_batch(self, names: Sequence[str]) -> list[int] | None:
            pointer = self.feed.next_pointer(names)
            return None if pointer is None else [pointer]

        def read_calibration_cache(self) -> bytes | None:
            return self.feed.read()

        def write_calibration_cache(self, content: Any) -> None:
            self.feed.write(bytes(content))

        def __enter__(self) -> Self:
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            if error is None:
                self.feed.finish()
                return
            self.feed.free()
            if self.feed.error not in (None, error):
                error.add_note(f"Before that, in the calibrator: {self.feed.error}")

    return EntropyCalibrator2
