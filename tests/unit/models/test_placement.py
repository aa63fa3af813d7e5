"""The policy of Q/DQ placement, pattern by pattern: which inputs of which nodes are INT8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from int8cal.demo.int8 import predictor
from int8cal.errors import UseError
from int8cal.models.binding import InputBinding
from int8cal.models.graph import all_activations, prepare
from int8cal.models.placement import RULES, Placement, place
from int8cal.models.qdq import Range, insert_qdq
from int8cal.models.runner import Runner
from int8cal.models.session import BIAS_ROUNDING
from int8cal.models.wiring import Wiring

IMAGE = (16, 16, 24)
BINDING = InputBinding("image", "nchw", None)


class Net:
    """A graph written down node by node; each tensor has the name of the node that makes it."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.random = np.random.default_rng(0)

    def op(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: Any, kind: Any = np.float32) -> str:
        self.constants[name] = np.asarray(values, kind)
        return name

    def conv(self, name: str, source: str, channels: tuple[int, int] = (16, 16), size: int = 3, **more: Any) -> str:
        group = more.get("group", 1)
        shape = (channels[1], channels[0] // group, size, size)
        weight = self.constant(f"{name}.w", self.random.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))
        return self.op("Conv", name, source, weight, pads=[size // 2] * 4, **more)

    def conv_relu(self, name: str, source: str, channels: tuple[int, int] = (16, 16), **more: Any) -> str:
        return self.op("Relu", f"{name}.relu", self.conv(name, source, channels, **more))

    def product(self, name: str, source: str, columns: int = 16, rows: int = 16) -> str:
        return self.op("MatMul", name, source, self.constant(f"{name}.w", self.random.standard_normal((rows, columns))))

    def model(self, *outputs: str, shape: Any = IMAGE) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *shape])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(values, name) for name, values in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def placed(self, *outputs: str, exclude: Any = (), shape: Any = IMAGE, target: Any = "tensorrt") -> Placement:
        model = onnx.shape_inference.infer_shapes(self.model(*outputs, shape=shape))
        return place(Wiring(model, BINDING, tuple(shape)), exclude, target)


def swish(net: Net, name: str, source: str) -> str:
    return net.op("Mul", f"{name}.swish", source, net.op("Sigmoid", f"{name}.gate", source))


def norm(net: Net, name: str, source: str) -> str:
    names = [net.constant(f"{name}.{part}", np.ones(16)) for part in ("s", "b", "m", "v")]
    return net.op("BatchNormalization", name, source, *names)


