"""Models of older operator sets: what they compute stays what it is."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.unit.models.conftest import SHAPE, Builder, Images, quantize_fast

from int8cal.errors import UseError
from int8cal.models.binding import InputBinding
from int8cal.models.computable import computable
from int8cal.models.onnx_file import load_model
from int8cal.models.opset import converted, raise_opset
from int8cal.models.quantize import quantize

FLOAT = TensorProto.FLOAT


def run(model: Any, image: np.ndarray) -> list[np.ndarray]:
    content = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})


def model_of(net: Builder, outputs: list[str], opset: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        net.nodes,
        "g",
        [helper.make_tensor_value_info("image", FLOAT, ["N", *SHAPE[1:]])],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in net.weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)


def resizing(operator: str, opset: int, mode: str, scales: tuple[float, float]) -> onnx.ModelProto:
    net = Builder()
    if opset == 7:
        net.node(operator, ["image"], "y", mode=mode, scales=[1.0, 1.0, *scales])
    else:
        net.weights["scales"] = np.array([1, 1, *scales], np.float32)
        net.node(operator, ["image", "scales"], "y", mode=mode)
    return model_of(net, ["y"], opset)


@pytest.mark.parametrize("scales", [(2, 2), (1.5, 1.5), (3, 2), (1.7, 1), (0.5, 0.5), (0.6, 0.7)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("operator", "opset"), [("Upsample", 7), ("Upsample", 9), ("Resize", 10)])
def test_pixels_lie_as_they_did(operator, opset, mode, scales):
    if operator == "Upsample" and min(scales) < 1:
        scales = tuple(1 / scale for scale in scales)
    model = resizing(operator, opset, mode, scales)
    image = np.random.default_rng(3).random((1, *SHAPE[1:]), np.float32)
    newer = raise_opset(model)
    newer.ir_version = 8
    np.testing.assert_array_equal(run(newer, image)[0], run(model, image)[0])


def behind_a_convolution(operator: str, opset: int, **attributes: Any) -> onnx.ModelProto:
    net = Builder()
    net.conv_bn_relu("image", "features", (3, 8))
    net.node(operator, ["features"], "y", **attributes)
    return model_of(net, ["y"], opset)


def test_a_conversion_that_changes_what_is_computed_is_refused(tmp_path):
    """The neighbours of a Resize that makes one side larger and the other smaller can be said in no newer form."""
    net = Builder()
    net.conv_bn_relu("image", "features", (3, 8))
    net.weights["scales"] = np.array([1, 1, 2, 0.5], np.float32)
    net.node("Resize", ["features", "scales"], "y", mode="nearest")
    onnx.save(model_of(net, ["y"], 10), tmp_path / "m.onnx")
    with pytest.raises(UseError, match="from opset 10 to 13, the model computes something else: output y is") as caught:
        quantize_fast(tmp_path / "m.onnx", Images(), tmp_path / "q.onnx")
    assert "opset 13 or later" in caught.value.hint
    assert not (tmp_path / "q.onnx").exists()


@pytest.mark.parametrize(("values", "is_refused"), [
    (np.float32([0, 1, np.inf]), True),
    (np.float32([0, 1, 2]), False),
    (np.float32([np.nan, np.nan, np.nan]), False),  # whose float model says so already
])  # fmt: skip
def test_a_conversion_after_which_values_are_not_finite_is_refused(monkeypatch, values, is_refused):
    before = values if np.isnan(values).all() else np.float32([0, 1, 2])
    given = iter([{"y": before}, {"y": values}])
    monkeypatch.setattr("int8cal.models.opset.Runner", lambda *_: SimpleNamespace(run=lambda few: iter([next(given)])))
    monkeypatch.setattr("int8cal.models.opset.numeric_outputs", lambda model: ["y"])
    old = resizing("Upsample", 9, "nearest", (2, 2))
    refused = pytest.raises(UseError, match="output y is finite in one of both alone") if is_refused else nullcontext()
    with refused:
        converted(old, InputBinding("image", "nchw", None), np.zeros(SHAPE, np.float32), 13)


def test_random_numbers_are_not_compared(tmp_path):
    net = Builder()
    net.conv_bn_relu("image", "features", (3, 8))
    net.node("RandomNormalLike", ["features"], "noise")
    net.node("Add", ["features", "noise"], "y")
    onnx.save(model_of(net, ["y"], 11), tmp_path / "m.onnx")
    quantize_fast(tmp_path / "m.onnx", Images(), tmp_path / "q.onnx", force=True)


def test_a_small_u_net_of_an_old_exporter(tmp_path):
    net = Builder()
    features = net.conv_bn_relu("image", "features", (3, 8), stride=2)
    net.weights["scales"] = np.array([1, 1, 2, 2], np.float32)
    net.node("Upsample", [features, "scales"], "larger", mode="linear")
    net.node("Conv", ["larger", net.weight("last.w", 4, 8, 3, 3)], "y", pads=[1, 1, 1, 1])
    onnx.save(model_of(net, ["y"], 9), tmp_path / "m.onnx")
    report = quantize(tmp_path / "m.onnx", Images(), tmp_path / "q.onnx")
    image = next(iter(Images(seed=5)))
    before, after = (run(str(tmp_path / name), image)[0] for name in ("m.onnx", "q.onnx"))
    decibels = 10 * np.log10((before**2).sum() / ((before - after) ** 2).sum())
    assert decibels > 30, "on images that it has not seen, by ONNX Runtime alone"
    assert report.choice.agreement.worst_db() == pytest.approx(decibels, abs=4)


@pytest.mark.parametrize("opset", [7, 9])
def test_a_mask_that_nobody_reads(tmp_path, opset):
    model = behind_a_convolution("Dropout", opset, ratio=0.5)
    model.graph.node[-1].output.append("mask")
    model.graph.value_info.append(helper.make_tensor_value_info("mask", FLOAT, ["N", 8, *SHAPE[2:]]))
    onnx.save(model, tmp_path / "m.onnx")
    quantize_fast(tmp_path / "m.onnx", Images(), tmp_path / "q.onnx")
    image = next(iter(Images()))
    before, after = (run(str(tmp_path / name), image)[0] for name in ("m.onnx", "q.onnx"))
    assert np.abs(before - after).max() < 0.1 * np.abs(before).max()


def test_a_constant_that_is_listed_as_an_input_and_not_read(tmp_path):
    model = behind_a_convolution("Relu", 11)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((2, 3, 16, 24), np.float32), "queue"))
    model.graph.input.append(helper.make_tensor_value_info("queue", FLOAT, [2, 3, 16, 24]))
    onnx.save(model, tmp_path / "m.onnx")
    assert [value.name for value in computable(load_model(tmp_path / "m.onnx")).model.graph.input] == ["image"]
    quantize_fast(tmp_path / "m.onnx", Images(), tmp_path / "q.onnx")
    assert [value.name for value in onnx.load(tmp_path / "q.onnx").graph.input] == ["image"]


def loop(*, operator: str, **attributes: Any) -> onnx.ModelProto:
    """What goes through an operator of an older form twice, in a loop."""
    model = behind_a_convolution("Relu", 10 if operator == "Resize" else 11)
    del model.graph.node[-1]
    shape = ["N", 8, *SHAPE[2:]]
    inputs = ["state", "ones"] if operator == "Resize" else ["state"]
    body = helper.make_graph(
        [helper.make_node(operator, inputs, ["next"], **attributes), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, shape),
        ],
    )
    model.graph.node.append(helper.make_node("Loop", ["times", "yes", "features"], ["y"], name="loop", body=body))
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(2, np.int64), "times"),
            numpy_helper.from_array(np.array(True), "yes"),
            numpy_helper.from_array(np.ones(4, np.float32), "ones"),
        ]
    )
    model.ir_version = 6
    return model


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("Softmax", {"axis": 1}),
        ("Resize", {"mode": "linear"}),
        ("LogSoftmax", {"axis": 2}),
        ("Dropout", {"ratio": 0.5}),
    ],
)
def test_what_is_in_loops_is_converted_too(tmp_path, operator, attributes):
    onnx.save(loop(operator=operator, **attributes), tmp_path / "m.onnx")
    report = quantize_fast(tmp_path / "m.onnx", Images(), tmp_path / "q.onnx")
    assert [node.operator for node in report.foreign] == ["Loop"]
    image = next(iter(Images()))
    before, after = (run(str(tmp_path / name), image)[0] for name in ("m.onnx", "q.onnx"))
    assert before.shape == after.shape
    assert 10 * np.log10((before**2).sum() / ((before - after) ** 2).sum()) > 25
