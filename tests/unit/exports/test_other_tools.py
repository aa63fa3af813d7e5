"""Polygraphy and NNCF themselves read our readers. They are downloaded for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from int8cal.exports.formats import export
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.writer import TensorFileWriter

pytestmark = [pytest.mark.extended, pytest.mark.timeout(900)]

NNCF = """
import sys
import nncf, onnx
from int8cal import TensorFile, readers

with TensorFile("cal.tensor") as file:
    data = nncf.Dataset(readers.nncf(file, "image"))
    quantized = nncf.quantize(onnx.load(sys.argv[1]), data, subset_size=len(file))
onnx.save(quantized, "nncf.onnx")
print(sum(node.op_type == "QuantizeLinear" for node in quantized.graph.node))
"""


@pytest.fixture
def run_with(tmp_path: Path) -> Callable[..., str]:
    """Run Python with a package that is not among ours, in ``tmp_path``; gives what it prints."""

    def run(package: str, *arguments: str) -> str:
        target = tmp_path / "packages"
        install = [sys.executable, "-m", "pip", "install", "-q", "--target", str(target), package]
        subprocess.run(install, check=True, capture_output=True, timeout=600)
        search = os.pathsep.join([*filter(None, sys.path), str(target)])
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": search},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def tensor(tmp_path: Path, images: Any) -> Path:
    compression, batches = Compression.named("fast"), images(batches=3)
    with TensorFileWriter(str(tmp_path / "cal.tensor"), batches.shape, compression) as writer:
        for batch in batches:
            for image in batch:
                writer.append(compression.encode(image))
        writer.finish({}, [])
    return tmp_path / "cal.tensor"


def test_polygraphy_runs_a_model_on_the_exported_script(
    run_with: Callable[..., str], make_model: Callable[..., Path], tensor: Path, tmp_path: Path
) -> None:
    with TensorFile(tensor) as file:
        export(file, tmp_path / "loader.py", "polygraphy", name="image")

    main = "from polygraphy.tools import main; main()"
    command = ["-c", main, "run", str(make_model()), "--onnxrt", "--data-loader-script", "loader.py"]
    printed = run_with("polygraphy", *command)

    assert "PASSED" in printed
    assert printed.count("Iteration: ") == 3, printed


def test_nncf_quantises_with_our_batches(
    run_with: Callable[..., str], make_model: Callable[..., Path], tensor: Path, tmp_path: Path
) -> None:
    (tmp_path / "use_nncf.py").write_text(NNCF)

    printed = run_with("nncf", "use_nncf.py", str(make_model()))

    assert int(printed.splitlines()[-1]) > 0