class TestResidualAdditions:
    def test_the_shortcut_is_int8_and_the_layer_before_the_sum_is_not(self) -> None:
        net = Net()
        start = net.conv_relu("a", "image")
        end = net.conv("c", net.conv_relu("b", start))
        net.conv("d", net.op("Relu", "out", net.op("Add", "sum", end, start)))
        assert net.placed("d").reads["sum"] == (1,)

    def test_a_shortcut_through_branches_of_the_graph_depends_on_the_pixels_that_those_take_from_outside(self) -> None:
        net = Net()
        start = net.conv_relu("a", "image")
        output = helper.make_tensor_value_info("same", TensorProto.FLOAT, ["N", *IMAGE])
        branch = helper.make_graph([helper.make_node("Neg", [start], ["same"])], "branch", [], [output])
        short = net.op("If", "short", net.constant("yes", True, bool), then_branch=branch, else_branch=branch)
        net.conv("d", net.op("Add", "sum", net.conv("b", start), short))
        assert net.placed("d").reads["sum"] == (1,)

    @pytest.mark.parametrize("main_first", [False, True])
    def test_of_two_branches_the_one_with_more_layers_is_fused(self, main_first: bool) -> None:
        net = Net()
        start = net.conv_relu("a", "image")
        main, short = net.conv("c", net.conv_relu("b", start)), net.conv("short", start, size=1)
        net.conv("d", net.op("Add", "sum", *([main, short] if main_first else [short, main])))
        assert net.placed("d").reads["sum"] == (1 if main_first else 0,)

    def test_of_equal_branches_the_first_is_fused(self) -> None:
        net = Net()
        start = net.conv_relu("a", "image")
        net.conv("d", net.op("Add", "sum", net.conv("b", start), net.conv("c", start)))
        assert net.placed("d").reads["sum"] == (1,)

    def test_activations_normalisations_and_pooling_may_lie_between(self) -> None:
        net = Net()
        start = swish(net, "a", net.conv("a", "image"))
        end = swish(net, "b", net.conv("b", start))
        summed = net.op("Add", "sum", start, end)
        after = net.op("LeakyRelu", "leaky", norm(net, "bn", summed))
        net.conv("c", net.op("MaxPool", "pool", after, kernel_shape=[2, 2], strides=[2, 2]))
        assert net.placed("c").reads["sum"] == (0,)

    def test_a_feature_pyramid_adds_what_was_enlarged(self) -> None:
        net = Net()
        fine = net.conv_relu("a", "image")
        coarse = net.conv_relu("b", fine, strides=[2, 2])
        scales = net.constant("scales", [1, 1, 2, 2])
        up = net.op("Resize", "up", net.conv("top", coarse), "", scales, mode="nearest")
        net.conv("out", net.op("Add", "sum", net.conv("lateral", fine), up))
        placed = net.placed("out")
        assert (placed.reads["sum"], placed.reads["up"]) == ((1,), (0,))

    @pytest.mark.parametrize("kind", ["coordinates", "gates", "position", "layer norm", "channel bias", "same layer"])
    def test_sums_that_need_the_precision_stay_float(self, kind: str) -> None:
        net = Net()
        first = net.conv_relu("a", "image")
        if kind == "coordinates":  # a layer goes in, but the result leads to no layer
            out = net.op("Add", "sum", net.conv("b", first), net.op("Relu", "other", first))
            out = net.op("Mul", "boxes", out, net.constant("stride", 8))
        elif kind == "gates":
            cell = net.op("Sigmoid", "cell", net.op("Add", "sum", net.conv("b", first), net.conv("c", first)))
            out = net.conv("d", net.op("Mul", "hidden", cell, net.op("Tanh", "t", first)))
        elif kind == "position":  # not computed from the image, but from its size
            shape = net.op("Shape", "shape", first)
            position = net.op("ConstantOfShape", "position", shape)
            out = net.conv("d", net.op("Add", "sum", net.conv("b", first), position))
        elif kind == "layer norm":
            stream = net.op("Transpose", "tokens", first, perm=[0, 2, 3, 1])
            summed = net.op("Add", "sum", stream, net.product("p", stream))
            normed = net.op("LayerNormalization", "ln", summed, net.constant("s", np.ones(16)), axis=-1)
            out = net.op("Add", "sum2", summed, net.product("q", normed))
        elif kind == "channel bias":  # of another shape: nothing to fuse with
            pooled = net.conv("b", net.op("GlobalAveragePool", "pool", first))
            out = net.conv("d", net.op("Add", "sum", pooled, first))
        else:  # the convolution cannot wait for what is made of its own output
            raw = net.conv("b", first)
            out = net.conv("d", net.op("Add", "sum", raw, net.op("Relu", "other", raw)))
        placed = net.placed(out)
        assert "sum" not in placed.reads
        assert "sum2" not in placed.reads
        assert placed.did["residual"] == ()


