"""Bias correction: what quantisation adds to the output of a convolution on average is taken off its bias.

Rounding and clipping shift means: of small positive values more are rounded down to 0 than up, and each weight errs to
one side. Of a convolution the mean of an output channel follows from the means of the input channels and the sums of
the weights, so that one pass of the float model, with Q/DQ beside it, tells the shift of each layer for itself. (M.
Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, where the means are
those of statistics of training. Zeros of a padding are taken for values like the others.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.models import extras
from int8cal.models.binding import InputBinding
from int8cal.models.names import tensor_names, unique_name
from int8cal.models.opset import opset
from int8cal.models.passes import for_each_image
from int8cal.models.placement import Placement
from int8cal.models.qdq import Range, in_steps, scale_and_zero, weight_steps, with_equal_channels
from int8cal.models.runner import Runner
from int8cal.types import Batches, BatchNCHW_f32, Progress

MOST_IMAGES = 8
"""Each has thousands of values for the mean of a channel."""
_AXES_ARE_AN_INPUT = 18  # of ReduceMean, from this operator set on

_Doubles = npt.NDArray[np.float64]


def images_for_bias(digests: Sequence[bytes], without: Collection[int] = ()) -> frozenset[int]:
    """Numbers of the images to correct biases with: drawn by their bits, so that their order decides nothing.

    Args:
        digests: of all images.
        without: numbers of those that are held out.
    """
    numbers = [number for number in range(len(digests)) if number not in without]
    return frozenset(sorted(numbers, key=lambda number: (digests[number], number))[:MOST_IMAGES])


def bias_errors(
    model: Any,
    placement: Placement,
    ranges: Mapping[str, Range],
    batches: Batches,
    binding: InputBinding,
    numbers: Collection[int],
    *,
    full_range_weights: bool = False,
    progress: Progress | None = None,
) -> dict[str, _Doubles]:
    """INT8 convolution → what is to be added to its bias, shape (output channels,).

    Args:
        model: as `int8cal.models.graph.prepare` gave it.
        placement: where Q/DQ will stand.
        ranges: of the activations, as for `int8cal.models.qdq.insert_qdq`.
        batches: NCHW float32 batches.
        binding: how images get into the model.
        numbers: which images.
        full_range_weights: as for `int8cal.models.qdq.insert_qdq`.
        progress: told about each image.

    Raises:
        UseError: the model fails on the images.
    """
    extended, ranges = with_equal_channels(model, placement, ranges)
    names = set(placement.layers)
    layers = [node for node in extended.graph.node if node.name in names and node.op_type == "Conv"]
    constants = {tensor.name: tensor for tensor in extended.graph.initializer}
    ranks = {node.input[0]: len(constants[node.input[1]].dims) for node in layers}
    taken = tensor_names(extended.graph) | {node.name for node in extended.graph.node}
    means = {
        tensor: _with_means(extended, taken, tensor, rank, *scale_and_zero(ranges[tensor], unsigned=placement.unsigned))
        for tensor, rank in ranks.items()
    }
    wanted = [name for pair in means.values() for name in pair]
    runner = Runner(extended, wanted, binding, optimized=True)

    def run(_: list[int], images: BatchNCHW_f32) -> tuple[list[dict[str, _Doubles]], int]:
        parts = list(runner.run(images))
        joined = {name: np.concatenate([part[name] for part in parts], dtype=np.float64) for name in wanted}
        averages = {name: values.mean(axis=0) for name, values in joined.items()}
        return [averages] * len(images), 0  # each image counts, and the last run may have fewer

    size = binding.batch or 1
    runs = for_each_image(batches, size, run, wanted=numbers.__contains__, progress=progress, phase="correcting biases")
    each = [averages for found in runs for averages in found]
    found = {name: np.sort([values[name] for values in each], axis=0).mean(axis=0) for name in wanted}  # in any order
    steps = weight_steps(placement, full_range_weights=full_range_weights)
    errors = {}
    for node in layers:
        weights = extras.onnx().numpy_helper.to_array(constants[node.input[1]])
        whole, scale = in_steps(weights, 0, steps)
        before, after = (found[name] for name in means[node.input[0]])
        errors[node.name] = _mean_output(weights, before) - _mean_output(whole * scale, after)
    return errors


def _with_means(model: Any, taken: set[str], tensor: str, rank: int, scale: Any, zero: Any) -> tuple[str, str]:
    """Add the means of a tensor's channels, before and behind Q/DQ, to a model whose names are ``taken``."""
    onnx, graph = extras.onnx(), model.graph

    def constant(suffix: str, values: Any) -> str:
        name = unique_name(f"{tensor}_{suffix}", taken)
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(kind: str, inputs: list[str], **attributes: Any) -> str:
        output = unique_name(f"{tensor}_{kind}", taken)
        graph.node.append(onnx.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def mean(of: str) -> str:
        axes = list(range(2, rank))
        if opset(model) < _AXES_ARE_AN_INPUT:
            return node("ReduceMean", [of], axes=axes, keepdims=0)
        return node("ReduceMean", [of, constant("axes", np.array(axes, np.int64))], keepdims=0)

    pair = [constant("step", scale), constant("zero", zero)]
    return mean(tensor), mean(node("DequantizeLinear", [node("QuantizeLinear", [tensor, *pair]), *pair]))


def _mean_output(weights: npt.NDArray[Any], means: _Doubles) -> _Doubles:
    """Mean of each output channel of a convolution without bias, of the means of its input channels."""
    outputs, in_group = weights.shape[:2]
    groups = means.size // in_group
    sums = weights.astype(np.float64).reshape(outputs, in_group, -1).sum(axis=2)
    found: _Doubles = np.einsum("goc,gc->go", sums.reshape(groups, -1, in_group), means.reshape(groups, in_group))
    return found.reshape(-1)
