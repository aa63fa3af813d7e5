"""What TensorRT's plug-ins compute that stand in the way of FasterRCNN's head, in NumPy, for calibration only.

The INT8 model keeps the plug-ins. Without their results the head behind them could not be calibrated.

The arithmetic is that of TensorRT's published plug-ins (NVIDIA/TensorRT, commit a892d22 for the CUDA sources,
``plugin/common/kernels/proposalKernel.cu``, ``nmsLayer.cu`` and ``cropAndResizeKernel.cu``; commit 52399f5 for
``plugin/proposalPlugin/proposalPlugin.cpp``, which later ones lack): attributes, decoding of anchors, clipping, order,
suppression, padding. It was never run beside TensorRT: evidence "formula", held against a second statement that was
written from the same sources without this one. CUDA's ``__expf`` differs from NumPy's exponential in the last bits,
and float32's rounding decides whether a sample on the last cell counts as outside, where the plug-in gives 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from int8cal.models import extras

_Array: TypeAlias = npt.NDArray[np.float32]

_Found: TypeAlias = tuple[tuple[int | None, ...], Callable[..., _Array]]

_MOST_BOXES = 1 << 14  # of one image, before and after suppression; TAO's default is 6000 and 300
_MOST_ANCHORS = 1 << 10
_MOST_CROP = 1 << 8


@dataclass(frozen=True)
class Kernel:
    """A plug-in that can be computed.

    Attributes:
        node: its name.
        inputs: names of the tensors that go in.
        output: name of the one that comes out.
        dims: of the output; None for those that depend on the input.
        chooses: whether it chooses among its input's rows. Two models that differ a little choose others, in another
            order; then no value behind it can be compared, unless one follows the other's choice.
        compute: inputs → output, all float32.
    """

    node: str
    inputs: tuple[str, ...]
    output: str
    dims: tuple[int | None, ...]
    chooses: bool
    compute: Callable[..., _Array]


def kernel_of(node: Any, name: str, *, flat: bool = False) -> Kernel | None:
    """What computes a plug-in; None if nothing does, or it lacks attributes or has absurd ones.

    Args:
        node: ``onnx.NodeProto``.
        name: of the node.
        flat: give the regions of all images along one axis. TensorRT's convolutions take five dimensions, with the
            regions of each image along the second axis; ONNX's don't.
    """
    if len(node.input) != 2 or len(node.output) != 1 or not all((*node.input, *node.output)):
        return None
    attributes = {a.name: extras.onnx().helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name}
    found = None
    if node.op_type == "ProposalDynamic":
        found = _proposal(attributes)
    elif node.op_type == "CropAndResizeDynamic":
        found = _crop(attributes, flat=flat)
    if found is None:
        return None
    dims, compute = found
    return Kernel(name, tuple(node.input), node.output[0], dims, node.op_type == "ProposalDynamic", compute)


def _proposal(attributes: Mapping[str, Any]) -> _Found | None:
    try:
        height, width, stride = (int(attributes[key]) for key in ("input_height", "input_width", "rpn_stride"))
        before, after = int(attributes["pre_nms_top_n"]), int(attributes["post_nms_top_n"])
        least, overlap = float(attributes["roi_min_size"]), float(attributes["nms_iou_threshold"])
        sizes, ratios = ([float(value) for value in attributes[key]] for key in ("anchor_sizes", "anchor_ratios"))
    except (KeyError, TypeError, ValueError):
        return None
    positive = (height, width, stride, before, after, overlap, *sizes, *ratios)
    if not all(0 < value < math.inf for value in positive) or not 0 <= least < math.inf:
        return None
    if max(before, after) > _MOST_BOXES or not 0 < len(sizes) * len(ratios) <= _MOST_ANCHORS or min(height, width) < 2:
        return None
    anchors = [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for size in sizes for ratio in ratios]
    return (None, after, 4, 1), partial(
        proposals,
        anchors=np.array(anchors, np.float32),
        size=(height, width),
        stride=stride,
        least=least,
        overlap=overlap,
        before=before,
        after=after,
    )


def _crop(attributes: Mapping[str, Any], *, flat: bool) -> _Found | None:
    try:
        size = int(attributes["crop_height"]), int(attributes["crop_width"])
    except (KeyError, TypeError, ValueError):
        return None
    if not all(0 < extent <= _MOST_CROP for extent in size):
        return None
    return (None, *(() if flat else (None,)), None, *size), partial(crop_and_resize, size=size, flat=flat)


def proposals(
    scores: _Array,
    deltas: _Array,
    *,
    anchors: _Array,
    size: tuple[int, int],
    stride: int,
    least: float,
    overlap: float,
    before: int,
    after: int,
) -> _Array:
    """``ProposalDynamic``: regions of interest from the scores and box deltas of a region proposal network.

    Args:
        scores: (N, A, H, W), of the foreground.
        deltas: (N, 4·A, H, W): of each anchor dx, dy (of its width and height), and the logarithms of dw, dh.
        anchors: (A, 2): width and height in pixels of the image.
        size: height and width of the image.
        stride: pixels of the image per cell.
        least: boxes that are not larger than this in both directions come last.
        overlap: of two boxes with a larger intersection over union the second is dropped.
        before: how many of the highest scores are looked at.
        after: how many boxes are given.

    Returns:
        (N, after, 4, 1) float32: y1, x1, y2, x2 in 0..1 of the image, highest scores first, then zeros.
    """
    count, kinds, rows, columns = scores.shape
    height, width = size
    dx, dy, dw, dh = np.moveaxis(deltas.reshape(count, kinds, 4, rows, columns), 2, 0)
    wide, high = (extent.reshape(1, kinds, 1, 1) for extent in anchors.T)
    centre_x = (np.arange(columns, dtype=np.float32) + np.float32(0.5)) * np.float32(stride) + wide * dx
    centre_y = (np.arange(rows, dtype=np.float32) + np.float32(0.5))[:, None] * np.float32(stride) + high * dy
    with np.errstate(over="ignore", invalid="ignore"):
        box_width, box_height = np.exp(dw) * wide, np.exp(dh) * high
        left, top = centre_x - box_width / 2, centre_y - box_height / 2
        right, bottom = left + box_width, top + box_height
    edges = [
        _clipped(edge, limit - 1) for edge, limit in zip((left, top, right, bottom), (width, height) * 2, strict=True)
    ]
    boxes = np.stack(edges, axis=-1).reshape(count, -1, 4)
    small = (boxes[..., 2] - boxes[..., 0] <= least) | (boxes[..., 3] - boxes[..., 1] <= least)
    ranked = np.where(small, -np.inf, scores.reshape(count, -1))
    chosen = np.zeros((count, after, 4), np.float32)
    for image in range(count):
        order = np.argsort(-ranked[image], kind="stable")[:before]
        kept = _suppress(boxes[image, order], overlap, after)
        chosen[image, : len(kept)] = kept
    scale = np.array([height - 1, width - 1, height - 1, width - 1], np.float32)
    normalised: _Array = (chosen[..., [1, 0, 3, 2]] / scale)[..., None]
    return normalised


def _clipped(values: _Array, last: int) -> _Array:
    """Values within 0 and ``last``; what is undefined becomes 0, as it does there."""
    clipped: _Array = np.minimum(np.where(values >= 0, values, 0), last).astype(np.float32)
    return clipped


def _suppress(boxes: _Array, overlap: float, most: int) -> _Array:
    """Of boxes x1, y1, x2, y2, best first, those that no better one covers; the last pixel belongs to a box."""
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    left = np.ones(len(boxes), bool)
    kept: list[int] = []
    while len(kept) < most and left.any():
        best = int(left.argmax())
        kept.append(best)
        left[best] = False
        rest = np.flatnonzero(left)
        low = np.maximum(boxes[rest, :2], boxes[best, :2])
        high = np.minimum(boxes[rest, 2:], boxes[best, 2:])
        shared = np.maximum(high - low + 1, 0).prod(axis=1)
        left[rest[shared / (areas[rest] + areas[best] - shared) > np.float32(overlap)]] = False
    return boxes[kept]


def crop_and_resize(features: _Array, boxes: _Array, *, size: tuple[int, int], flat: bool = False) -> _Array:
    """``CropAndResizeDynamic``: bilinear samples of feature maps inside of boxes, corner to corner.

    Args:
        features: (N, C, H, W).
        boxes: (N, R, 4, 1) or (N, R, 4): y1, x1, y2, x2 in 0..1.
        size: height and width of the result.
        flat: give the regions of all images along one axis.

    Returns:
        (N, R, C, height, width) or (N·R, C, height, width) float32; 0 where a sample lies outside.
    """
    count, channels, rows, columns = features.shape
    boxes = boxes.reshape(count, -1, 4)
    result = np.zeros((count, boxes.shape[1], channels, *size), np.float32)
    for image in range(count):
        ys = _samples(boxes[image, :, 0], boxes[image, :, 2], size[0], rows)
        xs = _samples(boxes[image, :, 1], boxes[image, :, 3], size[1], columns)
        for region, (y, x) in enumerate(zip(ys, xs, strict=True)):
            inside_y, inside_x = (y >= 0) & (y <= rows - 1), (x >= 0) & (x <= columns - 1)
            y, x = np.where(inside_y, y, 0), np.where(inside_x, x, 0)
            top, left = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
            bottom, right = np.ceil(y).astype(np.intp), np.ceil(x).astype(np.intp)
            across, down = (x - left).astype(np.float32), (y - top).astype(np.float32)[:, None]
            upper, lower = features[image][:, top], features[image][:, bottom]
            first = upper[:, :, left] + (upper[:, :, right] - upper[:, :, left]) * across
            second = lower[:, :, left] + (lower[:, :, right] - lower[:, :, left]) * across
            result[image, region] = (first + (second - first) * down) * (inside_y[:, None] & inside_x)
    return result.reshape(-1, channels, *size) if flat else result


def _samples(low: _Array, high: _Array, count: int, extent: int) -> _Array:
    """Where to sample along one axis, in cells, from end to end of each box or in its middle: (R, count)."""
    last = np.float32(extent - 1)
    if count == 1:
        return np.float32(0.5) * (low + high)[:, None] * last
    step = (high - low) * last / np.float32(count - 1)
    points: _Array = low[:, None] * last + np.arange(count, dtype=np.float32) * step[:, None]
    return points