class TestWhatStaysFloat:
    @pytest.mark.parametrize(
        ("channels", "more", "is_int8"),
        [
            ((16, 16), {}, True),
            ((16, 15), {}, False),
            ((15, 16), {}, False),
            ((32, 32), {"group": 32}, True),  # depthwise
            ((12, 12), {"group": 12}, False),
            ((32, 32), {"group": 32, "size": 1}, False),
            ((32, 32), {"group": 2}, True),
            ((32, 32), {"group": 4, "size": 1}, False),
        ],
    )
    def test_convolutions_with_few_channels(self, channels: Any, more: Any, is_int8: bool) -> None:
        net = Net()
        net.conv("first", "image", (16, channels[0]))
        net.conv("second", "first", channels, **more)
        assert ("second" in net.placed("second").reads) is is_int8

    def test_the_first_convolution_is_int8_however_few_channels_it_has(self) -> None:
        net = Net()
        scaled = net.op("Mul", "scaled", "image", net.constant("factor", 1 / 255))
        net.conv("second", net.conv_relu("first", scaled, (3, 8)), (8, 16))
        placed = net.placed("second", shape=(3, 16, 24))
        assert (placed.layers, dict(placed.floated)) == (("first",), {"second": "few_channels"})

    def test_a_transposed_convolution_counts_its_own_way_round(self) -> None:
        net = Net()
        net.conv("first", "image")
        net.op("ConvTranspose", "up", "first", net.constant("w", np.ones((16, 4, 2, 2))), strides=[2, 2])
        net.op("ConvTranspose", "up2", "first", net.constant("w2", np.ones((16, 16, 2, 2))), strides=[2, 2])
        assert net.placed("up", "up2").layers == ("first", "up2")

    def test_products_with_one_row_for_each_image(self) -> None:
        net = Net()
        first = net.conv_relu("a", "image")
        flat = net.op("Flatten", "flat", net.op("GlobalAveragePool", "pool", first))
        net.op("Gemm", "classes", flat, net.constant("g", np.ones((16, 20))))
        tokens = net.op("Reshape", "tokens", first, net.constant("to", [-1, 16], np.int64))
        net.op("Gemm", "many", tokens, net.constant("m", np.ones((16, 20))))
        placed = net.placed("classes", "many")
        assert placed.layers == ("a", "many")
        assert placed.floated == {"classes": "one_row"}
        assert "pool" not in placed.reads  # INT8 would come in, but not go out

    def test_excluded_nodes_of_any_kind(self) -> None:
        net = Net()
        start = net.conv_relu("a", "image")
        pool = net.op("MaxPool", "pool", start, kernel_shape=[1, 1])
        net.conv("c", net.op("Add", "sum", net.conv("b", pool), pool))
        assert net.placed("c").reads.keys() == {"a", "b", "c", "pool", "sum"}
        assert net.placed("c", exclude=["sum", "p*", "b"]).reads.keys() == {"a", "c"}

    def test_a_model_in_which_all_stays_float_is_told_why(self) -> None:
        net = Net()
        flat = net.op("Flatten", "flat", net.op("GlobalAveragePool", "pool", "image"))
        net.product("classes", flat)
        with pytest.raises(UseError, match=r"of 1 layer .* one row for each image"):
            net.placed("classes")


class TestWhatInt8PassesThrough:
    def test_pooling_concat_and_resize_between_layers(self) -> None:
        net = Net()
        first = net.conv_relu("a", "image")
        pool = net.op("AveragePool", "pool", first, kernel_shape=[2, 2], strides=[2, 2])
        up = net.op("Resize", "up", net.conv_relu("b", pool), "", net.constant("s", [1, 1, 2, 2]), mode="linear")
        both = net.op("Concat", "both", first, up, axis=1)
        net.conv("c", both, (32, 16))
        placed = net.placed("c")
        assert {name: placed.reads[name] for name in ("pool", "up", "both")} == {
            "pool": (0,),
            "up": (0,),
            "both": (0, 1),
        }
        assert placed.shared == (frozenset({"a.relu", "up", "both"}),)
        scales = placed.with_shared_scales({"a.relu": 1.0, "up": 3.0, "both": 2.0, "pool": 9.0, "image": 5.0})
        assert scales == {"a.relu": 3.0, "up": 3.0, "both": 3.0, "pool": 9.0, "image": 5.0}

    def test_concats_with_a_common_input_have_one_scale_together(self) -> None:
        net = Net()
        parts = [net.conv_relu(name, "image") for name in "abc"]
        net.conv("d", net.op("Concat", "left", parts[0], parts[1], axis=1), (32, 16))
        net.conv("e", net.op("Concat", "right", parts[1], parts[2], axis=1), (32, 16))
        assert net.placed("d", "e").shared == (frozenset({"a.relu", "b.relu", "c.relu", "left", "right"}),)

    def test_squeeze_and_excite(self) -> None:
        net = Net()
        first = swish(net, "a", net.conv("a", "image"))
        squeezed = net.conv_relu("s", net.op("GlobalAveragePool", "pool", first), size=1)
        gate = net.op("Sigmoid", "gate", net.conv("e", squeezed, size=1))
        net.conv("b", net.op("Mul", "excited", gate, first))
        assert net.placed("b").reads["excited"] == (1, 0)
        assert net.placed("b").reads["pool"] == (0,)

    def test_heads_that_lead_out_of_the_model_stay_float(self) -> None:
        net = Net()
        heads = [net.conv(name, "image", (16, 16)) for name in "ab"]
        net.op("Softmax", "p", net.op("Concat", "both", *heads, axis=1), axis=1)
        assert net.placed("p").reads.keys() == {"a", "b"}

    def test_concat_with_a_float_part_stays_float(self) -> None:
        net = Net()
        net.conv("c", net.op("Concat", "both", net.conv("a", "image"), "image", axis=1), (32, 16))
        assert net.placed("c").reads.keys() == {"a", "c"}

    def test_an_output_read_twice_has_one_pair_and_stays_an_output(self) -> None:
        net = Net()
        first = net.conv_relu("a", "image")
        net.conv("b", first)
        net.conv("c", first)
        model = onnx.shape_inference.infer_shapes(net.model(first, "b", "c"))
        placed = place(Wiring(model, BINDING, IMAGE))
        made = insert_qdq(model, placed, {name: Range(1.0) for name in placed.tensors(model)})
        by_name = {node.name: node for node in made.graph.node}
        assert by_name["b"].input[0] == by_name["c"].input[0] == "a.relu_DequantizeLinear_Output"
        assert by_name["a.relu"].output[0] == "a.relu"
        assert sum(node.op_type == "QuantizeLinear" for node in made.graph.node) == 2 + 3


