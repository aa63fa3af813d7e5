"""Models with nodes that are not computed: what stands before them is quantised, they come back as they were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.unit.models.conftest import SHAPE, Builder, quantize_fast

from int8cal.errors import UseError
from int8cal.models.compare import compare
from int8cal.models.computable import computable


def model_of(
    net: Builder, outputs: Sequence[Any], *, opset: int = 11, domains: Sequence[str] = (), batch: int | str = "N"
) -> onnx.ModelProto:
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    graph = helper.make_graph(
        net.nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *SHAPE[1:]])],
        list(outputs),
        [onnx.numpy_helper.from_array(value, name) for name, value in net.weights.items()],
    )
    return helper.make_model(graph, opset_imports=imports, ir_version=6)


def without_shape(name: str, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, None)


def detector(operator: str = "BatchedNMSDynamic_TRT", domain: str = "") -> onnx.ModelProto:
    """Two heads that go into a plug-in, the first with the model's anchors, and an output of its own."""
    net = Builder()
    features = net.conv_bn_relu("image", "features", (3, 16), stride=2)
    for head, channels in (("loc", 24), ("conf", 18)):
        net.node("Conv", [features, net.weight(f"{head}.w", channels, 16, 1, 1)], f"{head}.map", f"{head}/conv")
        net.node("Transpose", [f"{head}.map"], f"{head}.t", perm=[0, 2, 3, 1])
        net.weights["flat"] = np.array([0, -1, 2])
        net.node("Reshape", [f"{head}.t", "flat"], head)
    net.weights["raw_anchors"] = np.ones((1, 4), np.float32)
    net.node("Neg", ["raw_anchors"], "anchors")  # a constant, but for the folding
    net.nodes.append(
        helper.make_node(
            operator,
            ["anchors", "loc", "conf"],
            ["NMS", "NMS_1"],
            name="NMS",
            domain=domain,
            keepTopK=7,
            inputOrder=[1, 2, 0],
            plugin_version="1",
            score=0.25,
        )
    )
    return model_of(
        net,
        [without_shape("NMS", TensorProto.INT32), without_shape("conf"), without_shape("NMS_1")],
        domains=[domain] if domain else [],
    )


