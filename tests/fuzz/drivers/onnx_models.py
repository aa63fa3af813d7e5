"""ONNX files through the reader that `quantize`, `compare` and `guess` share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tests.fuzz.driver import Driver

from int8cal.models.onnx_file import load_model


def corpus() -> dict[str, bytes]:
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    found = {}
    for name, kind in (("conv", "Conv"), ("relu", "Relu"), ("reshape", "Reshape")):
        inputs, constants = ["x"], []
        if kind == "Conv":
            inputs, constants = ["x", "w"], [numpy_helper.from_array(weights, "w")]
        if kind == "Reshape":
            inputs, constants = ["x", "s"], [numpy_helper.from_array(np.array([1, -1]), "s")]
        graph = helper.make_graph(
            [helper.make_node(kind, inputs, ["y"], name="n")],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        found[name] = model.SerializeToString()
    return found


def read(data: bytes) -> object:
    path = Path("model.onnx")
    path.write_bytes(data)
    return load_model(path)


DRIVERS = [Driver("onnx", corpus, read, memory_mib=256, share=0.5)]