def test_every_rule_says_what_it_does_and_why_and_reports_its_nodes() -> None:
    assert all(rule.says and rule.reason for rule in RULES)
    net = Net()
    net.conv("a", "image")
    for target in ("tensorrt", "onnxruntime"):
        placed = net.placed("a", target=target)
        assert list(placed.did) == [rule.name for rule in RULES if target in rule.targets]
        assert placed.did["layers"] == ("a",)


@pytest.fixture
def biased() -> tuple[onnx.ModelProto, np.ndarray]:
    """An INT8 model whose bias is far below a step of its products, and images."""
    net = Net()
    net.op("Conv", "x", "image", net.constant("w", np.full((16, 16, 1, 1), 9.0)), net.constant("b", np.full(16, 1e-4)))
    net.op("Conv", "y", "x", net.constant("one", np.eye(16)[:, :, None, None]))
    model = prepare(net.model("y"))
    placed = place(Wiring(model, BINDING, IMAGE))
    quantized = insert_qdq(model, placed, {"image": Range(127.0), "x": Range(1e-4)})
    return quantized, np.zeros((1, *IMAGE), np.float32)


def test_agreement_is_that_of_the_file_and_not_of_onnxruntimes_rounding_of_biases(biased: Any) -> None:
    model, images = biased
    runner = Runner(model, ["y"], BINDING, optimized=True)
    assert np.ptp(runner.values(images)["y"]) == 0.0
    assert runner.values(images)["y"].ravel()[0] == pytest.approx(1e-4)


def test_the_name_of_the_rounding_optimisation_is_still_known_to_onnxruntime(biased: Any) -> None:
    """An unknown name is ignored in silence: without the optimisation the bias is kept, with it it is rounded away."""
    model, images = biased

    def bias_of(disabled: list[str]) -> float:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"], disabled_optimizers=disabled
        )
        return float(session.run(["y"], {"image": images})[0].ravel()[0])

    assert bias_of([]) == 0.0
    assert bias_of([BIAS_ROUNDING]) == pytest.approx(1e-4)