def loop(net: Builder, source: str, output: str) -> None:
    """A loop that ends when a condition says so, which reads a tensor from outside."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Relu", [source], ["inner"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("inner", TensorProto.FLOAT, None),
        ],
    )
    net.weights["go"] = np.array(True)
    net.nodes.append(helper.make_node("Loop", ["", "go"], [output], name="loop", body=body))


def save(model: onnx.ModelProto, folder: Path, name: str = "float.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def node_of(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    (found,) = [node for node in model.graph.node if node.op_type == operator]
    return found


@pytest.mark.parametrize(
    ("operator", "domain"),
    [("BatchedNMSDynamic_TRT", ""), ("Invented", ""), ("Invented", "some.where"), ("Invented", "com.microsoft")],
)
def test_what_stands_before_a_plug_in_is_quantised_and_the_plug_in_stays(
    operator: str, domain: str, images: Any, tmp_path: Path
) -> None:
    model = detector(operator, domain)
    path, out, cache = save(model, tmp_path), tmp_path / "int8.onnx", tmp_path / "cal.bin"

    report = quantize_fast(path, images(), out, trt_cache=cache, trt_version="10.3.0")

    name = f"{domain}::{operator}" if domain else operator
    assert [(node.name, node.operator) for node in report.foreign] == [("NMS", name)]
    assert report.nodes == 3
    assert [output.name for output in report.in_sample.outputs] == ["conf", "loc"]
    assert all(output.sqnr_db > 25 for output in report.in_sample.outputs)
    result = onnx.load(out)
    assert node_of(result, operator) == node_of(model, operator)
    assert [output.name for output in result.graph.output] == ["NMS", "conf", "NMS_1"]
    assert list(result.graph.output)[::2] == list(model.graph.output)[::2]
    listed = [line.partition(": ")[0] for line in cache.read_text().splitlines()[1:]]
    assert {"image", "features", "loc.map", "loc.t", "loc", "conf"} <= set(listed)
    assert "NMS_1" not in listed

    again = compare(path, out, images())

    assert [o.sqnr_db for o in again.agreement.outputs] == [o.sqnr_db for o in report.in_sample.outputs]


def test_a_constant_that_goes_into_a_plug_in_comes_back_with_it(images: Any, tmp_path: Path) -> None:
    quantize_fast(save(detector(), tmp_path), images(), tmp_path / "int8.onnx")

    result = onnx.load(tmp_path / "int8.onnx").graph
    made = {name for node in result.node for name in node.output} | {tensor.name for tensor in result.initializer}
    assert "anchors" in made


@pytest.mark.parametrize("kind", ["plug-in", "loop"])
def test_what_stands_behind_stays_float_and_is_named(kind: str, images: Any, tmp_path: Path) -> None:
    """Its operators change with the operator set: in 13 a Softmax looks at one axis only, in 11 at all from one on."""
    net = Builder()
    features = net.conv_bn_relu("image", "features", (3, 16))
    if kind == "loop":
        loop(net, features, "regions")
    else:
        net.node("Regions", [features], "regions", "roi")
    net.node("Conv", ["regions", net.weight("head.w", 4, 16, 1, 1)], "head", "head/conv")
    net.node("Softmax", ["head"], "prob", "prob", axis=1)
    net.node("Conv", [features, net.weight("side.w", 20, 16, 1, 1)], "side", "side/conv")
    outputs = [without_shape("prob"), helper.make_tensor_value_info("side", TensorProto.FLOAT, ["N", 20, 16, 24])]
    path = save(model_of(net, outputs), tmp_path)

    report = quantize_fast(path, images(), tmp_path / "int8.onnx", exclude=["head/*"])

    assert report.behind == ("head/conv",)
    within = {"inner"} if kind == "loop" else set()
    assert within | {"regions", "head", "prob"} <= set(report.unlisted)
    assert "side" not in report.unlisted
    assert report.foreign[0].operator == ("Loop" if kind == "loop" else "Regions")
    result = onnx.load(tmp_path / "int8.onnx")
    made = {name: node.op_type for node in result.graph.node for name in node.output}
    (head,) = [node for node in result.graph.node if node.name == "head/conv"]
    assert list(head.input) == ["regions", "head.w"]
    assert made["prob"] == "Reshape"  # what the converter puts around a Softmax of the old meaning
    (side,) = [node for node in result.graph.node if node.name == "side/conv"]
    assert [made[name] for name in side.input] == ["DequantizeLinear"] * 2
    assert report.in_sample.outputs[0].name == "side"


def scan_of(net: Builder, source: str, output: str) -> None:
    """A product within a Scan, and whole numbers beside it."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["row", "scan.w"], ["scanned"], name="scan/product"),
            helper.make_node("Shape", ["scanned"], ["sizes"]),
            helper.make_node("Add", ["sizes", "sizes"], ["twice"]),
        ],
        "body",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["N", 3, 24])],
        [without_shape("scanned")],
    )
    weight = onnx.numpy_helper.from_array(net.random.standard_normal((24, 24)).astype(np.float32))
    net.nodes.append(helper.make_node("Constant", [], ["scan.w"], value=weight))
    net.node("Transpose", [source], "slices", perm=[2, 0, 1, 3])
    net.nodes.append(helper.make_node("Scan", ["slices"], [output], name="scan", body=body, num_scan_inputs=1))


@pytest.mark.parametrize("alone", [False, True])
def test_layers_within_a_loop_stay_float_and_are_named(alone: bool, images: Any, tmp_path: Path) -> None:
    net = Builder()
    scan_of(net, "image", "scans")
    outputs = [without_shape("scans")]
    if not alone:
        net.node("Conv", ["image", net.weight("w", 16, 3, 3, 3)], "side", "side")
        outputs.append(without_shape("side"))
    path = save(model_of(net, outputs, opset=13), tmp_path)

    if alone:
        with pytest.raises(UseError, match=r"all layers with weights stand behind Scan .* or within it"):
            quantize_fast(path, images(), tmp_path / "int8.onnx")
        return
    report = quantize_fast(path, images(), tmp_path / "int8.onnx")
    assert report.behind == ("scan/product",)
    assert set(report.unlisted) == {"scans", "scanned"}


def test_the_layout_that_onnx_runtime_gives_a_model_is_told_as_what_it_is(images: Any, tmp_path: Path) -> None:
    net = Builder()
    net.nodes.append(helper.make_node("ReorderInput", ["image"], ["x"], domain="com.microsoft.nchwc", channels_last=0))
    net.node("Conv", ["x", net.weight("w", 16, 3, 3, 3)], "out", "out")
    path = save(model_of(net, [without_shape("out")], domains=["com.microsoft.nchwc"]), tmp_path)

    with pytest.raises(UseError) as caught:
        quantize_fast(path, images(), tmp_path / "int8.onnx")
    assert "as it was exported" in str(caught.value.hint)


