"""Inputs of models: other types than float32, and others besides the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.unit.models.conftest import SHAPE, Builder

from int8cal.errors import ImageShapeError, UsageError, UseError
from int8cal.models.binding import bind_input
from int8cal.models.compare import compare
from int8cal.models.computable import computable
from int8cal.models.probe import probe
from int8cal.models.quantize import quantize
from int8cal.models.runner import Runner


def model(kind: int = TensorProto.FLOAT, **others: tuple[int, list[Any] | None]) -> onnx.ModelProto:
    """A convolution, times whatever comes in besides."""
    net = Builder()
    image = net.node("Cast", ["image"], "as_float", to=TensorProto.FLOAT)
    last = net.node("Conv", [image, net.weight("w", 8, 3, 1, 1)], "conv", "conv")
    for name in others:
        number = net.node("Cast", [name], f"{name}.float", to=TensorProto.FLOAT)
        net.weights["axes"] = np.array([1, 2])
        wide = net.node("Unsqueeze", [number, "axes"], f"{name}.wide") if len(others[name][1]) == 2 else number
        last = net.node("Mul", [last, wide], f"times_{name}")
    graph = helper.make_graph(
        net.nodes,
        "g",
        [
            helper.make_tensor_value_info("image", kind, ["N", *SHAPE[1:]]),
            *(helper.make_tensor_value_info(name, *info) for name, info in others.items()),
        ],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", 8, *SHAPE[2:]])],
        [onnx.numpy_helper.from_array(value, name) for name, value in net.weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FACTOR = (TensorProto.FLOAT, ["N", 1])


def outputs(of: onnx.ModelProto, images: np.ndarray, **constants: Any) -> np.ndarray:
    binding = bind_input(of, images.shape, constants=constants)
    name = of.graph.output[0].name
    return Runner(of, [name], binding).values(images)[name]


@pytest.mark.parametrize(
    ("info", "value"),
    [
        pytest.param(FACTOR, 0.5, id="for each image"),
        pytest.param((TensorProto.FLOAT, ["N", SHAPE[3]]), [0.5], id="one number for many"),
        pytest.param((TensorProto.FLOAT, ["N", "M"]), np.full(SHAPE[3], 0.5), id="as many as there are"),
        pytest.param((TensorProto.FLOAT, []), 0.5, id="no dimensions"),
        pytest.param((TensorProto.FLOAT, [1, 1]), 0.5, id="for all images"),
        pytest.param((TensorProto.DOUBLE, [1]), 0.5, id="float64"),
        pytest.param((TensorProto.FLOAT16, [1]), 0.5, id="float16"),
    ],
)
def test_another_input_is_given_a_constant(info: Any, value: Any) -> None:
    images = np.random.default_rng(0).random(SHAPE, dtype=np.float32)

    scaled = outputs(model(factor=info), images, factor=value)

    np.testing.assert_array_equal(scaled, outputs(model(), images) * np.float32(0.5))


def test_whole_numbers_and_truth_values_are_given_too() -> None:
    images = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    plain = outputs(model(), images)

    np.testing.assert_array_equal(outputs(model(k=(TensorProto.INT64, ["N", 1])), images, k=3), plain * 3)
    np.testing.assert_array_equal(outputs(model(k=(TensorProto.BOOL, [1])), images, k=1), plain)


@pytest.mark.parametrize("value", [[1, 2, 3], [], "x", [[None]]], ids=["too many", "none", "text", "nothing"])
def test_a_value_that_does_not_fit_its_input(value: Any) -> None:
    with pytest.raises(UsageError, match="factor") as caught:
        bind_input(model(factor=FACTOR), SHAPE, constants={"factor": value})
    assert "--input factor=VALUE" in str(caught.value.hint)


def test_half_a_whole_number_is_none() -> None:
    with pytest.raises(UsageError, match=r"takes int64, not 0\.5"):
        bind_input(model(k=(TensorProto.INT64, [1])), SHAPE, constants={"k": 0.5})


def test_an_input_without_a_value_is_named_with_the_option() -> None:
    with pytest.raises(UseError, match=r"2 inputs \('image', 'factor'\)") as caught:
        bind_input(model(factor=FACTOR), SHAPE)
    assert "--input factor=VALUE" in str(caught.value.hint)
    with pytest.raises(UseError, match="no input 'other'"):
        bind_input(model(), SHAPE, constants={"other": 1})
    with pytest.raises(UseError, match="0 inputs"):
        bind_input(model(), SHAPE, constants={"image": 1})


@pytest.mark.parametrize(("others", "name", "said"), [
    ({"sf": ["N", 1, 1, 1]}, None, "no images a value: --input sf=VALUE, such as 1."),
    ({"sf": ["N", 1, 1, 1], "im shape": ["N", 2]}, None, "--input sf=VALUE --input 'im shape'=VALUE, such"),
    ({"other": ["N", *SHAPE[1:]]}, "image", "no images a value: --input other=VALUE, such as 1."),
    ({"other": ["N", *SHAPE[1:]], "k": [1]}, None,
     "all but the one that takes the images a value: --input image=VALUE or --input other=VALUE or --input k=VALUE"),
])  # fmt: skip
def test_inputs_without_a_value_are_named_whatever_their_shape(
    others: dict[str, list[Any]], name: str | None, said: str
) -> None:
    of = model()
    of.graph.input.extend(
        helper.make_tensor_value_info(other, TensorProto.FLOAT, shape) for other, shape in others.items()
    )
    with pytest.raises(UseError, match=f"the model has {1 + len(others)} inputs") as caught:
        bind_input(of, SHAPE, name=name)
    assert said in str(caught.value.hint)


def test_the_input_of_the_images_takes_no_value() -> None:
    with pytest.raises(UsageError, match="input 'image' takes the images, and no value"):
        bind_input(model(factor=FACTOR), SHAPE, name="image", constants={"image": 1, "factor": 1})


def test_images_that_look_like_nhwc_are_named_so() -> None:
    images, channels, height, width = SHAPE
    with pytest.raises(ImageShapeError, match=rf"samples of {height}×{width}×{channels} .* look like H×W×C") as caught:
        bind_input(model(), (images, height, width, channels))
    assert "values.transpose(0, 3, 1, 2)" in caught.value.hint
    with pytest.raises(ImageShapeError, match="does not fit") as caught:
        bind_input(model(), (images, channels, height, width + 1))
    assert "transpose" not in caught.value.hint


def test_it_stays_an_input_of_the_int8_model(images: Any, tmp_path: Path) -> None:
    source, out = tmp_path / "m.onnx", tmp_path / "int8.onnx"
    source.write_bytes(model(factor=FACTOR).SerializeToString())

    report = quantize(source, images(), out, constants={"factor": 0.5})

    result = onnx.load(out)
    assert [value.name for value in result.graph.input] == ["image", "factor"]
    again = compare(source, out, images(), constants={"factor": 0.5}).agreement.outputs[0]
    assert again.sqnr_db == report.in_sample.outputs[0].sqnr_db
    parts, shown = computable(onnx.load(source)), next(iter(images()))
    seen = probe(parts, shown, parts.bind(shown.shape, constants={"factor": 0.5}))
    assert list(seen.outputs) == ["times_factor"]


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT32, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_images_are_converted_to_the_type_of_the_input(kind: int, images: Any, tmp_path: Path) -> None:
    whole = np.rint(np.random.default_rng(0).random(SHAPE) * 255).astype(np.float32)

    np.testing.assert_allclose(outputs(model(kind), whole), outputs(model(), whole), rtol=1e-6)

    class Whole(images):  # type: ignore[misc]
        def __iter__(self) -> Any:
            return (np.rint(batch * 255) for batch in super().__iter__())

    source = tmp_path / "m.onnx"
    source.write_bytes(model(kind).SerializeToString())
    report = quantize(source, Whole(), tmp_path / "int8.onnx")
    assert report.in_sample.outputs[0].sqnr_db > 25
    kept = TensorProto.FLOAT if kind == TensorProto.FLOAT16 else kind  # 16-bit floats become float32
    assert onnx.load(tmp_path / "int8.onnx").graph.input[0].type.tensor_type.elem_type == kept


@pytest.mark.parametrize("value", [0.25, -1.0, 256.0, np.nan])
def test_images_that_are_no_whole_numbers_do_not_become_some(value: float) -> None:
    images = np.zeros(SHAPE, np.float32)
    images[1, 2, 3, 4] = value

    with pytest.raises(UseError, match="takes uint8, whole numbers from 0 to 255, and the images hold others"):
        outputs(model(TensorProto.UINT8), images)


def test_an_input_that_takes_no_numbers_says_what_it_takes() -> None:
    with pytest.raises(UseError, match="takes tensors of string, no images"):
        computable(model(TensorProto.STRING)).bind(SHAPE)


@pytest.mark.parametrize(
    ("dims", "shape", "option"),
    [
        (["N", 3, "H", "W"], (4, 3, 8, 10), "--shapes=a/b:0:1x3x8x10"),
        (["N", "H", "W", 3], (4, 3, 8, 10), "--shapes=a/b:0:1x8x10x3"),
        ([2, 3, "H", "W"], (4, 3, 8, 10), "--shapes=a/b:0:2x3x8x10"),
        ([2, 3, 8, 10], (4, 3, 8, 10), ""),
    ],
)
def test_what_trtexec_is_told_of_free_dimensions(dims: list[Any], shape: tuple[int, ...], option: str) -> None:
    value = helper.make_tensor_value_info("a/b:0", TensorProto.FLOAT, dims)
    empty = helper.make_model(helper.make_graph([], "g", [value], []))
    assert bind_input(empty, shape).shapes_option == option
