"""Memory of ``int8cal quantize`` at 544×960: that of one part of a batch, whatever the number of images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from int8cal.demo.evaluate import DETECTOR, as_detector_input, scenes
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.writer import TensorFileWriter
from int8cal.types import Size

pytestmark = [pytest.mark.extended, pytest.mark.timeout(1500)]

SIZE = Size(544, 960)
BATCH = 8
NUMBERS = (32, 128, 512)


def write(path: Path, chunks: list[bytes], images: int) -> Path:
    with TensorFileWriter(str(path), (BATCH, 3, *SIZE), Compression.named("fast")) as writer:
        for index in range(images):
            writer.append(chunks[index % len(chunks)])
        writer.finish(None, [])
    return path


def peak_megabytes(tensorfile: Path, out: Path) -> float:
    """Peak resident memory of one run."""
    command = [sys.executable, "-m", "int8cal", "quantize", DETECTOR, tensorfile, "-o", out, "--no_agreement"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024


def test_memory_is_flat_and_below_a_gigabyte(tmp_path: Path) -> None:
    compression = Compression.named("fast")
    chunks = [compression.encode(as_detector_input(scene.image)) for scene in scenes(5, BATCH, SIZE)]

    peaks = [
        peak_megabytes(write(tmp_path / "images.tensorfile", chunks, images), tmp_path / f"{images}.onnx")
        for images in NUMBERS
    ]

    print(dict(zip(NUMBERS, peaks, strict=True)))
    assert max(peaks) <= 1.1 * min(peaks), peaks
    assert max(peaks) <= 1000, peaks
