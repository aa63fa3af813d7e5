"""The TensorRT calibrator against a TensorRT and a CUDA runtime made of Python.

The stand-in behaves as TensorRT's binding does where it matters: an exception in a calibrator's method is swallowed and
taken for the end of the data.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from int8cal.errors import TensorFileError, UnavailableError, UseError
from int8cal.use import tensorrt


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


def build_engine(calibrator: Any, cuda: Cuda) -> list[np.ndarray]:
    """What TensorRT does with a calibrator; gives the batches that it saw."""
    seen: list[np.ndarray] = []
    if calibrator.read_calibration_cache() is not None:
        return seen
    while True:
        try:
            pointers = calibrator.get_batch(["input_1"])
        except Exception:  # noqa: BLE001 - as the binding does
            pointers = None
        if pointers is None:
            break
        seen.append(np.frombuffer(cuda.buffers[pointers[0]].raw, np.float32))
    with contextlib.suppress(Exception):
        calibrator.write_calibration_cache(memoryview(b"TRT-100300-EntropyCalibration2\ninput_1: 3c010204\n"))
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


def test_an_error_never_becomes_a_short_calibration(cuda: Cuda, images: Any, tmp_path: Path) -> None:
    class Broken(type(images())):  # type: ignore[misc]
        def __iter__(self) -> Any:
            yield next(super().__iter__())
            raise TensorFileError("batch 1 cannot be read")

    with pytest.raises(TensorFileError, match="batch 1"), tensorrt.EntropyCalibrator2(Broken(), tmp_path / "c") as trt:
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


def test_cuda_failure_is_an_error(cuda: Cuda, images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "cudaMemcpy", lambda *arguments: 700)
    with pytest.raises(UseError, match="error 700"), tensorrt.EntropyCalibrator2(images()) as calibrator:
        assert build_engine(calibrator, cuda) == []


def test_a_cache_of_another_version_is_refused(cuda: Cuda, images: Any, tmp_path: Path) -> None:
    (tmp_path / "cal.bin").write_text("TRT-8501-EntropyCalibration2\nx: 3f800000\n")
    with pytest.raises(UseError, match=r"of TensorRT 8\.5\.1, this is 10\.3\.0"):
        tensorrt.EntropyCalibrator2(images(), tmp_path / "cal.bin")


def test_tensorrt_11_points_to_quantize_and_absence_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("11.4.0"))
    with pytest.raises(UseError, match=r"TensorRT 11\.4\.0 has no INT8 calibrators any more\n.*int8cal quantize"):
        tensorrt.EntropyCalibrator2  # noqa: B018
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(UnavailableError, match="int8cal quantize --trt_cache"):
        tensorrt.EntropyCalibrator2  # noqa: B018
