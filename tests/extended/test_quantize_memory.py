"""Memory of ``int8cal quantize`` at 544×960: that of the runs side by side, whatever the number of images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.memory import PEAK_MIB

from int8cal.demo.evaluate import DETECTOR, as_detector_input, scenes
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.writer import TensorFileWriter
from int8cal.types import Size

pytestmark = [pytest.mark.extended, pytest.mark.timeout(1500)]

SIZE = Size(544, 960)
BATCH = 8
NUMBERS = (32, 128, 512)
PROCESSORS = 2  # of which each may have a run
MOST_MIB = {"entropy": 240, "auto": 330}  # libraries, two runs, and the models that "auto" keeps open side by side


def write(path: Path, chunks: list[bytes], images: int) -> Path:
    with TensorFileWriter(str(path), (BATCH, 3, *SIZE), Compression.named("fast")) as writer:
        for index in range(images):
            writer.append(chunks[index % len(chunks)])
        writer.finish(None, [])
    return path


def peak_mib(tensorfile: Path, out: Path, method: str) -> float:
    """Peak resident memory of one run."""
    script = PEAK_MIB + (
        "import os, sys\n"
        f"os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{PROCESSORS}])\n"
        "from int8cal.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    print(peak_mib(), file=sys.stderr)\n"
    )
    command = ["quantize", DETECTOR, tensorfile, "-o", out, "--no_agreement", "--method", method]
    run = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return float(run.stderr.split()[-1])


@pytest.mark.parametrize("method", MOST_MIB)
def test_memory_is_flat_and_that_of_the_runs_side_by_side(tmp_path: Path, method: str) -> None:
    compression = Compression.named("fast")
    chunks = [compression.encode(as_detector_input(scene.image)) for scene in scenes(5, BATCH, SIZE)]

    peaks = [
        peak_mib(write(tmp_path / "images.tensorfile", chunks, images), tmp_path / f"{images}.onnx", method)
        for images in NUMBERS
    ]

    print(dict(zip(NUMBERS, peaks, strict=True)))
    assert max(peaks) <= 1.1 * min(peaks), peaks
    assert max(peaks) <= MOST_MIB[method], peaks
