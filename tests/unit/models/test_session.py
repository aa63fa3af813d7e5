"""Sessions that live for one pass: what they keep of earlier runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from int8cal.models import session
from int8cal.models.binding import bind_input
from int8cal.models.session import Runner

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


@pytest.mark.parametrize(("most", "gives_back"), [(0, True), (1 << 40, False)])
def test_what_runs_free_is_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch, most: int, gives_back: bool) -> None:
    made: list[Any] = []

    def options() -> Any:
        made.append(new())
        return made[-1]

    new = onnxruntime.RunOptions
    monkeypatch.setattr(onnxruntime, "RunOptions", options)
    monkeypatch.setattr(session, "_KEPT_BYTES", most)
    model = of_as_many_mebibytes()
    runner = Runner(model, ["output"], bind_input(model, (1, 1, 1, 1)), optimized=True, for_one_pass=True)

    for size in range(40, 81, 10):
        values = [part["output"].item() for part in runner.run(np.full((1, 1, 1, 1), size, np.float32))]
        assert values == [pytest.approx(size**0.5)]

    keys = {one.get_run_config_entry("memory.enable_memory_arena_shrinkage") for one in made}
    assert keys == ({"cpu:0"} if gives_back else set())