def test_a_plug_in_inside_of_a_branch_makes_the_whole_node_one(images: Any, tmp_path: Path) -> None:
    net = Builder()
    features = net.conv_bn_relu("image", "features", (3, 16))
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("Mystery" if name == "then" else "Relu", [features], [name])],
            name,
            [],
            [without_shape(name)],
        )
        for name in ("then", "else")
    }
    net.weights["yes"] = np.array(True)
    net.nodes.append(helper.make_node("If", ["yes"], ["out"], name="choice", **branches))
    path = save(model_of(net, [without_shape("out")]), tmp_path)

    report = quantize_fast(path, images(), tmp_path / "int8.onnx")

    assert [(node.name, node.operator) for node in report.foreign] == [("choice", "If")]
    choice = node_of(onnx.load(tmp_path / "int8.onnx"), "If")
    assert (choice.name, list(choice.input), list(choice.output)) == ("choice", ["yes"], ["out"])
    inside = {
        branch.name: [(node.domain, node.op_type, *node.input, *node.output) for node in branch.g.node]
        for branch in choice.attribute
    }
    assert inside == {
        "then_branch": [("", "Mystery", features, "then")],
        "else_branch": [("", "Relu", features, "else")],
    }
    assert report.in_sample.outputs[0].name == features


def test_outputs_without_shape_are_filled_in(make_model: Any, images: Any, tmp_path: Path) -> None:
    def forget(model: onnx.ModelProto) -> None:
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")

    quantize_fast(make_model(change=forget), images(), tmp_path / "int8.onnx")

    outputs = onnx.load(tmp_path / "int8.onnx").graph.output
    assert [len(output.type.tensor_type.shape.dim) for output in outputs] == [4, 2]


def test_the_extents_that_the_outputs_state_stay(make_model: Any, images: Any, tmp_path: Path) -> None:
    def free_the_batch(model: onnx.ModelProto) -> None:
        inferred = onnx.shape_inference.infer_shapes(model)
        model.graph.value_info.extend(inferred.graph.value_info)  # of one image, and left so
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"

    quantize_fast(make_model(batch=1, change=free_the_batch), images(), tmp_path / "q.onnx")
    quantized = onnx.load(tmp_path / "q.onnx")
    extents = {
        value.name: [extent.dim_param or extent.dim_value for extent in value.type.tensor_type.shape.dim]
        for value in (*quantized.graph.input, *quantized.graph.output)
    }
    assert extents == {
        "image": ["batch", *SHAPE[1:]],
        "up": ["batch", 16, *SHAPE[2:]],
        "prob": ["batch", 4],
    }
    inner = {value.name: value for value in quantized.graph.value_info}
    assert not inner["joined"].type.tensor_type.shape.dim[0].HasField("dim_value")


@pytest.mark.parametrize("work", [quantize_fast, compare])
def test_a_model_without_outputs_is_none(work: Any, make_model: Any, images: Any, tmp_path: Path) -> None:
    source = make_model(change=lambda model: model.graph.ClearField("output"))
    others = (images(), tmp_path / "q.onnx") if work is quantize_fast else (source, images())
    with pytest.raises(UseError, match="the model has no outputs"):
        work(source, *others)


def test_outputs_whose_rank_nobody_can_tell_are_computed(images: Any, tmp_path: Path) -> None:
    """A shape that is computed from the values of the image."""
    net = Builder()
    features = net.conv_bn_relu("image", "features", (3, 16))
    net.node("ReduceMax", ["image"], "peak", keepdims=0)
    net.weights |= {"zero": np.array(0, np.float32), "flat": np.array([1, -1]), "some": np.array([0])}
    net.node("Less", ["peak", "zero"], "none")
    net.node("Cast", ["none"], "start", to=TensorProto.INT64)
    net.node("Reshape", ["start", "some.1"], "starts")
    net.weights |= {"some.1": np.array([1]), "end": np.array([9])}
    net.node("Slice", ["flat", "starts", "end"], "shape")
    net.node("Reshape", [features, "shape"], "out")
    path = save(model_of(net, [without_shape("out")], opset=13), tmp_path)

    report = quantize_fast(path, images(), tmp_path / "int8.onnx")

    assert report.nodes == 1
    assert [output.name for output in report.in_sample.outputs] == ["out"]  # though its first axis is not the batch


def test_names_that_come_back_are_kept_and_those_that_were_made_give_way(images: Any, tmp_path: Path) -> None:
    """The plug-in's output has the name that a Q/DQ node would have."""
    model = detector()
    plug_in = model.graph.node[-1]
    plug_in.output[1] = model.graph.output[2].name = "features_QuantizeLinear_Output"
    plug_in.name = "features_QuantizeLinear"

    quantize_fast(save(model, tmp_path), images(), tmp_path / "int8.onnx")

    result = onnx.load(tmp_path / "int8.onnx").graph
    assert [node.op_type for node in result.node if "features_QuantizeLinear_Output" in node.output] == [
        plug_in.op_type
    ]
    assert [node.op_type for node in result.node if node.name == "features_QuantizeLinear"] == [plug_in.op_type]


