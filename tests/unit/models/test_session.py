"""Sessions of ONNX Runtime: what they keep of earlier runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

MEBIBYTE = 1 << 20


def of_as_many_mebibytes() -> Any:
    """A model whose activations are of as many MiB as the one pixel of its image says."""
    nodes = [
        make_node("Reshape", ["image", "one"], ["pixel"]),
        make_node("Mul", ["pixel", "mebibyte"], ["values"]),
        make_node("Cast", ["values"], ["extent"], to=TensorProto.INT64),
        make_node("Expand", ["pixel", "extent"], ["large"]),
        make_node("Sqrt", ["large"], ["larger"]),
        make_node("ReduceMax", ["larger"], ["output"], keepdims=0),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([1], np.int64), "one"),
        onnx.numpy_helper.from_array(np.array([MEBIBYTE / 4], np.float32), "mebibyte"),
    ]
    image = make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 1, 1))
    output = make_tensor_value_info("output", TensorProto.FLOAT, ())
    graph = make_graph(nodes, "growing", [image], [output], constants)
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


# What a process holds of a session after each run, in MiB; others that ran there before would leave memory of theirs.
KEPT = """
import sys
import numpy as np
import onnx
from int8cal.guard.onnx_bounds import data_bytes
from int8cal.models import session

session._KEPT_BYTES = int(sys.argv[2])
opened = session.open_as_written(onnx.load(sys.argv[1]), for_one_pass=sys.argv[3] == "for_one_pass")
start = data_bytes()
for size in map(int, sys.argv[4].split(",")):
    outputs = opened.run(None, {"image": np.full((1, 1, 1, 1), size, np.float32)})
    assert abs(outputs[0].item() ** 2 - size) < 0.01, outputs
    print((data_bytes() - start) >> 20)
"""
SIZES = (40, 50, 60, 70, 80)


def kept_mib(folder: Path, most: int, *, for_one_pass: bool) -> list[int]:
    onnx.save(of_as_many_mebibytes(), folder / "model.onnx")
    options = [str(most), "for_one_pass" if for_one_pass else "", ",".join(map(str, SIZES))]
    run = subprocess.run([sys.executable, "-c", KEPT, folder / "model.onnx", *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [int(line) for line in run.stdout.split()]


def test_a_session_for_one_pass_keeps_what_is_freed(tmp_path: Path) -> None:
    assert min(kept_mib(tmp_path, 1 << 40, for_one_pass=True)) >= 2 * SIZES[0]


def test_beyond_the_bound_a_run_gives_back_what_is_free(tmp_path: Path) -> None:
    first, *later = kept_mib(tmp_path, 0, for_one_pass=True)

    assert first >= 2 * SIZES[0]  # what it takes is known when it has run
    assert max(later) <= 16, later


def test_other_sessions_keep_nothing(tmp_path: Path) -> None:
    assert max(kept_mib(tmp_path, 1 << 40, for_one_pass=False)) <= 16
