"""The plug-ins of FasterRCNN, held against ONNX Runtime's operators and a second statement of TensorRT's sources."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from tests import faster_rcnn_reference

from int8cal.models.kernels import crop_and_resize, kernel_of, proposals

RANDOM = np.random.default_rng(11)


def run(node: Any, **inputs: np.ndarray) -> np.ndarray:
    kinds = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in inputs.items()
    ]
    outputs = [onnx.ValueInfoProto(name=node.output[0])]
    model = helper.make_model(
        helper.make_graph([node], "g", kinds, outputs), opset_imports=[helper.make_opsetid("", 16)], ir_version=8
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


@pytest.mark.parametrize("size", [(5, 4), (2, 7)])
def test_crops_are_those_of_roi_align_with_one_sample_in_each_cell(size: tuple[int, int]) -> None:
    """RoiAlign samples in the middle of its cells: boxes that are half a step larger put these onto the same points."""
    features = RANDOM.standard_normal((2, 3, 9, 13)).astype(np.float32)
    corners = np.sort(RANDOM.random((2, 4, 2, 2)), axis=2).astype(np.float32)  # (N, R, low/high, y/x)
    boxes = corners.reshape(2, 4, 4, 1)

    found = crop_and_resize(features, boxes, size=size)

    low, high = (corners[:, :, end] * np.array([8, 12], np.float32) for end in (0, 1))
    step = (high - low) / (np.array(size) - 1)
    grown = np.stack([low - step / 2, high + step / 2], axis=2).reshape(-1, 4)[:, [1, 0, 3, 2]] + 0.5
    node = helper.make_node(
        "RoiAlign",
        ["x", "rois", "image"],
        ["y"],
        output_height=size[0],
        output_width=size[1],
        sampling_ratio=1,
        coordinate_transformation_mode="half_pixel",
    )
    wanted = run(node, x=features, rois=grown.astype(np.float32), image=np.repeat(np.arange(2), 4))
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=2e-5)
    np.testing.assert_array_equal(crop_and_resize(features, boxes, size=size, flat=True), found.reshape(wanted.shape))


def test_samples_outside_are_0_and_a_single_one_is_the_middle() -> None:
    features = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)

    outside = crop_and_resize(features, np.array([[[0, 0, 2, 1]]], np.float32), size=(3, 2))
    middle = crop_and_resize(features, np.array([[[0, 0, 1, 1]]], np.float32), size=(1, 1))

    np.testing.assert_array_equal(outside[0, 0, 0], [[0, 3], [8, 11], [0, 0]])
    np.testing.assert_array_equal(middle[0, 0, 0], [[5.5]])


SETTINGS = {
    "anchors": np.array([[16, 16], [24, 12], [8, 24]], np.float32),
    "size": (64, 96),
    "stride": 8,
    "least": 1.0,
    "overlap": 0.5,
    "before": 100,
    "after": 20,
}


def network_output(seed: int, *, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.random((2, 3, 8, 12)).astype(np.float32)
    return scores, (random.standard_normal((2, 12, 8, 12)) * spread).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_proposals_are_those_of_non_max_suppression(seed: int) -> None:
    """Boxes are decoded here one by one; the overlap counts the last pixel, as that of boxes one pixel larger does."""
    scores, deltas = network_output(seed)

    found = proposals(scores, deltas, **SETTINGS)

    assert found.shape == (2, 20, 4, 1)
    for image in range(2):
        boxes, ranks = [], []
        for kind, (wide, high) in enumerate(SETTINGS["anchors"]):
            for row in range(8):
                for column in range(12):
                    dx, dy, dw, dh = deltas[image, 4 * kind : 4 * kind + 4, row, column]
                    x, y = (column + 0.5) * 8 + wide * dx, (row + 0.5) * 8 + high * dy
                    half = np.array([wide * np.exp(dw), high * np.exp(dh)]) / 2
                    left, top = np.clip([x - half[0], y - half[1]], 0, [95, 63])
                    right, bottom = np.clip([x + half[0], y + half[1]], 0, [95, 63])
                    boxes.append([left, top, right, bottom])
                    ranks.append(scores[image, kind, row, column] if min(right - left, bottom - top) > 1 else -1.0)
        best = np.argsort(-np.array(ranks), kind="stable")[:100]
        candidates = np.array(boxes, np.float32)[best]
        larger = candidates + np.array([0, 0, 1, 1], np.float32)
        node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap"], ["chosen"])
        chosen = run(
            node,
            boxes=larger[None],
            scores=np.array(ranks, np.float32)[best][None, None] + 2,
            most=np.array([20]),
            overlap=np.array([0.5], np.float32),
        )[:, 2]
        wanted = candidates[chosen][:, [1, 0, 3, 2]] / np.array([63, 95, 63, 95], np.float32)
        np.testing.assert_allclose(found[image, : len(wanted), :, 0], wanted, atol=1e-6)
        assert not found[image, len(wanted) :].any()


def test_boxes_without_size_come_last_however_high_their_score() -> None:
    scores, deltas = network_output(7, spread=0.0)
    scores[0, 0, 0, 0] = 10.0
    deltas[0, 2:4, 0, 0] = -50.0  # no size
    scores[1, 0, 0, 0] = 10.0
    deltas[1, 2, 0, 0] = np.inf

    found = proposals(scores, deltas, **SETTINGS)

    assert ((found >= 0) & (found <= 1)).all()
    assert (found[:, 0, 2:] > found[:, 0, :2]).all()


def test_attributes_are_those_of_the_plug_in() -> None:
    node = helper.make_node(
        "ProposalDynamic",
        ["scores", "deltas"],
        ["rois"],
        input_height=64,
        input_width=96,
        rpn_stride=8,
        roi_min_size=1.0,
        nms_iou_threshold=0.5,
        pre_nms_top_n=100,
        post_nms_top_n=20,
        anchor_sizes=[16.0, 32.0],
        anchor_ratios=[1.0, 0.25],
    )
    kernel = kernel_of(node, "proposal")
    assert kernel is not None
    random = np.random.default_rng(1)
    scores = random.random((1, 4, 8, 12), dtype=np.float32)
    deltas = np.zeros((1, 16, 8, 12), np.float32)

    found = kernel.compute(scores, deltas)

    assert kernel.dims == (None, 20, 4, 1)
    # sizes run slower than ratios; a ratio of 1/4 halves the width and doubles the height
    anchors = np.array([[16, 16], [8, 32], [32, 32], [16, 64]], np.float32)
    np.testing.assert_array_equal(found, proposals(scores, deltas, **{**SETTINGS, "anchors": anchors}))


def settings(random: np.random.Generator) -> dict[str, Any]:
    """Attributes of a proposal plug-in."""
    stride = int(random.choice([4, 8, 16]))
    return {
        "input_height": stride * int(random.integers(1, 5)),
        "input_width": stride * int(random.integers(1, 7)),
        "rpn_stride": stride,
        "roi_min_size": float(random.choice([0.0, 1.0, 4.0])),
        "nms_iou_threshold": float(np.float32(random.choice([0.3, 0.5, 0.7, 0.95]))),
        "pre_nms_top_n": int(random.choice([3, 20, 6000])),
        "post_nms_top_n": int(random.choice([1, 5, 40])),
        "anchor_sizes": random.integers(4, 80, int(random.integers(1, 4))).astype(float).tolist(),
        "anchor_ratios": random.choice([0.25, 0.5, 1.0, 2.0, 3.7], int(random.integers(1, 4)), replace=False).tolist(),
    }


@pytest.mark.parametrize("seed", range(24))
def test_both_plug_ins_agree_with_a_second_statement_of_their_sources(seed: int) -> None:
    random = np.random.default_rng(seed)
    attributes = settings(random)
    rows, columns = (attributes[key] // attributes["rpn_stride"] for key in ("input_height", "input_width"))
    kinds = len(attributes["anchor_sizes"]) * len(attributes["anchor_ratios"])
    scores = random.random((2, kinds, rows, columns)).astype(np.float32)
    if seed % 3 == 0:
        scores = scores.round(1)  # equal ones
    spread = random.choice([0.05, 0.3, 1.5])
    deltas = (random.standard_normal((2, 4 * kinds, rows, columns)) * spread).astype(np.float32)
    size = {"crop_height": int(random.integers(1, 6)), "crop_width": int(random.integers(1, 6))}
    features = random.standard_normal((2, 3, rows + 1, columns + 2)).astype(np.float32)
    proposal = kernel_of(helper.make_node("ProposalDynamic", ["scores", "deltas"], ["rois"], **attributes), "proposal")
    crop = kernel_of(helper.make_node("CropAndResizeDynamic", ["features", "rois"], ["crops"], **size), "crop")
    assert proposal is not None
    assert crop is not None

    regions = proposal.compute(scores, deltas)
    if seed % 2:  # some samples lie outside
        regions = (regions + random.standard_normal(regions.shape) * 0.2).astype(np.float32)
    crops = crop.compute(features, regions[:, :6])

    if not seed % 2:
        np.testing.assert_allclose(
            regions, faster_rcnn_reference.proposals(scores, deltas, **attributes), rtol=0, atol=1e-5
        )
    wanted = faster_rcnn_reference.crops(features, regions[:, :6], **size)
    decided = ~np.isnan(wanted)
    assert crops.shape == wanted.shape
    assert decided.any()
    np.testing.assert_allclose(crops[decided], wanted[decided], rtol=0, atol=2e-5)
