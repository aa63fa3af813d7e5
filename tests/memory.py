"""Peak memory of a process, measured inside it, and models that take as much as an image says."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto
from onnx.helper import make_node
from onnx.numpy_helper import from_array

PEAK_MIB = """
def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
"""
"""Source of ``peak_mib()`` for a child's script. ``ru_maxrss`` would not do: it begins with the parent's peak."""


def activations_of_as_many_mebibytes(source: str, output: str) -> tuple[list[Any], list[Any]]:
    """Nodes, and their constants: two activations of as many MiB as the one number in a tensor says, and its root.

    Args:
        source: the tensor.
        output: name of the root, a scalar.
    """
    nodes = [
        make_node("Reshape", [source, "one"], ["number"]),
        make_node("Mul", ["number", "mebibyte"], ["values"]),
        make_node("Cast", ["values"], ["extent"], to=TensorProto.INT64),
        make_node("Expand", ["number", "extent"], ["large"]),
        make_node("Sqrt", ["large"], ["roots"]),
        make_node("ReduceMax", ["roots"], [output], keepdims=0),
    ]
    return nodes, [
        from_array(np.array([1], np.int64), "one"),
        from_array(np.array([(1 << 20) / 4], np.float32), "mebibyte"),
    ]
