"""The float part of an INT8 model in float16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.unit.models.conftest import Images

from int8cal.models.quantize import quantize

MakeModel = Callable[..., Path]


@pytest.mark.parametrize("opset", [11, 17])
def test_the_float_part_is_float16_between_float32_inputs_and_outputs(
    make_model: MakeModel, tmp_path: Path, opset: int
) -> None:
    report = quantize(make_model(opset=opset), Images(), tmp_path / "o", method="mse", precision="fp16")

    model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "o"))
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    ends = (*model.graph.input, *model.graph.output)
    assert {value.type.tensor_type.elem_type for value in ends} == {TensorProto.FLOAT}
    assert report.opset[1] >= 19
    constants = {item.name: item.data_type for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm", "Relu", "Add", "Softmax"):
            assert {kinds.get(name) or constants.get(name) for name in node.input} == {TensorProto.FLOAT16}
        if node.op_type == "QuantizeLinear":
            assert constants[node.input[1]] == TensorProto.FLOAT16
    assert report.kept_float32 == ()
    assert report.in_sample is not None
    assert all(output.sqnr_db > 25 for output in report.in_sample.outputs)


def test_what_float16_does_not_hold_stays_float32(make_model: MakeModel, tmp_path: Path) -> None:
    def loud(model: onnx.ModelProto) -> None:
        for name, value in (("million", 1e6), ("loud", 2e4), ("quiet", 5e-5)):
            model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
        model.graph.node.extend(
            [
                helper.make_node("Mul", ["up", "million"], ["beyond"], "beyond"),
                helper.make_node("Mul", ["up", "loud"], ["near"], "near"),
                helper.make_node("Mul", ["near", "quiet"], ["back"], "back"),
            ]
        )
        for name in ("beyond", "back"):
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))

    report = quantize(make_model(change=loud), Images(), tmp_path / "o", method="mse", precision="fp16")

    assert set(report.kept_float32) == {"beyond", "near"}
    assert report.in_sample is not None
    assert all(output.finite and output.sqnr_db > 25 for output in report.in_sample.outputs)
