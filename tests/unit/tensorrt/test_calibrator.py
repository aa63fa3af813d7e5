"""The TensorRT calibrator against a TensorRT and a CUDA runtime made of Python.

The stand-in behaves as TensorRT's binding does where it matters: an exception in a calibrator's method is swallowed and
taken for the end of the data.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from int8cal.errors import OutputError, TensorFileError, UnavailableError, UseError
from int8cal.tensorrt import calibrator as tensorrt

WRITTEN = b"TRT-100300-EntropyCalibration2\ninput_1: 3c010204\n"


class IInt8EntropyCalibrator2:
    """What the binding offers to derive from."""


class Cuda:
    """GPU memory in main memory."""

    def __init__(self) -> None:
        self.buffers: dict[int, Any] = {}

    def cudaMalloc(self, pointer: Any, size: ctypes.c_size_t) -> int:
        buffer = ctypes.create_string_buffer(size.value)
        address = ctypes.addressof(buffer)
        self.buffers[address] = buffer
        pointer._obj.value = address
        return 0

    def cudaMemcpy(self, target: Any, source: Any, size: ctypes.c_size_t, kind: int) -> int:
        assert kind == 1
        ctypes.memmove(target, source, size.value)
        return 0

    def cudaFree(self, pointer: ctypes.c_void_p) -> int:
        del self.buffers[pointer.value]
        return 0


def fake_tensorrt(version: str, **content: Any) -> ModuleType:
    module = ModuleType("tensorrt")
    vars(module).update(content, __version__=version)
    return module


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    runtime = Cuda()
    monkeypatch.setattr(tensorrt, "_cuda_runtime", lambda: runtime)
    monkeypatch.setitem(
        sys.modules, "tensorrt", fake_tensorrt("10.3.0.26", IInt8EntropyCalibrator2=IInt8EntropyCalibrator2)
    )
    return runtime


def build_engine(
    calibrator: Any, cuda: Cuda, *, takes_cache: bool = True, most: float = math.inf, writes: bytes = WRITTEN
) -> list[np.ndarray]:
    """What TensorRT does with a calibrator; gives the batches that it saw.

    Args:
        takes_cache: False as for a cache that TensorRT silently ignores.
        most: batches after which it stops.
        writes: the cache that it makes.
    """
    seen: list[np.ndarray] = []
    if calibrator.read_calibration_cache() is not None and takes_cache:
        return seen
    while len(seen) < most:
        try:
            pointers = calibrator.get_batch(["input_1"])
        except Exception:  # noqa: BLE001 - as the binding does
            pointers = None
        if pointers is None:
            break
        seen.append(np.frombuffer(cuda.buffers[pointers[0]].raw, np.float32))
    with contextlib.suppress(Exception):
        calibrator.write_calibration_cache(memoryview(writes))
    return seen


def test_every_batch_arrives_and_the_cache_is_used_the_next_time(cuda: Cuda, images: Any, tmp_path: Path) -> None:
    batches, cache = images(batches=3), tmp_path / "cal.bin"

    with tensorrt.EntropyCalibrator2(batches, cache) as calibrator:
        assert isinstance(calibrator, IInt8EntropyCalibrator2)
        assert calibrator.get_batch_size() == 4
        seen = build_engine(calibrator, cuda)

    np.testing.assert_array_equal(np.stack(seen), np.stack([batch.ravel() for batch in batches]))
    assert cuda.buffers == {}
    assert cache.read_bytes().startswith(b"TRT-100300")

    with tensorrt.EntropyCalibrator2(batches, cache) as calibrator:
        assert build_engine(calibrator, cuda) == []


@pytest.mark.parametrize("error", [TensorFileError("batch 1 cannot be read"), OSError("batch 1: disk failed")])
def test_an_error_never_becomes_a_short_calibration(cuda: Cuda, images: Any, tmp_path: Path, error: Exception) -> None:
    class Broken(type(images())):  # type: ignore[misc]
        def __iter__(self) -> Any:
            yield next(super().__iter__())
            raise error

    with pytest.raises(type(error), match="batch 1"), tensorrt.EntropyCalibrator2(Broken(), tmp_path / "c") as trt:
        assert len(build_engine(trt, cuda)) == 1
    assert not (tmp_path / "c").exists()
    assert cuda.buffers == {}


def test_a_network_of_two_inputs_is_an_error(cuda: Cuda, images: Any) -> None:
    calibrator = tensorrt.EntropyCalibrator2(images())
    with pytest.raises(UseError, match="has 2 inputs"):
        calibrator.get_batch(["x", "size"])
    assert calibrator.get_batch(["x", "size"]) is None
    with pytest.raises(UseError, match="has 2 inputs"), calibrator:
        pass


def test_a_calibration_that_stops_early_is_an_error(cuda: Cuda, images: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(UseError, match="1 of 4 batches"),
        tensorrt.EntropyCalibrator2(images(), tmp_path / "c") as calibrator,
    ):
        calibrator.get_batch(["x"])


def test_an_error_of_the_block_is_not_hidden(cuda: Cuda, images: Any) -> None:
    calibrator = tensorrt.EntropyCalibrator2(images())
    calibrator.get_batch(["x"])
    with pytest.raises(RuntimeError, match="the parser failed") as caught, calibrator:
        raise RuntimeError("the parser failed")
    assert not hasattr(caught.value, "__notes__")
    assert cuda.buffers == {}


def test_what_made_the_block_fail_is_told_with_its_error(cuda: Cuda, images: Any) -> None:
    calibrator = tensorrt.EntropyCalibrator2(images())
    with suppress(UseError):
        calibrator.get_batch(["x", "size"])
    with pytest.raises(RuntimeError, match="no engine") as caught, calibrator:
        raise RuntimeError("no engine")
    assert "in the calibrator: the network has 2 inputs" in caught.value.__notes__[0]


def test_cuda_failure_is_an_error(cuda: Cuda, images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "cudaMemcpy", lambda *arguments: 700)
    with pytest.raises(UseError, match="error 700"), tensorrt.EntropyCalibrator2(images()) as calibrator:
        assert build_engine(calibrator, cuda) == []


def test_a_cache_of_another_version_is_refused(cuda: Cuda, images: Any, tmp_path: Path) -> None:
    (tmp_path / "cal.bin").write_text("TRT-8501-EntropyCalibration2\nx: 3f800000\n")
    with pytest.raises(UseError, match=r"of TensorRT 8\.5\.1, this is 10\.3\.0"):
        tensorrt.EntropyCalibrator2(images(), tmp_path / "cal.bin")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("TRT-100300-MinMaxCalibration\nx: 3f800000\n", "of MinMaxCalibration, this calibrator is of Entropy"),
        (
            '{"version": 100300, "algorithm": "EntropyCalibration2", "amax": {"x": 1.0}}',
            "is not a TensorRT calibration cache.*\n.*int8cal cache convert",
        ),
        ("", "is not a TensorRT calibration cache"),
    ],
)
def test_a_cache_that_tensorrt_would_ignore_is_refused(
    cuda: Cuda, images: Any, tmp_path: Path, content: str, match: str
) -> None:
    (tmp_path / "cal.bin").write_text(content)

    with pytest.raises(UseError, match=match):
        tensorrt.EntropyCalibrator2(images(), tmp_path / "cal.bin")

    assert (tmp_path / "cal.bin").read_text() == content


def test_a_cache_that_tensorrt_did_not_take_does_not_excuse_a_short_calibration(
    cuda: Cuda, images: Any, tmp_path: Path
) -> None:
    old = WRITTEN.replace(b"input_1", b"image")
    (tmp_path / "cal.bin").write_bytes(old)

    with (
        pytest.raises(UseError, match="1 of 4 batches"),
        tensorrt.EntropyCalibrator2(images(), tmp_path / "cal.bin") as calibrator,
    ):
        build_engine(calibrator, cuda, takes_cache=False, most=1)
    assert (tmp_path / "cal.bin").read_bytes() == old

    with tensorrt.EntropyCalibrator2(images(), tmp_path / "cal.bin") as calibrator:
        assert len(build_engine(calibrator, cuda, takes_cache=False)) == 4
    assert (tmp_path / "cal.bin").read_bytes() == WRITTEN


def test_the_cache_that_was_checked_is_the_one_that_tensorrt_gets(cuda: Cuda, images: Any, tmp_path: Path) -> None:
    (tmp_path / "cal.bin").write_bytes(WRITTEN)
    with tensorrt.EntropyCalibrator2(images(), tmp_path / "cal.bin") as calibrator:
        (tmp_path / "cal.bin").write_text("TRT-8501-EntropyCalibration2\n")
        assert calibrator.read_calibration_cache() == WRITTEN


def test_writing_back_a_cache_that_was_used_is_no_short_calibration(cuda: Cuda, images: Any, tmp_path: Path) -> None:
    (tmp_path / "cal.bin").write_bytes(WRITTEN)
    with tensorrt.EntropyCalibrator2(images(), tmp_path / "cal.bin") as calibrator:
        calibrator.write_calibration_cache(calibrator.read_calibration_cache())
    assert (tmp_path / "cal.bin").read_bytes() == WRITTEN


def test_a_cache_that_cannot_be_written_is_an_error(cuda: Cuda, images: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="file"),
        tensorrt.EntropyCalibrator2(images(), tmp_path / "file" / "cal.bin") as calibrator,
    ):
        assert len(build_engine(calibrator, cuda)) == 4


def test_a_batch_of_another_shape_is_an_error(cuda: Cuda, images: Any) -> None:
    class Ragged(type(images())):  # type: ignore[misc]
        def __iter__(self) -> Any:
            for batch in super().__iter__():
                yield batch[:-1]

    with pytest.raises(UseError, match=r"batch 0 is of 3×.* are of 4×"), tensorrt.EntropyCalibrator2(Ragged()) as trt:
        assert build_engine(trt, cuda) == []


def test_tensorrt_11_points_to_quantize_and_absence_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("11.4.0"))
    with pytest.raises(UseError, match=r"TensorRT 11\.4\.0 has no INT8 calibrators any more\n.*int8cal quantize"):
        tensorrt.EntropyCalibrator2  # noqa: B018
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(UnavailableError, match="int8cal quantize --trt_cache"):
        tensorrt.EntropyCalibrator2  # noqa: B018
