"""From a float model and images to an INT8 model: placement as TensorRT wants it, and numbers that are right."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.unit.models.conftest import SHAPE, Builder, fails_from, quantize_fast

from int8cal.errors import OutputError, OutputExistsError, UsageError, UseError
from int8cal.exports import readers
from int8cal.models.binding import InputBinding
from int8cal.models.graph import lost_activations, prepare
from int8cal.models.qdq import insert_qdq
from int8cal.models.quantize import quantize
from int8cal.models.runner import Runner
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.writer import TensorFileWriter
from int8cal.tensorrt.cache import read_cache
from int8cal.types import METHODS

MakeModel = Callable[..., Path]


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def producer(model: onnx.ModelProto) -> dict[str, Any]:
    return {output: node for node in model.graph.node for output in node.output}


@pytest.mark.parametrize("fold_weights", [False, True])
@pytest.mark.parametrize("opset", [11, 17])
def test_q_dq_stands_where_tensorrt_wants_it(
    make_model: MakeModel, images: Any, tmp_path: Path, opset: int, fold_weights: bool
) -> None:
    out = tmp_path / "int8.onnx"

    report = quantize_fast(make_model(opset=opset), images(), out, fold_weights=fold_weights)

    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    values, made_by = constants(model), producer(model)
    assert report.opset == (opset, max(opset, 13))
    assert [entry.domain for entry in model.opset_import] == [""]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}

    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for node in pairs:
        zero_point = values[node.input[2]]
        assert zero_point.dtype == np.int8
        assert not zero_point.any()
        assert (values[node.input[1]] > 0).all()

    axes = {"Conv": (0, 16), "ConvTranspose": (1, 16), "MatMul": (1, 6)}
    weighted = [node for node in model.graph.node if node.op_type in axes]
    assert sorted(node.op_type for node in weighted) == ["Conv", "Conv", "ConvTranspose", "MatMul"]
    for node in weighted:
        axis, channels = axes[node.op_type]
        dequantize = made_by[node.input[1]]
        assert dequantize.op_type == made_by[node.input[0]].op_type == "DequantizeLinear"
        assert {a.name: a.i for a in dequantize.attribute}["axis"] == axis
        assert values[dequantize.input[1]].shape == (channels,)
        assert (dequantize.input[0] in values) == fold_weights
        for bias in node.input[2:]:
            assert values[bias].dtype == np.float32
        if node.op_type == "Conv":  # TensorRT fuses the ReLU; a pair in between would prevent it
            readers = [reader.op_type for reader in model.graph.node if node.output[0] in reader.input]
            assert readers == ["Relu"]

    residual = next(node for node in model.graph.node if node.output[0] == "joined")
    assert [made_by[name].op_type for name in residual.input] == ["DequantizeLinear", "Relu"]
    dense = next(node for node in model.graph.node if node.op_type == "Gemm")  # one row for each image
    assert dense.input[1] in values
    assert made_by[dense.input[0]].op_type == "Flatten"
    bias_add = next(node for node in model.graph.node if node.name == "head/bias")
    assert made_by[bias_add.input[0]].op_type == "MatMul"


@pytest.mark.parametrize("method", METHODS)
def test_int8_outputs_are_close_to_float_with_every_method(
    make_model: MakeModel, images: Any, tmp_path: Path, method: Any
) -> None:
    report = quantize_fast(
        make_model(), images(), tmp_path / "int8.onnx", method=method, evaluation=images(batches=2, seed=99)
    )

    assert report.held_out is not None
    assert report.in_sample is not None
    assert (report.images, report.in_sample.images, report.held_out.images) == (16, 16, 8)
    assert [output.name for output in report.held_out.outputs] == ["up", "prob"]
    for output in report.held_out.outputs:
        assert output.sqnr_db > 25.0
        assert output.cosine > 0.998
    assert report.held_out.outputs[1].top1 == 1.0
    assert report.held_out.outputs[0].top1 is None
    assert {layer.name for layer in report.in_sample.layers} == {"first.norm", "second.norm", "hidden", "product"}
    assert report.in_sample.worst_layers(1)[0].sqnr_db == min(layer.sqnr_db for layer in report.in_sample.layers)


def test_reported_agreement_is_that_of_the_written_file(make_model: MakeModel, images: Any, tmp_path: Path) -> None:
    source, out, held_out = make_model(), tmp_path / "int8.onnx", images(batches=1, seed=5)

    report = quantize_fast(source, images(), out, evaluation=held_out)

    batch = next(iter(held_out))
    first, second = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["up"], {"image": batch})[0]
        for path in (source, out)
    )
    expected = 10 * np.log10((first**2).sum() / ((first - second) ** 2).sum())
    assert report.held_out is not None
    assert report.held_out.outputs[0].sqnr_db == pytest.approx(expected, abs=0.2)
    assert (report.float_bytes, report.int8_bytes) == (source.stat().st_size, out.stat().st_size)


def test_box_centres_stay_where_they_are(images: Any, tmp_path: Path) -> None:
    """Distances to the sides from anchor points, as YOLO has them: INT8 sums of coordinates would be off by pixels."""
    net = Builder()
    features = net.conv_bn_relu(net.conv_bn_relu("image", "first", (3, 16), stride=2), "second", (16, 16), stride=2)
    bins = net.node("Conv", [features, net.weight("bins.w", 16, 16, 1, 1)], "bins", "bins", kernel_shape=[1, 1])
    rows, columns = SHAPE[2] // 4, SHAPE[3] // 4
    y, x = np.mgrid[:rows, :columns].reshape(2, -1) + 0.5
    net.weights |= {
        "anchors": np.stack([x, y])[None].astype(np.float32),
        "stride": np.full((1, 1, 1), 80, np.float32),
        "two": np.float32(2),
        "boxed": np.array([0, 4, 4, rows * columns]),
        "axis": np.array([2]),
        "halves": np.array([2, 2]),
    }
    distances = net.node("Relu", [net.node("Reshape", [bins, "boxed"], "shaped")], "distances")
    net.node("ReduceMean", [distances], "sides", axes=[2], keepdims=0)
    net.nodes.append(helper.make_node("Split", ["sides", "halves"], ["before", "behind"], axis=1))
    first = net.node("Sub", ["anchors", "before"], "first corner")
    second = net.node("Add", ["anchors", "behind"], "second corner")
    centre = net.node("Div", [net.node("Add", [first, second], "sum", "sum"), "two"], "centre")
    sizes = net.node("Sub", [second, first], "sizes")
    net.node("Mul", [net.node("Concat", [centre, sizes], "both", axis=1), "stride"], "boxes")
    graph = helper.make_graph(
        net.nodes,
        "decode",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *SHAPE[1:]])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", 4, rows * columns])],
        [numpy_helper.from_array(value, name) for name, value in net.weights.items()],
    )
    source, out = tmp_path / "decode.onnx", tmp_path / "int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)

    report = quantize_fast(source, images(), out, trt_cache=tmp_path / "cache", trt_version="10.3.0")

    assert set(report.placement.reads) == {"first/conv", "second/conv", "bins"}
    assert "sum" in read_cache(tmp_path / "cache").amax
    float_boxes, int8_boxes = (
        Runner(onnx.load(path), ["boxes"], InputBinding("image", "nchw", None)).values(next(iter(images(seed=8))))
        for path in (source, out)
    )
    off = np.abs(float_boxes["boxes"] - int8_boxes["boxes"])[:, :2]
    assert float_boxes["boxes"][:, :2].max() > 400  # so a step of INT8 would be 3 pixels
    assert off.mean() < 1.0
    assert off.max() < 3.0


@pytest.mark.parametrize(("seed", "shared"), [(0, 8), (1, 0)])
def test_evaluation_images_that_were_used_to_calibrate_are_counted_by_their_bits(
    make_model: MakeModel, images: Any, tmp_path: Path, seed: int, shared: int
) -> None:
    report = quantize_fast(make_model(), images(), tmp_path / "int8.onnx", evaluation=images(batches=2, seed=seed))

    assert report.held_out is not None
    assert (report.held_out.images, report.shared_images) == (8, shared)


def test_minmax_scales_are_the_largest_activation_over_127(make_model: MakeModel, images: Any, tmp_path: Path) -> None:
    source, out = make_model(), tmp_path / "int8.onnx"

    report = quantize_fast(source, images(), out, method="minmax")

    model = onnx.load(source)
    model.graph.output.extend([onnx.ValueInfoProto(name="first")])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    largest = max(np.abs(session.run(["first"], {"image": batch})[0]).max() for batch in images())
    assert report.amax["first"] == pytest.approx(largest, rel=1e-5)
    assert constants(onnx.load(out))["first_scale"] == pytest.approx(largest / 127, rel=1e-5)


def test_result_depends_on_neither_batch_size_nor_fixed_batch(
    make_model: MakeModel, images: Any, tmp_path: Path
) -> None:
    class Split:
        """The same images in other batches."""

        def __init__(self, size: int) -> None:
            self.all = np.concatenate(list(images()))
            self.shape = (size, *self.all.shape[1:])

        def __len__(self) -> int:
            return len(self.all) // self.shape[0]

        def __iter__(self) -> Any:
            return iter(self.all.reshape(-1, *self.shape))

    def ranges_of(batch: Any, size: int) -> dict[str, float]:
        source = make_model(f"{batch}.onnx", batch=batch)
        return quantize_fast(source, Split(size), tmp_path / f"{batch}-{size}.onnx", method="entropy").amax

    first = ranges_of("N", 4)
    for batch, size in (("N", 1), ("N", 16), (1, 4)):
        assert ranges_of(batch, size) == first  # in every bit
    for batch, size in ((3, 4), (16, 2)):
        assert ranges_of(batch, size) == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_scales_are_the_same_bits_for_any_order_batch_size_and_number_of_threads(
    make_model: MakeModel, images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    """Images of very different loudness: the histograms' ranges double at another moment in each order."""
    loudness = np.float32(1.7) ** np.random.default_rng(3).integers(-9, 9, (16, 1, 1, 1))
    every = np.concatenate(list(images())) * loudness.astype(np.float32)
    source = make_model()

    def scales(order: Any, size: int, processors: int) -> dict[str, bytes]:
        monkeypatch.setattr("int8cal.models.passes.usable_cores", lambda: processors)
        batches = list(every[order].reshape(-1, size, *every.shape[1:]))
        out = tmp_path / "o"
        quantize_fast(source, batches, out, method=method, agreement=False, force=True, overwrite=True)
        held = {item.name: numpy_helper.to_array(item).tobytes() for item in onnx.load(out).graph.initializer}
        return {name: values for name, values in held.items() if name.endswith("_scale")}

    first = scales(np.arange(16), 4, 1)
    assert {"image_scale", "first_scale", "up.w_scale"} <= first.keys()
    for order, size, processors in ((np.arange(16)[::-1], 4, 1), (np.arange(16), 1, 5), (np.r_[5:16, :5], 16, 3)):
        assert scales(order, size, processors) == first


