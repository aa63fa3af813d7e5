"""Who makes and who reads each tensor of a graph, and what lies between two nodes: the words of the placement rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from int8cal.errors import UseError
from int8cal.models import extras
from int8cal.models.binding import InputBinding
from int8cal.models.graph import WEIGHTED_OPS, float_tensors, layers_within
from int8cal.models.names import computed_from, free_inputs
from int8cal.models.onnx_file import CONTRIBUTED_DOMAIN
from int8cal.models.runner import Runner
from int8cal.models.shapes import activation_shapes

_UNARY = frozenset(
    {"Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Softplus", "Softsign", "HardSwish", "Mish", "Gelu", "Abs", "Neg"}
    | {"ThresholdedRelu", "Identity", "Dropout"}
)  # activation functions that let values through; Sigmoid and Tanh make gates of them
_GATES = frozenset({"Sigmoid", "HardSigmoid", "Tanh", "Erf"})
_WITH_CONSTANTS = frozenset({"Add", "Sub", "Mul", "Div", "Clip", "PRelu", "BatchNormalization", "Pow", "Min", "Max"})
_MOVES = frozenset(
    {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Split", "Slice", "Expand", "Tile", "Pad"}
    | {"DepthToSpace", "SpaceToDepth", "Identity"}
)
_POOLS = frozenset(["MaxPool", "AveragePool", "GlobalAveragePool"])
_LARGEST_FILL = 1e4  # of a border that is part of the picture: that of a maximum is the lowest number, or infinite
_LONGEST_GATE = 8  # steps from a tensor to the factor that gates it: x · (1 + erf(x / √2)) / 2 has five


class Wiring:
    """A prepared model's graph, read from both ends of each tensor.

    Args:
        model: as `int8cal.models.graph.prepare` gave it.
        binding: how images get into it.
        image_shape: (C, H, W) of the images.

    Attributes:
        nodes: in topological order.
        floats: names of all float32 tensors.
        constant_dims: constant → its shape.
        shapes: activation → its shape for one batch of ``batch`` images, where it is known.
        activation_bytes: of all activations together; see `int8cal.models.shapes.ActivationShapes`.
        batch: 1, or the model's fixed batch size.
        outputs: names of the model's outputs.
        bordered: pictures with a border of numbers so large that no scale fits both; what pools them stays float.
    """

    def __init__(self, model: Any, binding: InputBinding, image_shape: tuple[int, int, int]) -> None:
        self.nodes = list(model.graph.node)
        self.floats = float_tensors(model)
        self.constant_dims = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        self.outputs = {output.name for output in model.graph.output}
        self.bordered = _bordered(model)
        self.batch = binding.batch or 1
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.activation_bytes: int | None = None
        if inferred := activation_shapes(model, binding, image_shape):
            of_a_run = _shapes_of_a_run(model, inferred.missing, binding, (self.batch, *image_shape))
            self.shapes = inferred.known | of_a_run
            self.activation_bytes = inferred.nbytes
        self._made_by = {name: node for node in self.nodes for name in node.output if name}
        self._read_by: dict[str, list[tuple[Any, int]]] = defaultdict(list)
        self._layers_above: dict[str, int] = {}  # tensor → bit set of the layers that it depends on
        self._layer_bits: dict[str, int] = {}
        images = (binding.name, *(kernel.output for kernel in binding.kernels))
        self._seeing = computed_from(self.nodes, images, by_shape=False)
        for node in self.nodes:
            above = 0
            for position, name in enumerate(node.input):
                self._read_by[name].append((node, position))
                above |= self._layers_above.get(name, 0)
            if self.has_constant_weight(node):
                self._layer_bits[node.name] = 1 << len(self._layer_bits)
                above |= self._layer_bits[node.name]
            self._layers_above.update(dict.fromkeys(node.output, above))

    def has_constant_weight(self, node: Any) -> bool:
        """Whether a node is a convolution or matrix product of a float32 activation with a constant float32 weight."""
        if node.op_type not in WEIGHTED_OPS or any(name and name not in self.floats for name in node.input):
            return False
        return node.input[0] not in self.constant_dims and node.input[1] in self.constant_dims

    def has_weight_first(self, node: Any) -> bool:
        """Whether a node is the product of a constant float32 matrix, the left one, with an activation."""
        if node.op_type not in ("MatMul", "Gemm") or any(name and name not in self.floats for name in node.input):
            return False
        return len(self.constant_dims.get(node.input[0], ())) > 1 and node.input[1] not in self.constant_dims

    def has_contributed_weight(self, node: Any) -> bool:
        """Whether a node is one of ONNX Runtime's own operators, and has a weight."""
        matrices = (name for name in node.input if name in self.floats and len(self.constant_dims.get(name, ())) > 1)
        return node.domain == CONTRIBUTED_DOMAIN and any(name not in self._seeing for name in matrices)

    def layers_within(self, node: Any) -> Iterator[str]:
        """Names of the layers in the graphs inside a node (``If``)."""
        return layers_within(node, self.constant_dims)

    def sees_image(self, tensor: str) -> bool:
        """Whether the pixels have a part in a tensor; its shape alone gives none."""
        return tensor in self._seeing

    def layers_before(self, tensor: str) -> int:
        """How many layers with weights a tensor depends on."""
        return self._layers_above.get(tensor, 0).bit_count()

    def layers_only_in(self, tensor: str, other: str) -> int:
        """How many layers a tensor depends on that another does not."""
        return (self._layers_above.get(tensor, 0) & ~self._layers_above.get(other, 0)).bit_count()

    def comes_after(self, tensor: str, layer: Any) -> bool:
        """Whether a tensor depends on a layer."""
        return bool(self._layers_above.get(tensor, 0) & self._layer_bits[layer.name])

    def rows_of_one_image(self, tensor: str) -> float | None:
        """How many vectors a tensor holds for each image; None when its shape is not known."""
        shape = self.shapes.get(tensor)
        return None if shape is None else prod(shape[:-1]) / self.batch

    def groups(self, node: Any) -> int:
        """Number of groups of a convolution."""
        return next((int(item.i) for item in node.attribute if item.name == "group"), 1)

    def is_depthwise(self, node: Any) -> bool:
        """Whether a node is a convolution that computes each of its outputs from one channel."""
        return node.op_type == "Conv" and self.groups(node) > 1 and self.constant_dims[node.input[1]][1] == 1

    def layer_of(self, tensor: str) -> Any:
        """The layer whose output a tensor is, but for a bias and an activation function; None when there is none."""
        node = self._made_by.get(tensor)
        while node is not None and not self.has_constant_weight(node):
            source = self.pointwise_of(node)
            node = self._made_by.get(source) if source else None
        return node

    def leads_to(self, tensor: str, is_wanted: Callable[[Any], bool]) -> bool:
        """Whether a wanted layer reads a tensor, directly or through activation functions, pooling and Concat."""
        seen, waiting = {tensor}, [tensor]
        while waiting:
            name = waiting.pop()
            for node, position in self._read_by[name]:
                if position == 0 and is_wanted(node):
                    return True
                follows = self.pointwise_of(node) == name or position in self.data_inputs(node)
                if follows and node.output[0] not in seen:
                    seen.add(node.output[0])
                    waiting.append(node.output[0])
        return False

    def pointwise_of(self, node: Any) -> str | None:
        """The tensor that a node is an activation function or an affine function of, value by value.

        ``x · sigmoid(x)`` and its kin count, in the node that multiplies.
        """
        names = [name for name in node.input if name and name not in self.constant_dims]
        if len(names) == 1 and (node.op_type in _UNARY or node.op_type in _WITH_CONSTANTS):
            return str(names[0])
        if node.op_type == "Mul" and len(names) == 2:
            for value, gate in (names, names[::-1]):
                if self._is_gate(gate, value):
                    return str(value)
        return None

    def _is_gate(self, gate: str, value: str) -> bool:
        name: str | None = gate
        for _ in range(_LONGEST_GATE):
            node = self._made_by.get(name) if name else None
            if node is None:
                return False
            names = [item for item in node.input if item and item not in self.constant_dims]
            if len(names) != 1 or node.op_type not in _UNARY | _GATES | _WITH_CONSTANTS:
                return False
            name = names[0]
            if name == value:
                return True
        return False

    def moved_by(self, node: Any) -> str | None:
        """The tensor whose values a node only moves."""
        return str(node.input[0]) if node.op_type in _MOVES and node.input[0] not in self.constant_dims else None

    def data_inputs(self, node: Any) -> tuple[int, ...]:
        """Positions of the pictures that pooling, Concat or Resize reads; () for every other node."""
        if not self.bordered.isdisjoint(node.input):
            return ()
        if node.op_type in _POOLS or node.op_type in ("Resize", "Upsample"):
            return (0,) if len([name for name in node.output if name]) == 1 else ()
        if node.op_type == "Concat" and len(node.input) > 1:
            is_constant = any(name in self.constant_dims for name in node.input)
            return () if is_constant else tuple(range(len(node.input)))
        return ()

    def gated_inputs(self, node: Any) -> tuple[int, ...]:
        """(picture, gate): positions of the inputs of a squeeze-excite product; () for every other node."""
        if node.op_type != "Mul" or any(name in self.constant_dims for name in node.input):
            return ()
        shapes = [self.shapes.get(name) for name in node.input]
        for picture, gate in ((0, 1), (1, 0)):
            whole, single = shapes[picture], shapes[gate]
            fit = whole and single and len(whole) == len(single) > 2 and whole[:2] == single[:2]
            if whole and single and fit and prod(single[2:]) == 1 < prod(whole[2:]):
                return (picture, gate)
        return ()

    def is_nearest(self, node: Any) -> bool:
        """Whether a node is a Resize that repeats or leaves out pixels."""
        if node.op_type not in ("Resize", "Upsample"):
            return False
        return all(item.s == b"nearest" for item in node.attribute if item.name == "mode")

    def after_relu(self, tensor: str) -> str:
        """The output of the ReLU or Clip that is a tensor's only reader; else the tensor."""
        readers = self._read_by[tensor]
        if len(readers) == 1 and tensor not in self.outputs and readers[0][0].op_type in ("Relu", "Clip"):
            return str(readers[0][0].output[0])
        return tensor


