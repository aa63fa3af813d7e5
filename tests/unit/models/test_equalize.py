"""Channels in front of depthwise convolutions: brought to one range, while all else stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.unit.models.conftest import SHAPE, Builder, Images

from int8cal.models.equalize import shares
from int8cal.models.quantize import quantize
from int8cal.models.recipe import reproduce
from int8cal.models.scales import quantize_from_scales
from int8cal.models.session import open_as_written

UNEVEN = 2.0 ** np.linspace(0, -10, 16)


def mobile(folder: Path, channels: Any = UNEVEN, *, multiplier: int = 1, name: str = "float.onnx") -> Path:
    """A convolution whose channels are as loud as told, and two depthwise ones that make them even again."""
    net = Builder()
    channels = channels.astype(np.float32).reshape(-1, 1, 1, 1)
    net.weight("a.w", 16, 3, 3, 3)
    net.weights["a.w"] = np.abs(net.weights["a.w"]) * channels
    net.node("Conv", ["image", "a.w"], "a", "a", pads=[1, 1, 1, 1])
    net.node("Relu", ["a"], "x", "relu")
    for layer, outputs in (("wide", 16 * multiplier), ("narrow", 16)):
        weight = net.weight(f"{layer}.w", outputs, 1, 3, 3)
        net.weights[weight] /= np.repeat(channels, outputs // 16, axis=0)
        net.node("Conv", ["x", weight], layer, layer, group=16, pads=[1, 1, 1, 1])
        net.node("Conv", [layer, net.weight(f"{layer}.out", 16, outputs, 1, 1)], f"{layer}.y", f"{layer}/out")
    net.node("Conv", ["x", net.weight("dense.w", 16, 16, 1, 1)], "dense.y", "dense")
    outputs = [
        onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["N", 16, *SHAPE[2:]])
        for output in ("wide.y", "narrow.y", "dense.y")
    ]
    entry = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["N", *SHAPE[1:]])
    weights = [numpy_helper.from_array(value, item) for item, value in net.weights.items()]
    graph = onnx.helper.make_graph(net.nodes, "mobile", [entry], outputs, weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / name)
    return folder / name


def nodes(path: Path, kind: str) -> list[onnx.NodeProto]:
    return [node for node in onnx.load(path).graph.node if node.op_type == kind]


@pytest.mark.parametrize("multiplier", [1, 2])
def test_it_gains_what_one_scale_for_all_channels_loses(tmp_path: Path, multiplier: int) -> None:
    model = mobile(tmp_path, multiplier=multiplier)
    found = {
        equalize: quantize(model, Images(), tmp_path / f"{equalize}.onnx", method="minmax", equalize=equalize)
        for equalize in (False, True)
    }
    decibels = {
        equalize: {output.name: output.sqnr_db for output in report.in_sample.outputs}
        for equalize, report in found.items()
        if report.in_sample
    }

    assert found[True].equalized == ("wide", "narrow")
    assert found[False].equalized == ()
    for output in ("wide.y", "narrow.y"):
        assert decibels[True][output] > decibels[False][output] + 15
    assert decibels[True]["dense.y"] == decibels[False]["dense.y"]
    assert found[True].amax == found[False].amax
    assert [node.output[0] for node in nodes(tmp_path / "True.onnx", "Mul")] == ["x_equalized"]  # one for both
    assert not nodes(tmp_path / "False.onnx", "Mul")


def test_without_qdq_it_is_the_float_model_in_the_form_that_tensorrt_takes(tmp_path: Path) -> None:
    source = mobile(tmp_path, multiplier=2)
    quantize(source, Images(), tmp_path / "o.onnx", method="minmax", agreement=False)
    model = onnx.load(tmp_path / "o.onnx")
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    behind = {}
    for node in list(model.graph.node):
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = (constants[name] for name in node.input[1:])
            assert zero.dtype == np.int8
            assert not zero.any()
            assert scale.shape == () or node.input[0] in constants or behind[node.input[0]] in constants
            behind[node.output[0]] = behind.get(node.input[0], node.input[0])
            model.graph.node.remove(node)
    for node in model.graph.node:
        node.input[:] = [behind.get(name, name) for name in node.input]

    batch = next(iter(Images()))
    first, second = (open_as_written(item).run(None, {"image": batch}) for item in (onnx.load(source), model))
    for values, same in zip(first, second, strict=True):
        np.testing.assert_allclose(same, values, rtol=1e-4, atol=1e-4 * np.abs(values).max())


@pytest.mark.parametrize("changed", [{"target": "onnxruntime"}, {"equalize": False}, {"exclude": ["wide", "narrow"]}])
def test_where_it_is_not_wanted(tmp_path: Path, changed: Any) -> None:
    report = quantize(mobile(tmp_path), Images(), tmp_path / "o.onnx", method="minmax", agreement=False, **changed)

    assert report.equalized == ()
    assert not nodes(tmp_path / "o.onnx", "Mul")


def test_channels_that_are_much_the_same_get_no_node(tmp_path: Path) -> None:
    report = quantize(mobile(tmp_path, np.ones(16)), Images(), tmp_path / "o.onnx", method="minmax", agreement=False)

    assert report.equalized == ()
    assert not nodes(tmp_path / "o.onnx", "Mul")


def test_a_cache_and_what_is_made_of_it_know_nothing_of_it(tmp_path: Path) -> None:
    model = mobile(tmp_path)
    for equalize in (True, False):
        quantize(
            model, Images(), tmp_path / f"{equalize}.onnx", method="minmax", agreement=False, equalize=equalize,
            trt_cache=tmp_path / f"{equalize}.bin", trt_version="10.3.0",
        )  # fmt: skip
    quantize_from_scales(model, tmp_path / "True.bin", tmp_path / "scales.onnx")

    assert (tmp_path / "True.bin").read_bytes() == (tmp_path / "False.bin").read_bytes()
    assert "equalized" not in (tmp_path / "True.bin").read_text()
    assert not nodes(tmp_path / "scales.onnx", "Mul")


@pytest.mark.parametrize("equalize", [True, False])
def test_it_comes_out_again_and_in_float16(tmp_path: Path, equalize: bool) -> None:
    model = mobile(tmp_path)
    report = quantize(model, Images(), tmp_path / "o.onnx", method="mse", precision="fp16", equalize=equalize)

    assert not [name for name in report.kept_float32 if "equalized" in name and ".w" not in name]
    assert [numpy_helper.to_array(item).dtype for item in onnx.load(tmp_path / "o.onnx").graph.initializer
            if "factors" in item.name] == [np.float16] * equalize  # fmt: skip
    assert reproduce(model, Images(), tmp_path / "o.onnx").is_same


def test_what_each_channel_needs() -> None:
    found = shares(np.array([8, 4, 1, 0, 1e-6], np.float32))

    assert found is not None
    assert found.tolist() == [1, 0.5, 0.125, 1, 1 / 256]  # silent channels may be loud elsewhere
    assert shares(np.array([8, 4, 8, 4], np.float32)) is None
    assert shares(np.zeros(3, np.float32)) is None