def test_nhwc_model_gives_the_ranges_of_its_nchw_twin(make_model: MakeModel, images: Any, tmp_path: Path) -> None:
    first = quantize_fast(make_model("a.onnx"), images(), tmp_path / "a8.onnx")
    second = quantize_fast(make_model("b.onnx", layout="nhwc"), images(), tmp_path / "b8.onnx")

    assert (first.input.layout, second.input.layout) == ("nchw", "nhwc")
    assert second.amax["first"] == pytest.approx(first.amax["first"], rel=1e-6)


def test_weights_listed_as_inputs_are_weights_all_the_same(make_model: MakeModel, images: Any, tmp_path: Path) -> None:
    def as_old_exporters_do(model: onnx.ModelProto) -> None:
        model.ir_version = 3
        for item in model.graph.initializer:
            model.graph.input.append(onnx.helper.make_tensor_value_info(item.name, item.data_type, item.dims))

    old = quantize_fast(make_model("a.onnx", change=as_old_exporters_do, opset=11), images(), tmp_path / "a8.onnx")
    new = quantize_fast(make_model("b.onnx"), images(), tmp_path / "b8.onnx")

    model = onnx.load(tmp_path / "a8.onnx")
    assert [value.name for value in model.graph.input] == ["image"]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert (old.nodes, old.amax) == (new.nodes, pytest.approx(new.amax, rel=1e-5))