def test_weights_that_old_exporters_list_as_inputs_come_back_where_they_belong(images: Any, tmp_path: Path) -> None:
    """One of them is read by the plug-in alone."""
    model = detector()
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))

    report = quantize_fast(save(model, tmp_path), images(), tmp_path / "int8.onnx")

    assert report.input.name == "image"
    result = onnx.load(tmp_path / "int8.onnx").graph
    assert {"anchors", "raw_anchors"} & {
        *(tensor.name for tensor in result.initializer),
        *(name for node in result.node for name in node.output),
    }


def test_the_standard_operators_have_two_names(images: Any, tmp_path: Path) -> None:
    model = detector()
    model.opset_import[0].domain = "ai.onnx"
    model.graph.node[0].domain = "ai.onnx"

    report = quantize_fast(save(model, tmp_path), images(), tmp_path / "int8.onnx")

    assert [node.operator for node in report.foreign] == ["BatchedNMSDynamic_TRT"]


def test_a_model_whose_input_goes_into_a_plug_in_says_so() -> None:
    net = Builder()
    net.node("Normalize_TRT", ["image"], "n", "norm")
    net.node("Relu", ["n"], "out")

    with pytest.raises(UseError, match=r"stands behind Normalize_TRT \(node 'norm'\)"):
        computable(model_of(net, [without_shape("out")]))


@pytest.mark.parametrize("io", ["float16", "float32"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_a_model_of_16_bit_floats_is_computed_in_float32(kind: int, io: str, images: Any, tmp_path: Path) -> None:
    """What it holds is not rounded again: its twin with the same values in float32 gives the same ranges."""

    def half(array: np.ndarray, name: str) -> Any:
        return helper.make_tensor(name, kind, array.shape, array.astype(np.float64).reshape(-1))

    net = Builder()
    net.node("Cast", ["image"], "x", to=kind)
    net.nodes.append(helper.make_node("Constant", [], ["one"], value=half(np.ones(1), "one")))
    net.node("Add", ["x", "one"], "x.1")
    net.weight("w", 16, 3, 3, 3)
    net.node("Conv", ["x.1", "w"], "conv", "conv")
    net.node("Cast", ["conv"], "out", to=TensorProto.FLOAT if io == "float32" else kind)
    outer = TensorProto.FLOAT if io == "float32" else kind
    model = model_of(net, [helper.make_tensor_value_info("out", outer, ["N", 16, 14, 22])], opset=22)
    model.ir_version = 10
    model.graph.input[0].type.tensor_type.elem_type = outer
    weights = net.weights["w"]
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    model.graph.initializer[0].CopyFrom(half(weights, "w"))
    rounded = onnx.numpy_helper.to_array(model.graph.initializer[0]).astype(np.float32)
    twin.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(rounded, "w"))
    for node in twin.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to":
                attribute.i = TensorProto.FLOAT
            elif attribute.name == "value":
                attribute.t.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32)))
    for value in (twin.graph.input[0], twin.graph.output[0]):
        value.type.tensor_type.elem_type = TensorProto.FLOAT

    report = quantize_fast(save(model, tmp_path), images(), tmp_path / "int8.onnx")
    other = quantize_fast(save(twin, tmp_path, "twin.onnx"), images(), tmp_path / "twin8.onnx")

    assert report.from_float16
    assert not other.from_float16
    assert report.amax == other.amax
    result = onnx.load(tmp_path / "int8.onnx")
    kinds = {t.data_type for t in result.graph.initializer} | {
        value.type.tensor_type.elem_type for value in (*result.graph.input, *result.graph.output)
    }
    assert kinds <= {TensorProto.FLOAT, TensorProto.INT8}


def test_weights_of_another_type_are_named(images: Any, tmp_path: Path) -> None:
    net = Builder()
    net.node("Cast", ["image"], "x", to=TensorProto.DOUBLE)
    net.weights["w"] = np.ones((16, 3, 3, 3), np.float64)
    net.node("Conv", ["x", "w"], "conv")
    path = save(model_of(net, [without_shape("conv", TensorProto.DOUBLE)], opset=13), tmp_path)

    with pytest.raises(UseError, match="the weights of the model are double"):
        quantize_fast(path, images(), tmp_path / "int8.onnx")
