"""The float part of an INT8 model in float16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from tests.unit.models.conftest import SHAPE, Builder, Images

from int8cal.models.binding import bind_input
from int8cal.models.quantize import quantize
from int8cal.models.runner import Runner

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

    assert set(report.kept_float32) == {"beyond", "near", "back"}  # the last one reads what comes near
    assert report.in_sample is not None
    assert all(output.finite and output.sqnr_db > 25 for output in report.in_sample.outputs)


def chain(factors: tuple[float, ...], change: Callable[[Builder], None] | None = None) -> onnx.ModelProto:
    """Convolutions whose weights, and so their outputs, are as many times larger; ``loud`` is the second one's input.

    The second one's input is read by two others, whose outputs are as small as the images.
    """
    net = Builder()
    net.node("Conv", ["image", net.weight("first.w", 16, 3, 3, 3)], "first", "first")
    net.node("Relu", ["first"], "loud", "relu")
    net.weights["first.w"] *= np.float32(factors[0])
    for name, factor in zip(("second", "third"), factors[1:], strict=True):
        net.node("Conv", ["loud", net.weight(f"{name}.w", 16, 16, 3, 3)], name, name)
        net.weights[f"{name}.w"] *= np.float32(factor)
    if change:
        change(net)
    graph = helper.make_graph(
        net.nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *SHAPE[1:]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("second", "third")],
        [numpy_helper.from_array(value, name) for name, value in net.weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def decibels(reference: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(np.square(reference).sum() / np.square(reference - other).sum()))


@pytest.mark.parametrize(
    ("factors", "fold_weights"),
    [((1e6, 1e-2, 1.0), False), ((1e5, 1.0, 1.0), True), ((1e-4, 1e9, 1.0), True), ((1.0, 1e-6, 1.0), False)],
    ids=["activations", "both readers", "weights", "scales of weights"],
)
def test_what_int8_holds_beyond_float16_is_dequantised_to_float32_next_to_the_layer(
    tmp_path: Path, factors: tuple[float, ...], fold_weights: bool
) -> None:
    model = chain(factors)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    report = quantize(
        tmp_path / "m.onnx",
        Images(batches=1),
        tmp_path / "o",
        method="minmax",
        precision="fp16",
        fold_weights=fold_weights,
    )

    result = onnx.load(tmp_path / "o")
    image = next(iter(Images()))
    with np.errstate(all="ignore"):
        for name, mine, other in zip(
            ("second", "third"),
            ReferenceEvaluator(model).run(None, {"image": image}),
            ReferenceEvaluator(result).run(None, {"image": image}),
            strict=True,
        ):
            assert decibels(mine, other) > 20, name
    maker = {name: node.op_type for node in result.graph.node for name in node.output}
    for node in result.graph.node:
        if node.op_type == "Conv":
            assert [maker[name] for name in node.input] == ["DequantizeLinear"] * 2
    assert "second" in report.kept_float32
    assert report.verdict is not None
    assert report.verdict.level == "good"


def test_layers_of_both_precisions_read_one_activation_each_from_its_own_dequantizelinear(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(chain((1.0, 1e6, 1.0)).SerializeToString())

    report = quantize(tmp_path / "m.onnx", Images(batches=1), tmp_path / "o", method="minmax", precision="fp16")

    result = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "o"))
    assert "second" in report.kept_float32
    assert "third" not in report.kept_float32
    makers = {name: node for node in result.graph.node for name in node.output}
    layers = {node.name: node for node in result.graph.node if node.op_type == "Conv"}
    read = [makers[layers[name].input[0]] for name in ("second", "third")]
    assert [node.op_type for node in read] == ["DequantizeLinear"] * 2
    assert read[0].input[0] == read[1].input[0]
    kinds = {item.name: item.data_type for item in result.graph.initializer}
    assert [kinds[node.input[1]] for node in read] == [TensorProto.FLOAT, TensorProto.FLOAT16]


def test_constants_too_small_for_float16_and_constants_that_state_their_type_stay_float32(tmp_path: Path) -> None:
    def change(net: Builder) -> None:
        net.weights["tiny"] = np.float32(1e-9)
        net.node("Relu", ["second"], "positive")
        net.node("Add", ["positive", "tiny"], "above", "above")
        net.node("Div", ["positive", "above"], "share", "share")
        net.node("Shape", ["share"], "shape")
        fill = numpy_helper.from_array(np.array([2], np.float32))
        net.node("ConstantOfShape", ["shape"], "twos", "twos", value=fill)
        net.node("Mul", ["share", "twos"], "doubled", "doubled")

    model = chain((1.0, 1.0, 1.0), change)
    model.graph.output.append(helper.make_tensor_value_info("doubled", TensorProto.FLOAT, None))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    report = quantize(tmp_path / "m.onnx", Images(batches=1), tmp_path / "o", method="minmax", precision="fp16")

    assert "above" in report.kept_float32
    (share,) = ReferenceEvaluator(onnx.load(tmp_path / "o")).run(["doubled"], {"image": next(iter(Images()))})
    assert np.isfinite(share).all()


@pytest.mark.parametrize(
    ("operator", "factor"), [("Softplus", 20.0), ("ReduceL2", 300.0), ("LpNormalization", 1e3), ("Mul", 1e-8)]
)
def test_operators_that_leave_float16_on_the_way_stay_float32(tmp_path: Path, operator: str, factor: float) -> None:
    def change(net: Builder) -> None:
        net.weights["factor"] = np.float32(factor**0.5)
        net.node("Mul", ["second", "factor"], "some", "some")
        net.node("Mul", ["some", "factor"], "more", "more")
        inputs = ["more", "more"] if operator == "Mul" else ["more"]
        net.node(operator, inputs, "made", "made", **({"axis": 1} if operator == "LpNormalization" else {}))

    model = chain((1.0, 1.0, 1.0), change)
    model.graph.output.append(helper.make_tensor_value_info("made", TensorProto.FLOAT, None))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    report = quantize(tmp_path / "m.onnx", Images(batches=1), tmp_path / "o", method="minmax", precision="fp16")

    assert "made" in report.kept_float32
    feeds = {"image": next(iter(Images()))}
    with np.errstate(all="ignore"):
        (mine,), (other,) = (ReferenceEvaluator(one).run(["made"], feeds) for one in (model, onnx.load(tmp_path / "o")))
    assert decibels(mine, other) > 20


def test_a_float16_overflow_shows_although_onnx_runtime_computes_in_float32() -> None:
    nodes = [
        helper.make_node("Cast", ["image"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Mul", ["half", "large"], ["beyond"]),
        helper.make_node("Mul", ["beyond", "small"], ["back"]),
        helper.make_node("Cast", ["back"], ["out"], to=TensorProto.FLOAT),
    ]
    constants = [numpy_helper.from_array(np.float16(v), n) for n, v in (("large", 6e4), ("small", 1e-4))]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [image], [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    images = np.full((1, 3, 4, 4), 2, np.float32)

    for optimized in (False, True):
        runner = Runner(model, ["out"], bind_input(model, images.shape), optimized=optimized)
        assert np.isinf(next(runner.run(images))["out"]).all()


def test_what_stands_behind_an_operator_of_onnx_runtimes_own_is_float16(tmp_path: Path) -> None:
    def change(net: Builder) -> None:
        net.node("Gelu", ["second"], "gelu", "gelu", domain="com.microsoft")
        net.node("Relu", ["gelu"], "active", "active")
        net.node("MatMul", ["active", net.weight("last.w", 20, 16)], "last", "last")

    model = chain((1.0, 1.0, 1.0), change)
    model.opset_import.add(domain="com.microsoft", version=1)
    model.graph.output.append(helper.make_tensor_value_info("last", TensorProto.FLOAT, None))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    cache = tmp_path / "cal.bin"

    report = quantize(
        tmp_path / "m.onnx", Images(batches=1), tmp_path / "o", method="minmax", precision="fp16",
        trt_cache=cache, trt_version="10.3.0",
    )  # fmt: skip

    assert "last" in report.placement.layers
    assert report.unlisted == ()
    assert {"gelu", "active", "last"} <= {line.partition(":")[0] for line in cache.read_text().splitlines()}
    result = onnx.load(tmp_path / "o")
    kinds = {item.name: item.data_type for item in result.graph.initializer}
    makers = {name: node for node in result.graph.node for name in node.output}
    (last,) = [node for node in result.graph.node if node.name == "last"]
    assert [kinds[makers[name].input[1]] for name in last.input] == [TensorProto.FLOAT16] * 2
    assert report.verdict is not None
    assert report.verdict.level == "good"


def test_integer_kernels_of_onnx_runtime_get_float32_scales(tmp_path: Path) -> None:
    """Its INT8 Concat takes no other; what is not INT8 is float16 all the same."""
    net = Builder()
    first = net.conv_bn_relu("image", "first", (3, 16), stride=2)
    second = net.conv_bn_relu(first, "second", (16, 16))
    net.node("Concat", [first, second], "both", "both", axis=1)
    third = net.conv_bn_relu("both", "third", (32, 16))
    pooled = net.node("GlobalMaxPool", [third], "pooled", "pooled")
    net.node("Softmax", [net.node("Flatten", [pooled], "flat")], "out", "out")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *SHAPE[1:]])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 16])
    constants = [numpy_helper.from_array(value, name) for name, value in net.weights.items()]
    graph = helper.make_graph(net.nodes, "g", [image], [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    report = quantize(
        tmp_path / "m.onnx", Images(batches=1), tmp_path / "o", method="mse", precision="fp16", target="onnxruntime"
    )

    made = onnx.load(tmp_path / "o")
    types = {item.name: item.data_type for item in made.graph.initializer}
    scaled = [node for node in made.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert {types[node.input[1]] for node in scaled} == {TensorProto.FLOAT}
    assert "both" in report.placement.reads
    assert report.kept_float32 == ()
    assert any(node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16 for node in made.graph.node)
