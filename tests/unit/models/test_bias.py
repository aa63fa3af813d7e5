"""Biases that take off what quantisation adds on average."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.unit.models.conftest import Builder, Images

from int8cal.errors import UsageError
from int8cal.models.bias import MOST_IMAGES, images_for_bias
from int8cal.models.quantize import quantize
from int8cal.models.recipe import reproduce
from int8cal.models.session import open_as_written

SHAPE = (4, 32, 12, 12)


def skewed(folder: Path, *, groups: int = 1) -> Path:
    """A convolution of values most of which are rounded down, and one behind it without bias."""
    net = Builder()
    net.node("Pow", ["image", net.weight("power")], "small", "pow")
    net.weights["power"] = np.float32(6)
    net.node(
        "Conv", ["small", net.weight("a.w", 32, 32 // groups, 3, 3), net.weight("a.b", 32)], "a", "a", group=groups
    )
    net.node("Relu", ["a"], "x", "relu")
    net.node("Conv", ["x", net.weight("b.w", 16, 32, 1, 1)], "y", "b")
    outputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", channels, 10, 10])
        for name, channels in (("a", 32), ("y", 16))
    ]
    entry = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["N", *SHAPE[1:]])
    weights = [numpy_helper.from_array(value, name) for name, value in net.weights.items()]
    graph = onnx.helper.make_graph(net.nodes, "skewed", [entry], outputs, weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "float.onnx")
    return folder / "float.onnx"


def images(batches: int = 2) -> Images:
    return Images(batches=batches, shape=SHAPE)


def mean_errors(source: Path, made: Path) -> Any:
    """Of the channels of the first convolution."""
    batch = np.concatenate(list(images()))
    first, second = (open_as_written(onnx.load(path)).run(["a"], {"image": batch})[0] for path in (source, made))
    return (first - second).mean(axis=(0, 2, 3))


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_channels_are_right_on_average(tmp_path: Path, groups: int, target: Any) -> None:
    source = skewed(tmp_path, groups=groups)
    found = {
        correct: quantize(
            source, images(), tmp_path / f"{correct}.onnx", method="minmax", bias_correction=correct, target=target
        )
        for correct in (False, True)
    }

    before, after = (np.abs(mean_errors(source, tmp_path / f"{correct}.onnx")).mean() for correct in (False, True))
    assert after < before / 4
    assert found[True].bias_correction
    worst = [report.in_sample.worst_db() for report in found.values() if report.in_sample]
    assert worst[1] > worst[0]


def test_corrected_biases_are_of_32_bits_for_onnx_runtime_as_others_are(tmp_path: Path) -> None:
    quantize(skewed(tmp_path), images(), tmp_path / "o", method="minmax", bias_correction=True, target="onnxruntime")
    graph = onnx.load(tmp_path / "o").graph
    makers = {name: node for node in graph.node for name in node.output}
    types = {item.name: item.data_type for item in graph.initializer}
    biases = [makers[node.input[2]] for node in graph.node if node.op_type == "Conv"]
    assert [bias.op_type for bias in biases] == ["DequantizeLinear"] * 2
    assert {types[bias.input[0]] for bias in biases} == {onnx.TensorProto.INT32}


def test_nothing_but_biases_changes(tmp_path: Path) -> None:
    source = skewed(tmp_path)
    options: dict[str, Any] = {"method": "mse", "agreement": False, "trt_version": "10.3.0"}
    for correct in (False, True):
        name = tmp_path / str(correct)
        quantize(source, images(), f"{name}.onnx", bias_correction=correct, trt_cache=f"{name}.bin", **options)
    plain, corrected = (onnx.load(tmp_path / f"{correct}.onnx") for correct in (False, True))

    held = {item.name: numpy_helper.to_array(item) for item in corrected.graph.initializer}
    for item in plain.graph.initializer:
        if item.name != "a.b":
            np.testing.assert_array_equal(held[item.name], numpy_helper.to_array(item))
    layers = [[node for node in model.graph.node if node.op_type == "Conv"] for model in (plain, corrected)]
    assert [len(node.input) for node in layers[0]] == [3, 2]
    assert [len(node.input) for node in layers[1]] == [3, 3]
    assert [node.input[:2] for node in layers[0]] == [node.input[:2] for node in layers[1]]
    assert (tmp_path / "True.bin").read_bytes() == (tmp_path / "False.bin").read_bytes()


def test_auto_corrects_where_it_helps_and_says_so(tmp_path: Path) -> None:
    report = quantize(skewed(tmp_path), images(8), tmp_path / "o.onnx", agreement=False)

    assert report.choice is not None
    assert report.choice.biases is not None
    assert report.bias_correction == (report.choice.biases[1] > report.choice.biases[0] + 0.2)
    assert report.bias_correction
    assert report.choice.agreement.worst_db() == report.choice.biases[1]
    assert reproduce(tmp_path / "float.onnx", images(8), tmp_path / "o.onnx").is_same
    off = quantize(skewed(tmp_path), images(8), tmp_path / "p.onnx", agreement=False, bias_correction=False)
    assert off.choice is not None
    assert (off.bias_correction, off.choice.biases) == (False, None)
    assert not quantize(skewed(tmp_path), images(), tmp_path / "q.onnx", method="mse", agreement=False).bias_correction


def test_the_same_bits_for_any_order_batch_size_and_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = np.concatenate(list(images(4)))
    source = skewed(tmp_path)

    def made(order: Any, size: int, processors: int) -> bytes:
        monkeypatch.setattr("int8cal.models.passes.usable_cores", lambda: processors)
        batches = list(every[order].reshape(-1, size, *SHAPE[1:]))
        quantize(
            source, batches, tmp_path / "o.onnx", method="mse", bias_correction=True, agreement=False, overwrite=True
        )
        return onnx.load(tmp_path / "o.onnx").graph.SerializeToString(deterministic=True)

    first = made(np.arange(16), 4, 1)
    assert made(np.arange(16)[::-1], 8, 3) == first
    assert made(np.r_[5:16, :5], 1, 2) == first


def test_it_does_not_go_with_a_search(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without corrected biases") as raised:
        quantize(skewed(tmp_path), images(), tmp_path / "o.onnx", bias_correction=True, min_agreement=20)

    assert raised.value.hint is not None
    assert "--min_agreement" in raised.value.hint


def test_images_are_drawn_by_their_bits_and_never_those_held_out() -> None:
    digests = [bytes([value]) for value in np.random.default_rng(0).permutation(40)]

    drawn = images_for_bias(digests, without={digests.index(b"\0"), digests.index(b"\2")})
    assert {digests[number] for number in drawn} == {bytes([value]) for value in (1, *range(3, MOST_IMAGES + 2))}
    assert images_for_bias(digests[:3]) == {0, 1, 2}
