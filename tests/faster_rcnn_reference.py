"""The two plug-ins in the middle of FasterRCNN, one box and one value at a time: the NumPy kernels are held against it.

Written from TensorRT's published sources alone, without a look at ``int8cal.models.kernels``:
https://github.com/NVIDIA/TensorRT, commit a892d22, ``plugin/common/kernels/proposalKernel.cu`` and
``plugin/common/kernels/cropAndResizeKernel.cu``; commit 0d36bbb, ``plugin/proposalPlugin/proposalPlugin.cpp`` (the
plug-in takes the square root of each ratio and divides the regression by 1). Python floats (float64) where the plug-in
has float32, so results agree to float32's precision as long as no comparison is that close.
"""

import math

import numpy as np


def proposals(
    scores: np.ndarray,
    deltas: np.ndarray,
    *,
    input_height: int,
    input_width: int,
    rpn_stride: int,
    roi_min_size: float,
    nms_iou_threshold: float,
    pre_nms_top_n: int,
    post_nms_top_n: int,
    anchor_sizes: list[float],
    anchor_ratios: list[float],
) -> np.ndarray:
    """Regions of interest ``[N, post_nms_top_n, 4, 1]`` as (y1, x1, y2, x2) in 0..1, zeros behind the last.

    ``scores`` is ``[N, A, H, W]``, ``deltas`` ``[N, 4 A, H, W]``, with A = sizes x ratios, ratios fastest.
    """
    count, anchors, rows, columns = scores.shape
    result = np.zeros((count, post_nms_top_n, 4, 1), np.float32)
    for image in range(count):
        found = []
        for anchor in range(anchors):
            size = anchor_sizes[anchor // len(anchor_ratios)]
            root = math.sqrt(anchor_ratios[anchor % len(anchor_ratios)])
            for row in range(rows):
                for column in range(columns):
                    box = decoded(
                        [float(deltas[image, 4 * anchor + k, row, column]) for k in range(4)],
                        centre=((column + 0.5) * rpn_stride, (row + 0.5) * rpn_stride),
                        size=(size * root, size / root),
                        limits=(input_width - 1.0, input_height - 1.0),
                    )
                    score = float(scores[image, anchor, row, column])
                    if box[2] - box[0] <= roi_min_size or box[3] - box[1] <= roi_min_size:
                        score = -math.inf
                    found.append((score, box))
        found.sort(key=lambda pair: -pair[0])  # stable, as a radix sort is: equal scores stay in order
        candidates = [box for _, box in found[:pre_nms_top_n]]
        kept: list[tuple[float, float, float, float]] = []
        for box in candidates:
            if len(kept) == post_nms_top_n:
                break
            if all(overlap(other, box) <= nms_iou_threshold for other in kept):
                kept.append(box)
        for place, (x1, y1, x2, y2) in enumerate(kept):
            height, width = input_height - 1.0, input_width - 1.0
            result[image, place, :, 0] = (y1 / height, x1 / width, y2 / height, x2 / width)
    return result


def decoded(
    delta: list[float], *, centre: tuple[float, float], size: tuple[float, float], limits: tuple[float, float]
) -> tuple[float, float, float, float]:
    """The box (x1, y1, x2, y2) of one anchor in pixels, cut to the picture."""
    edges = []
    for axis in range(2):
        middle = centre[axis] + size[axis] * delta[axis]
        extent = math.exp(delta[2 + axis]) * size[axis]
        low = middle - extent / 2.0
        edges.append([min(max(edge, 0.0), limits[axis]) for edge in (low, low + extent)])
    return edges[0][0], edges[1][0], edges[0][1], edges[1][1]


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union, where a box includes its last pixel."""
    width = max(min(one[2], other[2]) - max(one[0], other[0]) + 1.0, 0.0)
    height = max(min(one[3], other[3]) - max(one[1], other[1]) + 1.0, 0.0)
    areas = [(box[2] - box[0] + 1.0) * (box[3] - box[1] + 1.0) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def crops(features: np.ndarray, regions: np.ndarray, *, crop_height: int, crop_width: int) -> np.ndarray:
    """``[N, R, C, crop_height, crop_width]``: each region of ``[N, R, 4, 1]`` cut from its image ``[N, C, H, W]``.

    NaN where float32's rounding decides whether a sample lies on the border or outside, where the plug-in has 0.
    """
    count, depth, rows, columns = features.shape
    boxes = regions.shape[1]
    result = np.zeros((count, boxes, depth, crop_height, crop_width), np.float32)
    for image in range(count):
        for box in range(boxes):
            y1, x1, y2, x2 = (float(value) for value in regions[image, box].reshape(4))
            for y in range(crop_height):
                for x in range(crop_width):
                    down = position(y, y1, y2, crop_height, rows)
                    across = position(x, x1, x2, crop_width, columns)
                    if undecided(down, rows) or undecided(across, columns):
                        result[image, box, :, y, x] = np.nan
                        continue
                    if not (0 <= down <= rows - 1 and 0 <= across <= columns - 1):
                        continue  # extrapolated: 0
                    top, bottom = math.floor(down), math.ceil(down)
                    left, right = math.floor(across), math.ceil(across)
                    for channel in range(depth):
                        plane = features[image, channel]
                        upper = float(plane[top, left]) + (float(plane[top, right]) - float(plane[top, left])) * (
                            across - left
                        )
                        lower = float(plane[bottom, left]) + (
                            float(plane[bottom, right]) - float(plane[bottom, left])
                        ) * (across - left)
                        result[image, box, channel, y, x] = upper + (lower - upper) * (down - top)
    return result


def position(step: int, first: float, last: float, steps: int, size: int) -> float:
    """Where a step of the crop lies in the features, in pixels: in the middle if there is only one step."""
    if steps == 1:
        return 0.5 * (first + last) * (size - 1)
    return first * (size - 1) + step * (last - first) * (size - 1) / (steps - 1)


def undecided(place: float, size: int) -> bool:
    """Whether a place is so close to the border that its last bits decide on which side it lies."""
    return any(0 < abs(place - border) < 1e-5 * size for border in (0, size - 1)) or (place == size - 1 > 0)
