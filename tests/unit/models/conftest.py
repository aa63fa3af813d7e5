"""Small ONNX models with everything that INT8 placement has to get right, and images to calibrate them with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from int8cal.models.quantize import quantize

quantize_fast = partial(quantize, method="minmax")
"""For tests of placement, names and files, which do not look at what the methods find."""

SHAPE = (4, 3, 16, 24)


@dataclass
class Images:
    """Re-iterable batches of uniform noise in [0, 1), the same at every pass."""

    batches: int = 4
    shape: tuple[int, int, int, int] = SHAPE
    seed: int = 0
    scale: float = 1.0

    paths: tuple[str, ...] = ()

    @property
    def image_count(self) -> int:
        return self.batches * self.shape[0]

    def encoded_sha256(self) -> dict[int, bytes]:
        return {}

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[np.ndarray]:
        generator = np.random.default_rng(self.seed)
        for _ in range(self.batches):
            yield generator.random(self.shape, dtype=np.float32) * np.float32(self.scale)


class Builder:
    """Collects nodes and weights; every tensor is named by its caller."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        self.random = np.random.default_rng(7)

    def weight(self, name: str, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:])) or 1
        self.weights[name] = (self.random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
        return name

    def node(self, op: str, inputs: list[str], output: str, name: str | None = None, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv_bn_relu(self, source: str, name: str, channels: tuple[int, int], stride: int = 1) -> str:
        kernel = self.weight(f"{name}.w", channels[1], channels[0], 3, 3)
        conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [stride, stride]}
        self.node("Conv", [source, kernel], f"{name}.raw", f"{name}/conv", **conv)
        for part in ("scale", "bias", "mean", "var"):
            self.weight(f"{name}.{part}", channels[1])
        self.weights[f"{name}.var"] = np.abs(self.weights[f"{name}.var"]) + 0.5
        statistics = [f"{name}.{part}" for part in ("scale", "bias", "mean", "var")]
        self.node("BatchNormalization", [f"{name}.raw", *statistics], f"{name}.norm", f"{name}/bn")
        return self.node("Relu", [f"{name}.norm"], name, f"{name}/relu")


def build(
    *, opset: int = 17, batch: int | str | None = "N", layout: str = "nchw", shape: Any = None
) -> onnx.ModelProto:
    """A residual net; outputs: ``up`` of a transposed convolution, ``prob`` of products."""
    net = Builder()
    image = "image"
    if layout == "nhwc":
        image = net.node("Transpose", ["image"], "image.nchw", perm=[0, 3, 1, 2])
    first = net.conv_bn_relu(image, "first", (3, 16), stride=2)
    second = net.conv_bn_relu(first, "second", (16, 16))
    joined = net.node("Add", [first, second], "joined", "join")
    net.node("ConvTranspose", [joined, net.weight("up.w", 16, 16, 2, 2)], "up", "up", strides=[2, 2])
    pixels = net.node("Transpose", [joined], "pixels", perm=[0, 2, 3, 1])
    product = net.node("MatMul", [pixels, net.weight("head.w", 16, 6)], "product", "head")
    scores = net.node("Add", [product, net.weight("head.b", 6)], "scores", "head/bias")
    channels = net.node("Transpose", [scores], "channels", perm=[0, 3, 1, 2])
    pooled = net.node("GlobalAveragePool", [channels], "pooled")
    flat = net.node("Flatten", [pooled], "flat")
    net.node("Gemm", [flat, net.weight("dense.w", 4, 6), net.weight("dense.b", 4)], "hidden", "dense", transB=1)
    net.node("Softmax", ["hidden"], "prob", axis=1)

    dims = shape or {"nchw": list(SHAPE[1:]), "nhwc": [SHAPE[2], SHAPE[3], SHAPE[1]]}[layout]
    up = [batch, 16, SHAPE[2], SHAPE[3]]
    graph = helper.make_graph(
        net.nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *dims])],
        [
            helper.make_tensor_value_info("up", TensorProto.FLOAT, up),
            helper.make_tensor_value_info("prob", TensorProto.FLOAT, [batch, 4]),
        ],
        [numpy_helper.from_array(value, name) for name, value in net.weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def fails_from(brightness: int) -> Callable[[onnx.ModelProto], None]:
    """Makes `build`'s model fail on images with a value of this brightness or more."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        graph.initializer.append(numpy_helper.from_array(np.ones(brightness, np.float32), "table"))
        graph.node[-1].input[0] = "looked_up"
        last = graph.node.pop()
        graph.node.extend(
            [
                helper.make_node("ReduceMax", ["image"], ["brightest"], keepdims=0),
                helper.make_node("Cast", ["brightest"], ["row"], to=TensorProto.INT64),
                helper.make_node("Gather", ["table", "row"], ["factor"]),
                helper.make_node("Mul", ["hidden", "factor"], ["looked_up"]),
                last,
            ]
        )

    return change


@pytest.fixture
def images() -> type[Images]:
    """Makes `Images`."""
    return Images


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a variant of the small model (see `build`) and give its path; ``change`` may edit it first."""

    def make(
        name: str = "float.onnx", change: Callable[[onnx.ModelProto], object] | None = None, **options: Any
    ) -> Path:
        model = build(**options)
        if change:
            change(model)
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return path

    return make