def test_cache_lists_every_activation_in_order_with_the_header_asked_for(
    make_model: MakeModel, images: Any, tmp_path: Path
) -> None:
    report = quantize_fast(
        make_model(), images(), tmp_path / "int8.onnx", trt_cache=tmp_path / "cal.bin", trt_version="8.6.1"
    )

    cache = read_cache(tmp_path / "cal.bin")
    assert cache.header == "TRT-8601-EntropyCalibration2"
    assert next(iter(cache.amax)) == "image"
    assert {"first", "joined", "up", "prob"} <= cache.amax.keys()
    assert not {"first.w", "head.b"} & cache.amax.keys()
    assert {name: cache.amax[name] for name in report.amax} == pytest.approx(report.amax, rel=1e-6)


def test_activations_that_the_cache_does_not_list_are_named(images: Any, tmp_path: Path) -> None:
    nodes = [
        NODE("Identity", ["image"], ["same"]),
        NODE("Conv", ["same", "w"], ["raw"], "a"),
        NODE("BatchNormalization", ["raw", "scale", "bias", "mean", "var"], ["norm"]),
        NODE("Mul", ["norm", "factor"], ["scaled"]),
        NODE("Relu", ["scaled"], ["active"]),
        NODE("Identity", ["w"], ["constant"]),
        NODE("ConvTranspose", ["active", "constant"], ["y"], "b"),
    ]
    names = ("scale", "bias", "mean", "var")
    weights = {"w": KERNEL, **{name: np.arange(1.0, 17.0) for name in names}, "factor": np.full((1, 16, 1, 1), 2.0)}
    source = small(nodes, weights, ["N", 3, 16, 24])(tmp_path / "m")

    report = quantize_fast(source, images(), tmp_path / "o", trt_cache=tmp_path / "c", trt_version="10.3.0")

    listed = read_cache(tmp_path / "c").amax
    assert "active" in listed
    assert set(report.unlisted) >= {"same", "raw"}
    assert not set(report.unlisted) & listed.keys()
    assert set(report.listed_in_float) == listed.keys() - report.amax.keys() != set()
    assert set(report.unlisted) | listed.keys() == {"image", "same", "raw", "norm", "scaled", "active", "y"}


def test_what_reads_no_activation_is_no_lost_one(tmp_path: Path) -> None:
    nodes = [
        NODE("Conv", ["image", "w"], ["a"], "a"),
        NODE("MaxPool", ["a"], ["p", ""], "pool", kernel_shape=[2, 2]),
        NODE("Clip", ["k", "", "high"], ["clipped"], "clip"),
        NODE("Mul", ["p", "clipped"], ["y"], "mul"),
    ]
    weights = {"w": KERNEL, "k": np.ones((1, len(KERNEL), 1, 1), np.float32), "high": np.float32(1)}
    model = onnx.load(small(nodes, weights, ["N", None, None, None])(tmp_path / "m"))
    assert lost_activations(model, prepare(model)) == []


def test_excluded_nodes_stay_float(make_model: MakeModel, images: Any, tmp_path: Path) -> None:
    report = quantize_fast(make_model(), images(), tmp_path / "int8.onnx", exclude=["second/*", "head", "join"])

    model = onnx.load(tmp_path / "int8.onnx")
    assert report.excluded == ("second/conv", "head")
    by_name = {node.name: node for node in model.graph.node}
    made_by = producer(model)
    assert by_name["head"].input[1] == "head.w"
    assert made_by[by_name["head"].input[0]].op_type == "Transpose"
    assert [made_by[name].op_type for name in by_name["join"].input] == ["Relu", "Relu"]