def _bordered(model: Any) -> set[str]:
    """Outputs of nodes that pad with numbers which no picture holds: a maximum leaves them out."""
    to_array = extras.onnx().numpy_helper.to_array
    scalars = {tensor.name: tensor for tensor in model.graph.initializer if prod(tensor.dims) == 1}
    found = set()
    for node in model.graph.node:
        if node.op_type != "Pad":
            continue
        given = [scalars[name] for name in node.input[2:3] if name in scalars]
        fills = [float(to_array(tensor).ravel()[0]) for tensor in given]
        fills += [attribute.f for attribute in node.attribute if attribute.name == "value"]
        if any(not abs(fill) <= _LARGEST_FILL for fill in fills):
            found.update(node.output)
    return found


def _shapes_of_a_run(
    model: Any, wanted: Sequence[str], binding: InputBinding, shape: tuple[int, int, int, int]
) -> dict[str, tuple[int, ...]]:
    """Shapes that inference does not tell, from a run on black images; none of tensors that are empty there."""
    fed = {binding.name, *binding.constants, *(kernel.output for kernel in binding.kernels)}
    if not wanted or not free_inputs(model.graph) <= fed:
        return {}
    try:
        values = next(Runner(model, wanted, binding).run(np.zeros(shape, np.float32)), {})
    except UseError:
        return {}
    return {name: value.shape for name, value in values.items() if value.size}
