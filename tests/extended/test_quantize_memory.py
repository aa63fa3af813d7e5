"""Memory of ``int8cal quantize`` at 544×960: that of the runs side by side, whatever the number of images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array
from tests.memory import PEAK_MIB, activations_of_as_many_mebibytes

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


def peak_mib(*arguments: str | Path, processors: int = PROCESSORS) -> float:
    """Peak resident memory of one run of ``int8cal quantize``."""
    script = PEAK_MIB + (
        "import os, sys\n"
        f"os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{processors}])\n"
        "from int8cal.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    print(peak_mib(), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script, "quantize", *arguments, "--no_agreement"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return float(run.stderr.split()[-1])


@pytest.mark.parametrize("method", MOST_MIB)
def test_memory_is_flat_and_that_of_the_runs_side_by_side(tmp_path: Path, method: str) -> None:
    compression = Compression.named("fast")
    chunks = [compression.encode(as_detector_input(scene.image)) for scene in scenes(5, BATCH, SIZE)]

    peaks = [
        peak_mib(DETECTOR, write(tmp_path / "images", chunks, images), "-o", tmp_path / f"{images}", "--method", method)
        for images in NUMBERS
    ]

    print(dict(zip(NUMBERS, peaks, strict=True)))
    assert max(peaks) <= 1.1 * min(peaks), peaks
    assert max(peaks) <= MOST_MIB[method], peaks


def with_activations_by_the_image() -> onnx.ModelProto:
    """A convolution, and beside it two activations of as many MiB as the brightest pixel says."""
    large, constants = activations_of_as_many_mebibytes("brightest", "root")
    nodes = [
        make_node("Conv", ["image", "weights"], ["features"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        make_node("ReduceMax", ["image"], ["brightest"], keepdims=0),
        *large,
        make_node("Add", ["features", "root"], ["output"]),
    ]
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    constants.append(from_array(weights, "weights"))
    image = make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, 8, 8))
    output = make_tensor_value_info("output", TensorProto.FLOAT, ("n", 4, 8, 8))
    graph = make_graph(nodes, "by_the_image", [image], [output], constants)
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


def test_a_model_whose_sizes_depend_on_the_image_has_the_memory_of_its_largest(tmp_path: Path) -> None:
    """One image at a time; ascending sizes would reach the bound on memory if each left its room behind."""
    images = np.random.default_rng(0).random((6, 3, 8, 8), np.float32)
    images[:, 0, 0, 0] = sizes = [57, 72, 225, 229, 325, 313]
    np.save(tmp_path / "images.npy", images)
    onnx.save(with_activations_by_the_image(), tmp_path / "model.onnx")

    arguments = tmp_path / "model.onnx", tmp_path / "images.npy", "-o", tmp_path / "o.onnx", "--method", "entropy"
    peak = peak_mib(*arguments, processors=1)

    assert peak <= 2 * max(sizes) + MOST_MIB["entropy"]