def test_products_of_eight_bits_do_not_overflow_in_the_measurement(tmp_path: Path) -> None:
    """On x86 without VNNI, ONNX Runtime's integer kernels saturate; what TensorRT computes does not."""
    net = Net()
    tokens = net.op("Transpose", "tokens", "image", perm=[0, 2, 3, 1])
    net.op("MatMul", "y", tokens, net.constant("w", np.full((16, 16), 1.0)))
    model = prepare(net.model("y"))
    placed = place(Wiring(model, BINDING, IMAGE))
    quantized = insert_qdq(model, placed, {"tokens": Range(1.0)})
    images = np.ones((1, *IMAGE), np.float32)
    assert Runner(quantized, ["y"], BINDING, optimized=True).values(images)["y"] == pytest.approx(16.0, rel=1e-5)
    onnx.save(quantized, tmp_path / "int8.onnx")
    assert predictor(tmp_path / "int8.onnx")(images)[0] == pytest.approx(16.0, rel=1e-5)


class TestOnnxRuntime:
    @pytest.fixture
    def net(self) -> Net:
        net = Net()
        first = net.conv_relu("a", "image")
        second = swish(net, "b", net.conv("b", first))
        net.conv("c", net.op("Concat", "both", net.op("Add", "sum", first, second), first, axis=1), (32, 12))
        net.op("Sigmoid", "p", "c")
        for name in "abc":
            node = next(node for node in net.nodes if node.name == name)
            node.input.append(net.constant(f"{name}.b", np.full(12 if name == "c" else 16, 0.1)))
        return net

    def quantized(self, net: Net, **options: Any) -> tuple[onnx.ModelProto, Any]:
        model = prepare(net.model("p"))
        placed = place(Wiring(model, BINDING, IMAGE), target="onnxruntime", **options)
        return insert_qdq(
            model, placed, {n: Range(2.0, 0.0 if "relu" in n else -0.3) for n in placed.tensors(model)}
        ), placed

    def test_convolutions_run_in_int8(self, net: Net, tmp_path: Any) -> None:
        model, _ = self.quantized(net)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "o")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        kinds = [node.op_type for node in onnx.load(tmp_path / "o").graph.node]
        assert kinds.count("QLinearConv") == 3
        assert not {"Conv", "FusedConv"} & set(kinds)
        assert {"QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid"} <= set(kinds)

    def test_activations_are_unsigned_weights_have_seven_bits_and_biases_32(self, net: Net) -> None:
        model, placed = self.quantized(net)
        values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        made_by = {name: node for node in model.graph.node for name in node.output}
        for node in model.graph.node:
            if node.op_type == "Conv":
                quantizer = made_by[made_by[node.input[0]].input[0]]
                assert values[quantizer.input[2]].dtype == np.uint8
                weight, bias = (made_by[name] for name in node.input[1:])
                assert np.abs(values[weight.input[0]].astype(int)).max() == 63
                assert values[bias.input[0]].dtype == np.int32
                scale = values[quantizer.input[1]] * values[weight.input[1]]
                assert values[bias.input[1]] == pytest.approx(scale)
        assert placed.did["outputs"] == ("a", "b", "c")

    def test_excluded_nodes_read_no_dequantizelinear(self, net: Net) -> None:
        model, _ = self.quantized(net, exclude=["b", "sum"])
        made_by = {name: node for node in model.graph.node for name in node.output}
        for node in model.graph.node:
            if node.name in ("b", "sum"):
                assert all(made_by[name].op_type != "DequantizeLinear" for name in node.input if name in made_by)


