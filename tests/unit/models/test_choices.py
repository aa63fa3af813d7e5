"""Models that choose among boxes or rows: compared by what they choose by, and behind it by one choice of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.unit.models.conftest import SHAPE, Builder, Images, quantize_fast

from int8cal.errors import UseError
from int8cal.models.agreement import Agreement, TensorAgreement
from int8cal.models.choices import choices
from int8cal.models.compare import compare
from int8cal.models.quantize import quantize
from int8cal.models.verdict import judge

INT64 = TensorProto.INT64


def features(net: Builder) -> None:
    """``rows``: (N, 48, 16)."""
    net.conv_bn_relu("image", "first", (3, 16), stride=2)
    net.conv_bn_relu("first", "second", (16, 16), stride=2)
    net.weights["flat"] = np.array([0, 16, -1])
    net.node("Reshape", ["second", "flat"], "columns")
    net.node("Transpose", ["columns"], "rows", perm=[0, 2, 1])


def head(net: Builder, source: str, name: str, channels: int) -> None:
    net.node("MatMul", [source, net.weight(f"{name}.w", 16, channels)], name, name)


def suppression(net: Builder) -> dict[str, int]:
    """As torchvision exports it: boxes gathered by what NonMaxSuppression keeps, whose number depends on the data."""
    head(net, "rows", "raw", 4)
    net.node("Sigmoid", ["raw"], "boxes")
    net.node("MatMul", ["rows", net.weight("class.w", 16, 3)], "logits", "class")
    net.node("Transpose", ["logits"], "turned", perm=[0, 2, 1])
    net.node("Sigmoid", ["turned"], "scores")
    net.weights |= {"most": np.array([9]), "iou": np.float32([0.5]), "least": np.float32([0.5])}
    net.node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], "kept", "nms")
    net.weights |= {"two": np.array([2]), "three": np.array([3]), "one": np.array([1]), "zero": np.array([0])}
    net.node("Slice", ["kept", "two", "three", "one"], "numbers")
    net.node("Squeeze", ["numbers", "one"], "places")
    net.node("Squeeze", ["boxes", "zero"], "list")
    net.node("Gather", ["list", "places"], "found", axis=0)
    return {"found": TensorProto.FLOAT, "kept": INT64}


def queries(net: Builder) -> dict[str, int]:
    """As RT-DETR: the best rows go through more layers."""
    head(net, "rows", "score", 5)
    net.node("ReduceMax", ["score"], "best", axes=[2], keepdims=0)
    net.weights |= {"count": np.array([8]), "last": np.array([2]), "wide": np.array([1, 1, 16])}
    net.nodes.append(helper.make_node("TopK", ["best", "count"], ["top", "places"], name="topk", axis=1))
    net.node("Unsqueeze", ["places", "last"], "single")
    net.node("Tile", ["single", "wide"], "index")
    net.node("GatherElements", ["rows", "index"], "chosen", axis=1)
    head(net, "chosen", "hidden", 16)
    net.node("Relu", ["hidden"], "active")
    head(net, "active", "boxes", 4)
    return {"boxes": TensorProto.FLOAT}


def mask(net: Builder) -> dict[str, int]:
    """Rows whose score is above a threshold."""
    head(net, "rows", "raw", 4)
    net.node("ReduceMax", ["raw"], "score", axes=[2], keepdims=0)
    net.weights["least"] = np.float32(0.3)
    net.node("Greater", ["score", "least"], "above")
    net.node("NonZero", ["above"], "places")
    net.node("Transpose", ["places"], "index", perm=[1, 0])
    net.node("GatherND", ["raw", "index"], "found")
    return {"found": TensorProto.FLOAT}


def classes(net: Builder) -> dict[str, int]:
    """As YOLO ends: one tensor of boxes, classes and images, gathered by what NonMaxSuppression keeps."""
    suppression(net)
    net.node("Sigmoid", ["logits"], "probabilities")
    net.node("ArgMax", ["probabilities"], "class number", axis=2, keepdims=1)
    net.weights["ends"] = np.array([0, 2])
    net.node("Gather", ["kept", "ends"], "image and place", axis=1)
    for source in ("boxes", "class number"):
        net.node("GatherND", [source, "image and place"], f"{source} kept")
    net.node("Cast", ["class number kept"], "class", to=TensorProto.FLOAT)
    net.node("Cast", ["image and place"], "image number", to=TensorProto.FLOAT)
    net.node("Concat", ["boxes kept", "class", "image number"], "detections", axis=1)
    net.node("Shape", ["kept"], "count")
    return {"detections": TensorProto.FLOAT, "class": TensorProto.FLOAT, "count": INT64}


def condition(net: Builder) -> dict[str, int]:
    """The same by Compress, which nothing can be told about."""
    mask(net)
    net.weights["all"] = np.array([-1])
    net.node("Reshape", ["above", "all"], "which")
    net.weights["four"] = np.array([-1, 4])
    net.node("Reshape", ["raw", "four"], "all rows")
    net.node("Compress", ["all rows", "which"], "packed", axis=0)
    net.nodes = [node for node in net.nodes if not {"places", "index", "found"} & set(node.output)]
    return {"packed": TensorProto.FLOAT}


def save(path: Path, ending: Callable[[Builder], dict[str, int]], more: tuple[str, ...] = (), batch: Any = 1) -> Path:
    net = Builder()
    features(net)
    outputs = ending(net) | dict.fromkeys(more, TensorProto.FLOAT)
    graph = helper.make_graph(
        net.nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *SHAPE[1:]])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in net.weights.items()],
    )
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    return path


ENDINGS = {
    suppression: ({"found", "boxes", "scores"}, {"kept"}),
    queries: ({"boxes", "best"}, {"places"}),
    mask: ({"found", "score"}, {"places"}),
    classes: ({"detections", "boxes", "scores", "probabilities"}, {"class", "count", "kept", "class number"}),
}


@pytest.mark.parametrize("options", [{}, {"precision": "fp16"}, {"target": "onnxruntime"}], ids=str)
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_models_are_judged_by_what_they_choose_by_and_make_of_one_choice(
    tmp_path: Path, ending: Callable[[Builder], dict[str, int]], options: dict[str, Any]
) -> None:
    path, out = save(tmp_path / "m.onnx", ending), tmp_path / "o.onnx"
    images = Images(batches=1, shape=(3, *SHAPE[1:]))

    report = quantize(path, images, out, method="minmax", **options)

    compared, chosen = ENDINGS[ending]
    assert report.in_sample is not None
    assert {output.name for output in report.in_sample.outputs} == compared
    assert report.in_sample.skipped.keys() == chosen
    assert not any(output.classes for output in report.in_sample.outputs)
    assert report.verdict is not None
    assert report.verdict.level == "good"
    assert all(output.sqnr_db > 20 for output in report.in_sample.outputs)
    again = compare(path, out, images)
    assert again.agreement.outputs == report.in_sample.outputs
    assert again.agreement.skipped == report.in_sample.skipped
    names = [[output.name for output in onnx.load(one).graph.output] for one in (path, out)]
    assert names[0] == names[1]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_ruined_models_that_choose_are_poor(tmp_path: Path, ending: Callable[[Builder], dict[str, int]]) -> None:
    path = save(tmp_path / "m.onnx", ending)

    report = quantize(path, Images(), tmp_path / "o.onnx", method="percentile", percentile=50)

    assert report.verdict is not None
    assert report.verdict.level == "poor"


def test_methods_are_chosen_by_figures_and_a_batch_of_several_images_is_compared_as_one(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", queries, batch=4)

    report = quantize(path, Images(shape=(3, *SHAPE[1:])), tmp_path / "o.onnx")

    assert report.choice is not None
    assert all(np.isfinite(score) for score in report.choice.scores.values())
    assert all(output.sqnr_db > 20 for output in report.choice.agreement.outputs)


def test_what_cannot_be_compared_decides_nothing(tmp_path: Path) -> None:
    alone = save(tmp_path / "alone.onnx", condition)
    beside = save(tmp_path / "beside.onnx", condition, more=("raw",))

    report = quantize(alone, Images(), tmp_path / "alone.int8", method="minmax")
    assert report.verdict is not None
    assert report.verdict.level == "not measured"
    report = quantize(beside, Images(), tmp_path / "beside.int8", method="minmax")
    assert report.verdict is not None
    assert (report.verdict.level, report.verdict.output) == ("good", "raw")
    with pytest.raises(UseError, match="no output can be compared"):
        quantize(alone, Images(), tmp_path / "o", method="percentile", percentile=60, min_agreement=20)


def test_rows_that_a_mask_rules_out_are_neither_a_fault_nor_a_class(tmp_path: Path) -> None:
    """RT-DETR's scores are -inf at the border, and the best row may be the same in all images."""

    def masked(net: Builder) -> dict[str, int]:
        kinds = queries(net)
        net.weights |= {"inside": np.arange(24)[None] > 5, "least": np.float32(-np.inf)}
        net.weights["bonus"] = np.where(np.arange(24) == 9, 100, 0).astype(np.float32)[None]
        at = next(place for place, node in enumerate(net.nodes) if node.name == "topk")
        net.nodes[at].input[0] = "masked"
        net.node("Add", ["best", "bonus"], "raised")
        net.node("Where", ["inside", "raised", "least"], "masked")
        net.nodes[at:] = [*net.nodes[-2:], *net.nodes[at:-2]]
        return kinds

    report = quantize_fast(save(tmp_path / "m.onnx", masked), Images(), tmp_path / "o")

    assert {finding.code for finding in report.findings} <= {"model-alive"}
    assert report.in_sample is not None
    (found,) = [output for output in report.in_sample.outputs if output.name == "masked"]
    assert found.finite
    assert found.top1 is None
    assert report.verdict is not None
    assert report.verdict.level == "good"