def test_same_inputs_give_the_same_bytes(make_model: MakeModel, images: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        quantize_fast(make_model(), images(), tmp_path / name, agreement=False)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tensors_that_are_always_0_are_reported_as_inactive(images: Any, tmp_path: Path) -> None:
    nodes = [
        NODE("Neg", ["image"], ["negative"]),
        NODE("Relu", ["negative"], ["dead"]),
        NODE("Conv", ["dead", "w"], ["y"], "a"),
    ]
    source = small(nodes, {"w": KERNEL}, ["N", 16, 14, 22])(tmp_path / "m")

    report = quantize_fast(source, images(), tmp_path / "int8.onnx", force=True)

    assert report.inactive == ("dead",)
    assert constants(onnx.load(tmp_path / "int8.onnx"))["dead_scale"] == 1.0


@pytest.mark.parametrize("method", ["auto", *METHODS])
@pytest.mark.parametrize("options", [{}, {"target": "onnxruntime"}, {"precision": "fp16"}, {"fold_weights": True}])
def test_what_float32_has_no_scale_for_is_as_good_as_0(
    images: Any, tmp_path: Path, options: dict[str, Any], method: Any
) -> None:
    nodes = [
        NODE("Mul", ["image", "factor"], ["faint"]),
        NODE("Conv", ["faint", "w"], ["still"], "still", pads=[1] * 4),
        NODE("Conv", ["image", "w.faint", "b"], ["mixed"], "mixed", pads=[1] * 4),
        NODE("Add", ["still", "mixed"], ["y"]),
    ]
    faint = KERNEL.copy()
    faint[0], faint[1] = 1e-44, 1e-37  # of the second the scale is not 0, but engines that flush take it for 0
    weights = {"w": KERNEL, "w.faint": faint, "b": np.full(16, 0.1, np.float32), "factor": np.float32(1e-44)}
    source, out = small(nodes, weights, ["N", 16, 16, 24])(tmp_path / "m"), tmp_path / "int8.onnx"

    more = {} if options.get("target") else {"trt_cache": tmp_path / "cal.bin", "trt_version": "10.3.0"}
    report = quantize(source, images(), out, method=method, **options, **more)

    scales = [values for name, values in constants(onnx.load(out)).items() if "_scale" in name]
    assert all(np.isfinite(scale).all() and (scale > 1e-38).all() for scale in scales)
    assert "faint" in report.inactive
    assert report.verdict is not None
    assert report.verdict.level == "good"
    if more:
        assert "faint" not in read_cache(tmp_path / "cal.bin").amax


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
@pytest.mark.parametrize("correct", [True, False])
def test_layers_without_channels_stay_float_and_are_named(
    images: Any, tmp_path: Path, target: Any, correct: bool
) -> None:
    nodes = [
        NODE("Conv", ["image", "w"], ["some"], "some", pads=[1] * 4),
        NODE("Conv", ["some", "w.none"], ["none"], "to_none", pads=[1] * 4),
        NODE("Relu", ["none"], ["none.relu"]),
        NODE("Conv", ["none.relu", "w.of_none", "b"], ["constant"], "of_none", pads=[1] * 4),
        NODE("Add", ["some", "constant"], ["sum"]),
        NODE("Conv", ["sum", "w.last"], ["y"], "last", pads=[1] * 4),
    ]
    shapes = {"w.none": (0, 16, 3, 3), "w.of_none": (16, 0, 3, 3)}
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    rest = np.random.default_rng(1).standard_normal((16, 16, 3, 3)).astype(np.float32)
    weights |= {"w": KERNEL, "w.last": rest, "b": np.full(16, 0.1, np.float32)}
    source = small(nodes, weights, ["N", 16, 16, 24])(tmp_path / "m")

    report = quantize_fast(source, images(), tmp_path / "int8.onnx", target=target, bias_correction=correct)

    assert report.placement.floated == {"to_none": "empty", "of_none": "empty"}
    assert [names for _, names in report.placement.left_out] == [("to_none", "of_none")]
    assert report.verdict is not None
    assert report.verdict.level == "good"


def weighted(model: onnx.ModelProto) -> dict[str, tuple[int | None, tuple[int, ...]]]:
    """Weighted node → axis and shape of its weight's scales; axis None where one scale serves all."""
    values, made_by = constants(model), producer(model)
    found: dict[str, tuple[int | None, tuple[int, ...]]] = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            dequantize = made_by[node.input[1]]
            axes = [attribute.i for attribute in dequantize.attribute if attribute.name == "axis"]
            found[node.name] = (axes[0] if axes else None, values[dequantize.input[1]].shape)
    return found


def small(
    nodes: list[Any], weights: dict[str, np.ndarray], shape: list[Any], outputs: tuple[str, ...] = ()
) -> Callable[[Path], Path]:
    """Writes a model of these nodes on the images, with the last node's output, of this shape, and others."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [value("image", 1, ["N", 3, 16, 24])],
        [value(nodes[-1].output[0], 1, shape), *(value(name, 1, ["N", None, None, None]) for name in outputs)],
        [
            *(numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()),
            numpy_helper.from_array(np.array([-1, 16]), "rows"),
            numpy_helper.from_array(np.array([-1, ROWS, (shape or [0])[-1] or 1]), "per image"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)

    def write(path: Path) -> Path:
        path.write_bytes(model.SerializeToString())
        return path

    return write


NODE = onnx.helper.make_node
RANDOM = np.random.default_rng(3)
KERNEL = RANDOM.standard_normal((16, 3, 3, 3)) / 5
WIDE = RANDOM.standard_normal((18, 16, 3, 3)) / 12
PIXELS = [NODE("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]), NODE("Reshape", ["t", "rows"], ["f"])]
BACK = NODE("Reshape", ["z", "per image"], ["y"])
ROWS = 14 * 22


@pytest.mark.parametrize("fold_weights", [False, True])
@pytest.mark.parametrize(
    ("nodes", "weights", "shape", "axes"),
    [
        pytest.param(
            [
                NODE("Conv", ["image", "k"], ["c"], "a"),
                NODE("Conv", ["c", "w"], ["d"], "b"),
                NODE("ConvTranspose", ["d", "w"], ["y"], "e"),
            ],
            {"k": KERNEL, "w": WIDE},
            ["N", 16, 14, 22],
            {"a": (0, (16,)), "b": (0, (18,)), "e": (1, (16,))},
            id="Conv and ConvTranspose",
        ),
        pytest.param(
            [
                NODE("Conv", ["image", "k"], ["c"], "a"),
                *PIXELS,
                NODE("MatMul", ["f", "w"], ["m"], "b"),
                NODE("Gemm", ["m", "w"], ["z"], "d", transB=1),
                BACK,
            ],
            {"k": KERNEL, "w": RANDOM.standard_normal((16, 16))},
            ["N", ROWS, 16],
            {"a": (0, (16,)), "b": (1, (16,)), "d": (0, (16,))},
            id="MatMul and transposed Gemm",
        ),
        pytest.param(
            [NODE("MatMul", ["image", "w"], ["y"], "a")],
            {"w": RANDOM.standard_normal((1, 3, 24, 5))},
            ["N", 3, 16, 5],
            {"a": (None, ())},
            id="stack of matrices",
        ),
        pytest.param(
            [NODE("MatMul", ["image", "w"], ["y"], "a")],
            {"w": RANDOM.standard_normal(24)},
            ["N", 3, 16],
            {"a": (None, ())},
            id="vector",
        ),
    ],
)
def test_each_node_has_its_weight_quantised_along_its_own_output_channels(
    images: Any, tmp_path: Path, nodes: Any, weights: Any, shape: Any, axes: Any, fold_weights: bool, caplog: Any
) -> None:
    out = tmp_path / "int8.onnx"

    report = quantize_fast(small(nodes, weights, shape)(tmp_path / "m"), images(), out, fold_weights=fold_weights)

    assert weighted(onnx.load(out)) == axes
    assert report.in_sample is not None
    assert report.in_sample.outputs[0].sqnr_db > 25
    assert not caplog.records


def test_a_node_left_in_float_keeps_the_float_weight_that_it_shares(images: Any, tmp_path: Path) -> None:
    nodes = [
        NODE("Conv", ["image", "k"], ["c"], "a"),
        NODE("Conv", ["c", "w"], ["d"], "b"),
        NODE("ConvTranspose", ["d", "w"], ["y"], "e"),
    ]
    source = small(nodes, {"k": KERNEL, "w": WIDE}, ["N", 16, 14, 22])(tmp_path / "m")

    quantize_fast(source, images(), tmp_path / "int8.onnx", exclude=["e"])

    model = onnx.load(tmp_path / "int8.onnx")
    assert next(node for node in model.graph.node if node.name == "e").input == ["d", "w"]
    assert constants(model)["w"] == pytest.approx(WIDE)


CONVOLVED = [NODE("Conv", ["image", "k"], ["c"], "a"), *PIXELS]
DENSE = {"k": KERNEL, "w": RANDOM.standard_normal((16, 5)), "b": 3 * RANDOM.standard_normal(5), "one": np.ones(1)}


@pytest.mark.parametrize("fold_weights", [False, True])
@pytest.mark.parametrize("bias", ["", "b", "one", "computed"])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 2.0), (0.5, -3.0), (2.0, 0.0)])
def test_a_gemm_keeps_its_factors(
    images: Any, tmp_path: Path, alpha: float, beta: float, bias: str, fold_weights: bool, caplog: Any
) -> None:
    gemm = NODE("Gemm", ["f", "w", *filter(None, [bias])], ["z"], "\x1b[31mg", alpha=alpha, beta=beta)
    nodes = [*CONVOLVED, NODE("ReduceMax", ["f"], ["computed"], axes=[1]), gemm, BACK]
    out = tmp_path / "int8.onnx"

    report = quantize_fast(
        small(nodes, DENSE, ["N", ROWS, 5])(tmp_path / "m"), images(), out, fold_weights=fold_weights
    )

    written = next(node for node in onnx.load(out).graph.node if node.op_type == "Gemm")
    assert {item.name: item.f for item in written.attribute} == {"alpha": alpha, "beta": beta}
    assert written.input[2:] == gemm.input[2:]
    assert report.in_sample is not None
    assert report.in_sample.outputs[0].sqnr_db > 30
    assert not caplog.records


def test_a_bias_that_two_nodes_share_is_neither_copied_nor_changed(images: Any, tmp_path: Path) -> None:
    nodes = [
        *CONVOLVED,
        NODE("Gemm", ["f", "w", "b"], ["first"], "g", beta=2.0),
        NODE("Gemm", ["f", "w", "b"], ["second"], "h", beta=0.5),
        NODE("Sub", ["first", "second"], ["z"]),
        BACK,
    ]

    report = quantize_fast(
        small(nodes, DENSE, ["N", ROWS, 5])(tmp_path / "m"), images(), tmp_path / "o", fold_weights=True, force=True
    )

    model = onnx.load(tmp_path / "o")
    assert [node.input[2] for node in model.graph.node if node.op_type == "Gemm"] == ["b", "b"]
    assert constants(model)["b"] == pytest.approx(DENSE["b"])
    assert report.in_sample is not None
    assert report.in_sample.outputs[0].sqnr_db > 30


def test_placement_keeps_every_node_as_it_was(images: Any, tmp_path: Path) -> None:
    nodes = [
        NODE("Pad", ["image", "pads"], ["padded"], mode="edge"),
        NODE("Conv", ["padded", "k"], ["c"], "a", strides=[2, 2], dilations=[1, 2], group=1),
        NODE("LeakyRelu", ["c"], ["l"], alpha=0.3),
        NODE("ConvTranspose", ["l", "t", "tb"], ["u"], "t", strides=[2, 1], output_padding=[1, 0]),
        NODE("Clip", ["u", "low", "high"], ["v"]),
        NODE("Softmax", ["v"], ["s"], axis=1),
        NODE("Mul", ["v", "s"], ["m"]),
        NODE("Add", ["m", "v"], ["y"], "sum"),
    ]
    weights = {"k": KERNEL, "t": RANDOM.standard_normal((16, 2, 3, 3)) / 12, "tb": np.ones(2), "low": -3, "high": 3}
    source = small(nodes, {name: np.asarray(value) for name, value in weights.items()}, ["N", 2, None, None])
    model = onnx.load(source(tmp_path / "m"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 1, 1] * 2), "pads"))
    (tmp_path / "m").write_bytes(model.SerializeToString())

    report = quantize_fast(tmp_path / "m", images(), tmp_path / "o")

    def what(path: Path) -> list[Any]:
        made = [node for node in onnx.load(path).graph.node if "antizeLinear" not in node.op_type]
        return [
            (node.op_type, list(node.output), [item for item in node.attribute if item.name != "kernel_shape"])
            for node in made
        ]

    assert sorted(map(str, what(tmp_path / "o"))) == sorted(map(str, what(tmp_path / "m")))
    assert report.in_sample is not None
    assert report.in_sample.outputs[0].sqnr_db > 25


@pytest.mark.parametrize("name", ["image_scale", "image_QuantizeLinear_Output", "w_DequantizeLinear_Output"])
@pytest.mark.parametrize("is_output", [False, True])
def test_names_that_the_quantiser_would_take_for_its_own_are_kept(
    images: Any, tmp_path: Path, name: str, is_output: bool
) -> None:
    nodes = [
        NODE("Conv", ["image", "w"], ["c"], "a"),
        NODE("Relu", ["c"], [name]),
        NODE("ConvTranspose", [name, "v"], ["y"], "b"),
    ]
    weights = {"w": KERNEL, "v": RANDOM.standard_normal((16, 16, 3, 3)) / 12}
    source = small(nodes, weights, ["N", 16, 16, 24], (name,) if is_output else ())(tmp_path / "m")

    report = quantize_fast(source, images(), tmp_path / "int8.onnx")

    model = onnx.load(tmp_path / "int8.onnx")
    assert producer(model)[name].op_type == "Relu"
    assert [value.name for value in model.graph.output] == ["y", name][: 1 + is_output]
    assert name in report.amax
    assert report.in_sample is not None
    assert all(output.sqnr_db > 25 for output in report.in_sample.outputs)


def test_outputs_that_are_read_as_well_stay_what_the_float_layer_gives(images: Any, tmp_path: Path) -> None:
    nodes = [NODE("Conv", ["image", "w"], ["c"], "a"), NODE("ConvTranspose", ["c", "v"], ["y"], "b")]
    weights = {"w": KERNEL, "v": RANDOM.standard_normal((16, 16, 3, 3)) / 12}
    source = small(nodes, weights, ["N", 16, 16, 24], ("c", "image"))(tmp_path / "m")

    report = quantize_fast(source, images(), tmp_path / "int8.onnx")

    model = onnx.load(tmp_path / "int8.onnx")
    assert [value.name for value in model.graph.output] == ["y", "c", "image"]
    assert producer(model)["c"].op_type == "Conv"
    assert report.in_sample is not None
    assert report.in_sample.outputs[2].identical


def test_nothing_of_onnxruntimes_own_log_reaches_the_terminal(
    images: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b]0;owned\x07"
    nodes = [
        NODE("Mul", ["image", "image"], ["squares"]),
        NODE("Cast", ["squares"], ["numbers"], to=onnx.TensorProto.INT64),
        NODE("Flatten", ["numbers"], ["flat"], axis=0),
        NODE("Squeeze", ["flat"], ["shape"]),
        NODE("Reshape", ["image", "shape"], ["bad"], evil),
        NODE("Conv", ["image", "w"], ["y"]),
    ]
    source = small(nodes, {"w": KERNEL}, ["N", 16, 14, 22])(tmp_path / "m")
    model = onnx.load(source)
    model.graph.output.append(onnx.helper.make_tensor_value_info("bad", 1, ["a", "b"]))
    source.write_bytes(model.SerializeToString())

    with pytest.raises(UseError, match=r"^the model fails on the samples"):  # which is not the INT8 model's fault
        quantize_fast(source, images(), tmp_path / "int8.onnx")

    assert capfd.readouterr() == ("", "")


def _begin_as_a_model_does(source: Path, weights: Path) -> None:
    """Put bytes before the values of external data that a model could begin with."""
    model = onnx.load(source, load_external_data=False)
    begins = onnx.ModelProto(ir_version=8, producer_name="weights").SerializeToString()
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "offset":
                entry.value = str(int(entry.value) + len(begins))
    weights.write_bytes(begins + weights.read_bytes())
    source.write_bytes(model.SerializeToString())


class TestRefusals:
    def test_existing_output_is_kept(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        earlier = onnx.ModelProto(ir_version=8, producer_name="precious").SerializeToString()
        (tmp_path / "int8.onnx").write_bytes(earlier)
        with pytest.raises(OutputExistsError):
            quantize_fast(make_model(), images(), tmp_path / "int8.onnx")
        assert (tmp_path / "int8.onnx").read_bytes() == earlier

        quantize_fast(make_model(), images(), tmp_path / "int8.onnx", overwrite=True)
        onnx.checker.check_model(tmp_path / "int8.onnx")

    def test_external_weights_of_the_model_are_never_replaced(
        self, make_model: MakeModel, images: Any, tmp_path: Path
    ) -> None:
        source, weights = make_model(), tmp_path / "weights.onnx"
        onnx.save(onnx.load(source), source, save_as_external_data=True, location=weights.name, size_threshold=0)
        _begin_as_a_model_does(source, weights)
        before = weights.read_bytes()
        for outputs in ({"out": weights}, {"out": tmp_path / "new", "trt_cache": weights, "trt_version": "10.3.0"}):
            with pytest.raises(OutputError, match=r"made from|is not a calibration cache"):
                quantize_fast(source, images(), **outputs, overwrite=True)
        assert weights.read_bytes() == before
        assert sorted(tmp_path.iterdir()) == sorted([source, weights])

    def test_files_of_rebatched_images_are_never_replaced(
        self, make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "cal.tensor"
        compression = Compression.named("none")
        with TensorFileWriter(str(path), (2, 3, 16, 24), compression) as writer:
            for _ in range(4):
                writer.append(compression.encode(np.zeros((3, 16, 24), np.float32)))
            writer.finish(None, [])
        with TensorFile(path) as file, pytest.raises(OutputError, match="made from"):
            quantize_fast(make_model(), readers.rebatch(file, 1), path, overwrite=True)

    def test_the_float_model_is_never_replaced(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        source = make_model()
        before = source.read_bytes()
        for outputs in ({"out": source}, {"out": tmp_path / "new", "trt_cache": source, "trt_version": "10.3.0"}):
            with pytest.raises(OutputError, match="made from"):
                quantize_fast(source, images(), **outputs, overwrite=True)
        assert source.read_bytes() == before

    def test_failure_leaves_nothing_behind(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        source = make_model()
        with pytest.raises(UseError, match=r"images themselves hold infinite or undefined values"):
            quantize_fast(
                source,
                images(scale=np.inf),
                tmp_path / "int8.onnx",
                trt_cache=tmp_path / "c",
                trt_version="10.3.0",
                force=True,
            )
        assert list(tmp_path.iterdir()) == [source]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"method": "best"}, "method cannot be 'best'"),
            ({"percentile": 0}, "percentile"),
            ({"method": "percentile", "percentile": 0.9999}, r"in percent, e\.g\. 99\.99"),
            ({"trt_cache": "c"}, "one TensorRT version only"),
            ({"trt_version": "10.3.0"}, "only with a calibration cache"),
            ({"trt_cache": "c", "trt_version": "11.4.0"}, "TensorRT 11 has no calibration caches"),
            ({"trt_cache": "c", "trt_version": "0.1.0"}, "before 7"),
        ],
    )
    def test_wrong_arguments(
        self, make_model: MakeModel, images: Any, tmp_path: Path, arguments: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UsageError, match=message):
            quantize_fast(make_model(), images(), tmp_path / "int8.onnx", **arguments)

    def test_a_percentile_of_numpy_is_a_number(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        options = {"method": "percentile", "percentile": np.float32(99.5)}
        assert quantize_fast(make_model(), images(), tmp_path / "int8.onnx", **options).percentile == 99.5

    def test_evaluating_on_the_calibration_images(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        same = images()
        with pytest.raises(UsageError, match="evaluation file is the calibration file"):
            quantize_fast(make_model(), same, tmp_path / "int8.onnx", evaluation=same)

    def test_evaluation_images_of_another_size(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="evaluation images are of 3×32×24"):
            quantize_fast(make_model(), images(), tmp_path / "int8.onnx", evaluation=images(shape=(1, 3, 32, 24)))

    def test_one_file_for_model_and_cache(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        out, same = tmp_path / "int8.onnx", tmp_path / "." / "x" / ".." / "int8.onnx"
        with pytest.raises(UsageError, match="cannot be one file"):
            quantize_fast(make_model(), images(), out, trt_cache=same, trt_version="10.3.0")

    def test_one_file_for_deepstream_and_another_result(
        self, make_model: MakeModel, images: Any, tmp_path: Path
    ) -> None:
        out, cache = tmp_path / "int8.onnx", tmp_path / "cal.bin"
        for same in (out, cache):
            same_again = tmp_path / "." / same.name
            with pytest.raises(UsageError, match="and DeepStream's configuration cannot be one file"):
                quantize_fast(make_model(), images(), out, trt_cache=cache, trt_version="10.3.0", deepstream=same_again)
        assert not out.exists()

    def test_names_that_a_cache_cannot_hold_are_refused_before_the_work(
        self, make_model: MakeModel, images: Any, tmp_path: Path
    ) -> None:
        def rename(model: onnx.ModelProto) -> None:
            model.graph.node[-1].output[0] = model.graph.output[1].name = "a\nb"

        calibration = images()
        calibration.batches = -1  # iterating would fail
        with pytest.raises(UseError, match="cannot be written into a calibration cache"):
            quantize_fast(
                make_model(change=rename), calibration, tmp_path / "o", trt_cache=tmp_path / "c", trt_version="10.3.0"
            )

    @pytest.mark.parametrize("number", [0, 11])
    def test_images_that_are_not_finite_are_not_the_models_fault(
        self, make_model: MakeModel, images: Any, tmp_path: Path, number: int
    ) -> None:
        batches = np.concatenate(list(images(batches=12, shape=(1, *SHAPE[1:]))))
        batches[number, 0, 0, 0] = np.nan
        with pytest.raises(UseError, match="images themselves hold infinite or undefined values") as caught:
            quantize_fast(make_model(), [batches[:6], batches[6:]], tmp_path / "int8.onnx")
        assert "--exclude" not in caught.value.hint

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_weights_that_are_not_finite(self, images: Any, tmp_path: Path, value: float) -> None:
        kernel = KERNEL.copy()
        kernel[1, 2, 0, 0] = value
        source = small([NODE("Conv", ["image", "w"], ["y"])], {"w": kernel}, ["N", 16, 14, 22])(tmp_path / "m")
        with pytest.raises(UseError, match="weight 'w' holds infinite or undefined values"):
            quantize_fast(source, images(), tmp_path / "int8.onnx", force=True)

    @pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
    @pytest.mark.parametrize("fill", [-np.inf, np.finfo(np.float32).min, 0.0])
    def test_a_border_of_the_lowest_number_stays_out_of_int8(
        self, images: Any, tmp_path: Path, target: Any, fill: float
    ) -> None:
        """It is how exporters pad in front of a maximum."""
        kernel = RANDOM.standard_normal((16, 16, 3, 3)) / 12
        nodes = [
            NODE("Conv", ["image", "k"], ["c"], "a"),
            NODE("Pad", ["c", "pads", "fill"], ["p"], "border"),
            NODE("MaxPool", ["p"], ["m"], "pool", kernel_shape=[3, 3], strides=[2, 2]),
            NODE("Conv", ["m", "w"], ["y"], "b"),
        ]
        source = small(nodes, {"k": KERNEL, "w": kernel, "fill": np.array(fill)}, ["N", 16, None, None])(tmp_path / "m")
        model = onnx.load(source)
        model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads"))
        onnx.save(model, source)
        report = quantize_fast(source, images(), tmp_path / "int8.onnx", target=target)
        assert ("pool" in report.placement.reads) == (fill == 0)
        assert report.in_sample is not None
        assert report.in_sample.worst_db() > 25

    def test_a_result_that_does_not_run_is_not_written(
        self, make_model: MakeModel, images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def damaged(*arguments: Any, **options: Any) -> onnx.ModelProto:
            model = insert_qdq(*arguments, **options)
            next(node for node in model.graph.node if node.op_type == "Relu").op_type = "HardSwish"
            model.opset_import[0].version = 13
            return model

        monkeypatch.setattr("int8cal.models.variants.insert_qdq", damaged)
        with pytest.raises(UseError, match=r"^the INT8 model: ONNX Runtime cannot load the model"):
            quantize_fast(make_model(), images(), tmp_path / "int8.onnx", agreement=False)
        assert not (tmp_path / "int8.onnx").exists()

    @pytest.mark.parametrize("options", [{}, {"method": "auto"}, {"min_agreement": 3.0}])
    def test_a_float_model_that_fails_on_held_out_images_is_not_called_the_int8_model(
        self, options: dict[str, Any], make_model: MakeModel, images: Any, tmp_path: Path
    ) -> None:
        source = make_model(change=fails_from(1))
        with pytest.raises(UseError, match=r"^the float model: the model fails on the samples") as caught:
            quantize_fast(source, images(), tmp_path / "int8.onnx", evaluation=images(seed=1, scale=9.0), **options)
        assert "--exclude" not in str(caught.value.hint)
        assert not (tmp_path / "int8.onnx").exists()

    def test_model_that_is_int8_already(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        quantize_fast(make_model(), images(), tmp_path / "int8.onnx")
        with pytest.raises(UseError, match="quantised already"):
            quantize_fast(tmp_path / "int8.onnx", images(), tmp_path / "again.onnx")

    def test_exclusion_that_fits_nothing_or_everything(
        self, make_model: MakeModel, images: Any, tmp_path: Path
    ) -> None:
        with pytest.raises(UseError, match=r"no node fits the exclusion 'frist/\*'\nNodes are named like: first/conv"):
            quantize_fast(make_model(), images(), tmp_path / "int8.onnx", exclude=["frist/*"])
        with pytest.raises(UseError, match="nothing to quantise"):
            quantize_fast(make_model(), images(), tmp_path / "int8.onnx", exclude=["*"])
        merged = r"the node first/bn is merged into the one before it\nExclude that one: --exclude first/conv"
        with pytest.raises(UseError, match=merged):
            quantize_fast(make_model(), images(), tmp_path / "int8.onnx", exclude=["first/bn"])

    def test_a_name_with_brackets_is_excluded_as_it_is(
        self, make_model: MakeModel, images: Any, tmp_path: Path
    ) -> None:
        name = "Net/Sequential[layer1]/Conv2d[0]/Conv"

        def rename(model: onnx.ModelProto) -> None:
            next(node for node in model.graph.node if node.name == "second/conv").name = name

        report = quantize_fast(make_model(change=rename), images(), tmp_path / "int8.onnx", exclude=[name])
        assert report.excluded == (name,)

    def test_nodes_that_are_called_like_new_ones(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        def rename(model: onnx.ModelProto) -> None:
            model.graph.node[0].name, model.graph.node[3].name = "image_QuantizeLinear", "first_DequantizeLinear"

        quantize_fast(make_model(change=rename), images(), tmp_path / "int8.onnx", bias_correction=True)
        names = [node.name for node in onnx.load(tmp_path / "int8.onnx").graph.node]
        assert len(names) == len(set(names))

    def test_constants_that_nothing_reads_take_no_time(
        self, make_model: MakeModel, images: Any, tmp_path: Path
    ) -> None:
        """ONNX Runtime takes the square of their number."""

        def unused(model: onnx.ModelProto) -> None:
            one = np.ones((), np.float32)
            model.graph.initializer.extend(numpy_helper.from_array(one, f"unused{n}") for n in range(20_000))

        begun = time.process_time()
        quantize_fast(make_model(change=unused), images(), tmp_path / "int8.onnx", agreement=False)
        assert time.process_time() - begun < 5
        assert len(onnx.load(tmp_path / "int8.onnx").graph.initializer) < 100

    def test_an_output_that_states_a_wrong_rank(self, images: Any, tmp_path: Path) -> None:
        """ONNX Runtime's optimiser takes the wrong shape away; ONNX's checker wants one."""
        nodes = [
            NODE("Conv", ["image", "k"], ["c"], "a"),
            NODE("Shape", ["c"], ["dims"]),
            NODE("Cast", ["dims"], ["mask"], to=onnx.TensorProto.BOOL),
            NODE("Compress", ["dims", "mask"], ["size"]),  # of which nobody knows how long it is
            NODE("Reshape", ["c", "size"], ["y"]),
        ]
        source = small(nodes, {"k": KERNEL}, [])(tmp_path / "m")
        onnx.checker.check_model(onnx.load(source), full_check=True)
        quantize_fast(source, images(), tmp_path / "int8.onnx", agreement=False)
        made = onnx.load(tmp_path / "int8.onnx")
        onnx.checker.check_model(made)
        assert len(made.graph.output[0].type.tensor_type.shape.dim) == 4

    def test_images_of_another_size(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        with pytest.raises(UseError, match=r"takes \?×3×16×24, which does not fit samples of 3×32×24"):
            quantize_fast(make_model(), images(shape=(1, 3, 32, 24)), tmp_path / "int8.onnx")

    def test_layout_that_cannot_be_told_is_asked_for(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        source = make_model(shape=["a", "b", "c"])
        with pytest.raises(UseError, match=r"layout cannot be told\nSay it: --layout"):
            quantize_fast(source, images(), tmp_path / "int8.onnx")
        assert quantize_fast(source, images(), tmp_path / "int8.onnx", layout="nchw").input.layout == "nchw"

    def test_input_that_is_not_there_or_not_alone(self, make_model: MakeModel, images: Any, tmp_path: Path) -> None:
        with pytest.raises(UseError, match=r"no input 'input_1'\nIts inputs: 'image'"):
            quantize_fast(make_model(), images(), tmp_path / "int8.onnx", input_name="input_1")

        def second_input(model: onnx.ModelProto) -> None:
            model.graph.input.append(onnx.helper.make_tensor_value_info("size", onnx.TensorProto.FLOAT, [2]))

        with pytest.raises(UseError, match="2 inputs"):
            quantize_fast(make_model(change=second_input), images(), tmp_path / "int8.onnx")


@pytest.mark.parametrize(("images", "code", "said"), [
    (np.full((12, 3, 16, 24), 0.25, np.float32), "blank", "every image looked at (8) is of one colour"),
    (np.repeat(np.random.default_rng(0).random((1, 3, 16, 24), np.float32), 12, axis=0), "one-image", "the same one"),
    (np.zeros((1, 3, 16, 24), np.float32), "blank", "every image looked at (1) is of one colour"),
])  # fmt: skip
def test_images_without_a_picture_are_refused_whatever_the_model_makes_of_them(
    make_model: MakeModel, tmp_path: Path, images: Any, code: str, said: str
) -> None:
    with pytest.raises(UseError) as caught:
        quantize_fast(make_model(), [images], tmp_path / "o", agreement=False)
    assert said in caught.value.message

    forced = quantize_fast(make_model(), [images], tmp_path / "o", agreement=False, force=True)
    assert (code, "warning") in {(finding.code, finding.level) for finding in forced.findings}


@pytest.mark.parametrize(("copies", "is_told"), [(8, True), (7, False)])
def test_images_of_which_half_are_copies_are_told_of(
    make_model: MakeModel, tmp_path: Path, copies: int, is_told: bool
) -> None:
    different = np.random.default_rng(0).random((16 - copies, 3, 16, 24), np.float32)
    images = np.concatenate([different, np.repeat(different[:1], copies, axis=0)])

    report = quantize_fast(make_model(), [images], tmp_path / "o", agreement=False)

    found = {finding.code: finding.message for finding in report.findings}
    assert ("repeated-images" in found) == is_told
    assert found.get("repeated-images", "") == (f"{copies} of 16 images repeat an earlier one bit for bit" * is_told)