class TestOperatorsOfOnnxRuntime:
    """The standard's inference knows no type of what they give; ONNX Runtime does."""

    @staticmethod
    def mixer(net: Net, domain: str) -> onnx.ModelProto:
        net.op("Relu", "a.relu", net.conv("a", "image"))
        net.constant("flat", [0, 16, -1], np.int64)
        net.op("Reshape", "columns", "a.relu", "flat")
        source = net.op("Transpose", "rows", "columns", perm=[0, 2, 1])
        for name in ("first", "second"):
            wide = net.op("Gelu", f"{name}.gelu", net.product(f"{name}.up", source, 32), domain=domain)
            source = net.op("Add", name, net.product(f"{name}.down", wide, 16, 32), source)
        net.op("ReduceMean", "mean", source, net.constant("axis", [1], np.int64), keepdims=0)
        net.op("Gemm", "out", "mean", net.constant("out.w", np.ones((16, 4))))
        model = net.model("out")
        model.opset_import[0].version = 20
        model.ir_version = 9
        model.opset_import.add(domain="com.microsoft", version=1)
        return model

    def test_what_stands_behind_them_is_placed_as_behind_those_of_the_standard(self) -> None:
        placed, activations = [], []
        for domain in ("", "com.microsoft"):
            model = prepare(self.mixer(Net(), domain))
            placed.append(place(Wiring(model, BINDING, IMAGE)))
            activations.append(all_activations(model))
        assert placed[0] == placed[1]
        assert {"first.down", "second.up", "second.down"} <= set(placed[1].layers)
        assert placed[1].floated == {"out": "one_row"}
        assert activations[0] == activations[1]

    def test_layers_that_the_optimiser_fused_are_named_and_not_taken_for_none(self) -> None:
        net = Net()
        first = net.conv("a", "image")
        weight = net.constant("f.w", np.ones((16, 16, 3, 3)))
        net.op("FusedConv", "f", first, weight, domain="com.microsoft", activation="Relu", pads=[1] * 4)
        model = net.model("f")
        model.opset_import.add(domain="com.microsoft", version=1)
        prepared = prepare(model)
        placed = place(Wiring(prepared, BINDING, IMAGE))
        assert placed.layers == ("a",)
        assert placed.floated == {"f": "contributed"}
        assert [names for _, names in placed.left_out] == [("f",)]

        model.graph.node[0].CopyFrom(helper.make_node("Relu", ["image"], ["a"], name="a"))
        prepared = prepare(model)
        with pytest.raises(UseError, match=r"none becomes INT8 \(layers of ONNX Runtime's own") as caught:
            place(Wiring(prepared, BINDING, IMAGE))
        assert "as it was exported" in str(caught.value.hint)


def test_a_weight_on_the_left_stays_float_and_is_named() -> None:
    net = Net()
    net.conv_relu("a", "image")
    net.op("MatMul", "left", net.constant("m", np.ones((16, 16))), "a.relu")
    net.conv("b", "left")
    placed = net.placed("b")
    assert placed.floated == {"left": "weight_first"}
    assert placed.layers == ("a", "b")


@pytest.mark.parametrize("outside", [True, False])
def test_layers_in_branches_stay_float_and_are_named(outside: bool) -> None:
    net = Net()
    source = net.conv_relu("a", "image") if outside else "image"
    net.constant("w", np.ones((16, 16, 3, 3)))
    inner = numpy_helper.from_array(np.ones((16, 16, 3, 3), np.float32), "inner.w")
    branches = {}
    for name, weight in (("then", "w"), ("else", "inner.w")):
        conv = helper.make_node("Conv", [source, weight], [name], name=f"{name}/conv", pads=[1] * 4)
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        held = [inner] if weight == "inner.w" else []
        branches[f"{name}_branch"] = helper.make_graph([conv], name, [], [output], held)
    net.op("ReduceMax", "peak", "image", keepdims=0)
    net.op("Greater", "bright", "peak", net.constant("half", 0.5))
    net.op("If", "choice", "bright", **branches)
    if outside:
        assert net.placed("choice").floated == {"then/conv": "within", "else/conv": "within"}
    else:
        with pytest.raises(UseError, match=r"of 2 layers with weights, none becomes INT8 \(layers in the branches"):
            net.placed("choice")


def test_one_row_is_seen_where_only_a_run_tells_the_shape() -> None:
    net = Net()
    net.op("GlobalAveragePool", "mean", net.conv_relu("a", "image"))
    net.op("ReduceMax", "peak", "image", keepdims=0)  # the shape comes from values
    net.op("Cast", "whole", net.op("Mul", "nothing", "peak", net.constant("zero", 0.0)), to=TensorProto.INT64)
    net.op("Reshape", "some", "whole", net.constant("one", [1], np.int64))
    net.op("Add", "dims", "some", net.constant("flat", [1, 16], np.int64))
    net.op("Reshape", "vector", "mean", "dims")
    net.op("Gemm", "out", "vector", net.constant("out.w", np.ones((16, 20))))
    assert net.placed("out").floated == {"out": "one_row"}