def test_a_class_that_is_the_result_is_compared(tmp_path: Path) -> None:
    """Beside boxes that are chosen, but not looked up by that choice."""

    def segments(net: Builder) -> dict[str, int]:
        kinds = suppression(net)
        net.node("Transpose", ["logits"], "map", perm=[0, 2, 1])
        net.node("ArgMax", ["map"], "segments", axis=1)
        return kinds | {"segments": INT64}

    report = quantize_fast(save(tmp_path / "m.onnx", segments), Images(), tmp_path / "o")

    assert report.in_sample is not None
    (found,) = [output for output in report.in_sample.outputs if output.name == "segments"]
    assert 0.9 < found.equal < 1


def test_a_classifier_that_ends_in_its_best_classes_is_one_still(tmp_path: Path) -> None:
    def best(net: Builder) -> dict[str, int]:
        net.node("ReduceMean", ["rows"], "mean", axes=[1], keepdims=0)
        head(net, "mean", "classes", 6)
        net.weights["count"] = np.array([3])
        net.nodes.append(helper.make_node("TopK", ["classes", "count"], ["top", "which"], name="topk"))
        return {"top": TensorProto.FLOAT, "which": INT64}

    report = quantize_fast(save(tmp_path / "m.onnx", best), Images(), tmp_path / "o")

    assert report.in_sample is not None
    by_name = {output.name: output for output in report.in_sample.outputs}
    assert by_name["classes"].top1 is not None
    assert by_name["top"].top1 is None or by_name["top"].top1 == 1.0


def test_outputs_without_values_and_equal_infinities_decide_nothing() -> None:
    empty, masked, ruined = (TensorAgreement(name) for name in ("empty", "masked", "ruined"))
    empty.add(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32))
    masked.add(np.float32([[1, -np.inf, 2]]), np.float32([[1, -np.inf, 2.1]]))
    ruined.add(np.float32([[1, -np.inf, 2]]), np.float32([[1, 0, 2]]))

    assert judge(Agreement(1, (empty,))).level == "not measured"
    assert judge(Agreement(1, (empty, masked))).output == "masked"
    assert 25 < masked.sqnr_db < 30
    assert not empty.identical
    assert judge(Agreement(1, (masked, ruined))).level == "poor"


def test_masks_that_double_cost_nothing() -> None:
    nodes = [helper.make_node("Greater", ["x", "half"], ["m0"])]
    nodes += [helper.make_node("And", [f"m{n}", f"m{n}"], [f"m{n + 1}"]) for n in range(2000)]
    nodes += [helper.make_node("NonZero", ["m2000"], ["places"])]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, [1]), value("half", 1, [1])], [value("places", 7, None)])
    (found,) = choices(helper.make_model(graph), {"x", "half"})
    assert found.by == ("x", "half")
