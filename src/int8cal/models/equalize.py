"""Depthwise convolutions: what amounts to a scale for each channel of the input, where TensorRT allows but one.

The scale of an activation is that of its loudest channel, and often 20 dB lie between that and the others. For
depthwise convolutions, which treat each channel for itself, this is most of the error. There a factor for each channel
of the input, and the inverse in the weights, which have a scale for each channel anyway, leave what is computed as it
is, and give every channel the whole range of INT8. The idea is that of M. Nagel et
al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019). The factors are a node
``Mul`` behind the activation function, and no part of the layer before it, so that every tensor keeps its values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.models import extras
from int8cal.models.names import all_graphs, replace_values, tensor_names, unique_name

Peaks = npt.NDArray[np.float32]

SUFFIX = "_equalized"
_WORTH_DB = 6.0  # one bit: by less, a node more is not worth it
_LEAST = 1 / 256  # of the range of the loudest channel; on other images a channel that was silent may not be


def shares(peaks: Peaks) -> npt.NDArray[np.float32] | None:
    """What part of the range of the loudest channel each channel needs, shape (C,); None if they are much the same.

    Args:
        peaks: largest magnitude of each channel on the calibration images, shape (C,); one that never left 0 is taken
            to need all.
    """
    active = peaks > 0.0
    if not active.any():
        return None
    found = np.where(active, np.maximum(peaks / peaks.max(), _LEAST), 1.0)
    gained = -20.0 * np.log10(found[active]).mean()
    return found.astype(np.float32) if gained >= _WORTH_DB else None


def is_uneven(peaks: Peaks) -> bool:
    """Whether the channels of a tensor are brought to one range."""
    return shares(peaks) is not None


def equalize(model: Any, layers: Collection[str], peaks: Mapping[str, Peaks]) -> dict[str, float]:
    """Let depthwise convolutions read inputs all of whose channels have one range.

    Args:
        model: as `int8cal.models.graph.prepare` gave it; is changed.
        layers: names of depthwise convolutions.
        peaks: input of such a layer → largest magnitude of each channel; others are left as they are.

    Returns:
        Each new tensor → its largest magnitude on the calibration images.
    """
    found = {source: share for source, values in peaks.items() if (share := shares(values)) is not None}
    uneven = [node for node in model.graph.node if node.name in layers and node.input[0] in found]
    if not uneven:
        return {}
    work = _Equalization(model.graph)
    for node in uneven:
        work.equalize(node, found[node.input[0]], float(peaks[node.input[0]].max()))
    work.finish()
    return work.largest


class _Equalization:
    """Nodes and weights of a graph on their way.

    Attributes:
        largest: new tensor → its largest magnitude.
    """

    def __init__(self, graph: Any) -> None:
        self.largest: dict[str, float] = {}
        self._graph = graph
        self._taken = tensor_names(graph)
        self._nodes_taken = {node.name for node in graph.node}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._scaled: dict[str, str] = {}
        self._after: dict[str, Any] = {}

    def equalize(self, node: Any, share: npt.NDArray[np.float32], peak: float) -> None:
        """Let one layer read a tensor that is scaled by the inverse of ``share``, shape (C,), and peaks at ``peak``."""
        to_array = extras.onnx().numpy_helper.to_array
        weights = to_array(self._constants[node.input[1]])
        each = np.repeat(share, len(weights) // len(share))  # a channel may have several outputs
        node.input[1] = self._constant(node.input[1], weights * each.reshape(-1, *[1] * (weights.ndim - 1)))
        node.input[0] = self._input(node.input[0], share, weights.ndim)
        self.largest[node.input[0]] = peak

    def finish(self) -> None:
        """Put the new nodes behind those whose outputs they read, and drop weights that nobody reads any more."""
        ordered = []
        for node in self._graph.node:
            ordered.append(node)
            ordered += [self._after[output] for output in node.output if output in self._after]
        replace_values(self._graph.node, ordered)
        read = {name for part in all_graphs(self._graph) for node in part.node for name in node.input}
        read |= {output.name for part in all_graphs(self._graph) for output in part.output}
        replace_values(self._graph.initializer, [item for item in self._graph.initializer if item.name in read])

    def _input(self, source: str, share: npt.NDArray[np.float32], rank: int) -> str:
        if source not in self._scaled:
            factors = self._constant(f"{source}_factors", (1 / share).reshape(1, -1, *[1] * (rank - 2)))
            self._scaled[source] = unique_name(f"{source}{SUFFIX}", self._taken)
            name = unique_name(f"{source}{SUFFIX}", self._nodes_taken)
            node = extras.onnx().helper.make_node("Mul", [source, factors], [self._scaled[source]], name=name)
            self._after[source] = node
        return self._scaled[source]

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        name = unique_name(f"{name}{SUFFIX}", self._taken)
        self._graph.initializer.append(extras.onnx().numpy_helper.from_array(values.astype(np.float32), name))
        return name
