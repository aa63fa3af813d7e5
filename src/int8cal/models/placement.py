"""Which tensors of a model become INT8: the policy, as a table of rules with their reasons (`RULES`, at the end).

Two engines want two forms. **TensorRT** fuses what follows a weighted layer into it, so Q/DQ stands on the inputs of
layers only. **ONNX Runtime** (and OpenVINO) runs a layer in INT8 only between a DequantizeLinear and a QuantizeLinear,
so there the outputs of layers have Q/DQ, too. What is named by ``--exclude`` reads no DequantizeLinear in either.

Sources: NVIDIA's *Explicit quantization* chapter; ``add_custom_qdq_cases.md`` of NVIDIA/TensorRT (one input of a
residual Add); the placement of NVIDIA ModelOpt 0.47 on the same graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from int8cal.errors import UseError
from int8cal.io.summary import counted
from int8cal.models.graph import WEIGHTED_OPS
from int8cal.models.names import Patterns
from int8cal.models.onnx_file import ORIGINAL_HINT
from int8cal.models.wiring import Wiring
from int8cal.types import Target

_LEAST_CHANNELS = 16  # below, Tensor Cores gain nothing
_GROUPED_STEP = 8  # grouped convolutions have INT8 kernels for multiples of this many channels …
_GROUPED_KERNEL = 3  # … and kernels from this size on
_LEFT_OUT = ("weight_first", "contributed", "within", "empty")  # rules that concern what no option of ours makes INT8
_ORT_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})  # ONNX Runtime has no INT8 ConvTranspose


@dataclass(frozen=True)
class Placement:
    """Where Q/DQ stands.

    Attributes:
        target: the engine that the placement is for.
        reads: INT8 node → positions of the inputs that it reads from a DequantizeLinear; weights are not listed.
        layers: those of the INT8 nodes that have weights, in the order of the graph.
        shared: sets of tensors that must have one scale.
        floated: quantisable layers that stay float → the rule that decided so.
        did: rule → names of the nodes that it found, in the order of `RULES`.
    """

    target: Target
    reads: Mapping[str, tuple[int, ...]]
    layers: tuple[str, ...]
    shared: tuple[frozenset[str], ...]
    floated: Mapping[str, str]
    did: Mapping[str, tuple[str, ...]]

    @property
    def unsigned(self) -> bool:
        """Whether activations are uint8, the form that ONNX Runtime computes in integers; TensorRT's is int8."""
        return self.target == "onnxruntime"

    def tensors(self, model: Any) -> list[str]:
        """The activations that get Q/DQ, in the order in which they are read first."""
        found: dict[str, None] = {}
        for node in model.graph.node:
            found.update(dict.fromkeys(node.input[position] for position in self.reads.get(node.name, ())))
        return list(found)

    @property
    def left_out(self) -> list[tuple[str, tuple[str, ...]]]:
        """Layers that stay float because of how the model is written: the rule in words, and their names."""
        return [
            (rule.says, names) for rule in RULES if rule.name in _LEFT_OUT and (names := self.did.get(rule.name, ()))
        ]

    def with_shared_scales(self, amax: Mapping[str, float]) -> dict[str, float]:
        """Thresholds in which tensors that must have one scale have the widest of theirs."""
        result = dict(amax)
        for group in self.shared:
            widest = max((amax[name] for name in group if name in amax), default=0.0)
            result.update((name, widest) for name in group if name in amax)
        return result


@dataclass(frozen=True)
class Rule:
    """One line of the policy.

    Attributes:
        name: in reports.
        says: what becomes INT8 or stays float.
        reason: why.
        apply: does it; gives the names of the nodes concerned.
        targets: the engines that it is for.
    """

    name: str
    says: str
    reason: str
    apply: Callable[[_Draft], Iterable[str]]
    targets: tuple[Target, ...] = ("tensorrt", "onnxruntime")


@dataclass
class _Draft:
    """A placement in the making."""

    wiring: Wiring
    exclude: Patterns
    target: Target
    reads: dict[str, tuple[int, ...]] = field(default_factory=dict)
    layer_names: set[str] = field(default_factory=set)
    floated: dict[str, str] = field(default_factory=dict)
    shared: list[frozenset[str]] = field(default_factory=list)

    def layers(self) -> list[Any]:
        """The layers that are INT8 as far as the rules have come."""
        return [node for node in self.wiring.nodes if self.is_layer(node)]

    def is_layer(self, node: Any) -> bool:
        return node.name in self.layer_names

    def is_excluded(self, node: Any) -> bool:
        return self.exclude.fit(node.name)

    def leave(self, rule: str, nodes: Sequence[Any]) -> list[str]:
        """Make layers float again."""
        for node in nodes:
            self.layer_names.remove(node.name)
            del self.reads[node.name]
            self.floated[node.name] = rule
        return [node.name for node in nodes]

    def name_floats(self, rule: str, names: Iterable[str]) -> list[str]:
        """Note layers that no rule makes INT8."""
        found = list(names)
        self.floated.update((name, rule) for name in found)
        return found


def place(wiring: Wiring, exclude: Sequence[str] = (), target: Target = "tensorrt") -> Placement:
    """Apply the rules to a model.

    Args:
        wiring: of a model as `int8cal.models.graph.prepare` gave it.
        exclude: node names or shell patterns (``*/head/*``) that stay float.
        target: the engine that runs the result.

    Raises:
        UseError: a pattern fits no node, or no layer is left to quantise.
    """
    draft = _Draft(wiring, Patterns(exclude), target)
    did = {rule.name: tuple(rule.apply(draft)) for rule in RULES if target in rule.targets}
    layers = tuple(node.name for node in draft.layers())
    if not layers:
        raise _nothing_left(draft)
    return Placement(target, draft.reads, layers, _merged(draft.shared), draft.floated, did)


def _nothing_left(draft: _Draft) -> UseError:
    why = sorted(set(draft.floated.values()))
    if not why:
        return UseError(
            f"there is nothing to quantise: no {', '.join(WEIGHTED_OPS)} with constant float weights is left",
            hint="Give a float32 model that holds its weights.",
        )
    said = {rule.name: rule.says for rule in RULES}
    return UseError(
        f"there is nothing to quantise: of {counted(len(draft.floated), 'layer')} with weights, none becomes INT8 "
        f"({'; '.join(said[name] for name in why)})",
        hint=next((_HINTS[name] for name in why if name in _HINTS), _GAINS_NOTHING),
    )


_HINTS = {"contributed": ORIGINAL_HINT, "within": "Export the model with the branch alone that is used."}
_GAINS_NOTHING = "Exclude fewer nodes, or run the float model in FP16: INT8 gains nothing here."


def _merged(groups: Sequence[frozenset[str]]) -> tuple[frozenset[str], ...]:
    """Sets of tensors, those that have a tensor in common made one."""
    merged: list[frozenset[str]] = []
    for group in groups:
        touching = [other for other in merged if other & group]
        merged = [other for other in merged if not other & group]
        merged.append(group.union(*touching))
    return tuple(merged)


# --- layers -----------------------------------------------------------------------------------------------------------


def _layers(draft: _Draft) -> list[str]:
    found = [node for node in draft.wiring.nodes if draft.wiring.has_constant_weight(node)]
    draft.reads.update((node.name, (0,)) for node in found)
    draft.layer_names.update(draft.reads)
    return [node.name for node in found]


def _named(rule: str, is_one: Callable[[Wiring, Any], bool]) -> Callable[[_Draft], list[str]]:
    """Of a rule about nodes that no other rule makes INT8: it names them."""
    return lambda draft: draft.name_floats(rule, (one.name for one in draft.wiring.nodes if is_one(draft.wiring, one)))


def _left(rule: str, is_one: Callable[[Wiring, Any], bool]) -> Callable[[_Draft], list[str]]:
    """Of a rule about layers that the first one has made INT8: it makes them float again."""
    return lambda draft: draft.leave(rule, [layer for layer in draft.layers() if is_one(draft.wiring, layer)])


def _within(draft: _Draft) -> list[str]:
    inside = (name for node in draft.wiring.nodes for name in draft.wiring.layers_within(node))
    return draft.name_floats("within", inside)


def _is_empty(wiring: Wiring, node: Any) -> bool:
    return 0 in wiring.constant_dims[node.input[1]]


def _excluded(draft: _Draft) -> list[str]:
    if idle := draft.exclude.idle([node.name for node in draft.wiring.nodes]):
        names = ", ".join(node.name for node in draft.layers()[:5])
        raise UseError(f"no node fits the exclusion {idle[0]!r}", hint=f"Nodes are named like: {names}.")
    return draft.leave("excluded", [node for node in draft.layers() if draft.is_excluded(node)])


def _is_one_row(wiring: Wiring, node: Any) -> bool:
    return node.op_type in ("Gemm", "MatMul") and wiring.rows_of_one_image(node.input[0]) == 1


def _is_thin(wiring: Wiring, node: Any) -> bool:
    if node.op_type not in ("Conv", "ConvTranspose"):
        return False
    dims = wiring.constant_dims[node.input[1]]
    groups = wiring.groups(node)
    inputs, outputs = (dims[1], dims[0]) if node.op_type == "Conv" else (dims[0] // groups, dims[1] * groups)
    if min(inputs, outputs) >= _LEAST_CHANNELS:
        return False
    if groups > 1:
        return outputs % _GROUPED_STEP != 0 or min(dims[2:], default=0) < _GROUPED_KERNEL
    return wiring.layers_before(node.input[0]) > 0


def _depthwise(draft: _Draft) -> list[str]:
    """Those whose input is the output of a layer: elsewhere a node more would stand between two that move INT8."""
    wiring = draft.wiring
    return [
        node.name
        for node in draft.layers()
        if wiring.is_depthwise(node) and wiring.layer_of(node.input[0]) and node.input[0] not in wiring.outputs
    ]


# --- residual additions -----------------------------------------------------------------------------------------------


def _residual(draft: _Draft) -> list[str]:
    wiring, found = draft.wiring, []
    for node in wiring.nodes:
        if not _is_sum(draft, node) or not wiring.leads_to(node.output[0], draft.is_layer):
            continue
        fused = _fused_input(draft, node)
        if fused is None:
            continue
        draft.reads[node.name] = (1 - fused,)
        found.append(node.name)
    return found


def _is_sum(draft: _Draft, node: Any) -> bool:
    """Whether a node adds two tensors of one shape, both computed from the image."""
    wiring = draft.wiring
    if node.op_type != "Add" or draft.is_excluded(node) or not all(name in wiring.floats for name in node.input):
        return False
    if not all(wiring.sees_image(name) for name in node.input) or node.input[0] == node.input[1]:
        return False
    first, second = (wiring.shapes.get(name) for name in node.input)
    return first is None or second is None or first == second


def _fused_input(draft: _Draft, node: Any) -> int | None:
    """The input whose layer the addition is fused with, and which therefore has no Q/DQ; None: it is not residual."""
    wiring = draft.wiring
    fusible = []
    for position in (0, 1):
        layer = wiring.layer_of(node.input[position])
        other = node.input[1 - position]
        if layer is not None and draft.is_layer(layer) and not wiring.comes_after(other, layer):
            fusible.append(position)
    if len(fusible) < 2:
        return fusible[0] if fusible else None
    own = [wiring.layers_only_in(node.input[position], node.input[1 - position]) for position in (0, 1)]
    return 1 if own[1] > own[0] else 0


# --- what INT8 passes through -----------------------------------------------------------------------------------------

_ONE_SCALE = frozenset({"Concat", "MaxPool"})  # and nearest Resize: values are moved or chosen, never computed


def _pass_through(draft: _Draft) -> list[str]:
    wiring = draft.wiring
    return _let_through(draft, lambda node: wiring.data_inputs(node) or wiring.gated_inputs(node))


def _let_through(draft: _Draft, inputs_of: Callable[[Any], tuple[int, ...]]) -> list[str]:
    """Make nodes INT8 that stand between INT8 nodes; ``inputs_of`` gives their data inputs, () for all others."""
    wiring = draft.wiring
    candidates = {
        node.name: inputs
        for node in wiring.nodes
        if node.name not in draft.reads
        and not draft.is_excluded(node)
        and (inputs := inputs_of(node))
        and all(node.input[position] in wiring.floats for position in inputs)
    }
    before = _after_int8(draft, candidates)
    after = _before_int8(draft, candidates)
    found = [
        node
        for node in wiring.nodes
        if node.name in candidates
        and node.output[0] in after
        and all(node.input[position] in before for position in _must_be_int8(node, candidates[node.name]))
    ]
    for node in found:
        draft.reads[node.name] = candidates[node.name]
        if node.op_type in _ONE_SCALE or wiring.is_nearest(node):
            draft.shared.append(frozenset([*(node.input[at] for at in candidates[node.name]), node.output[0]]))
    return [node.name for node in found]


def _must_be_int8(node: Any, inputs: tuple[int, ...]) -> tuple[int, ...]:
    """All data inputs; of a squeeze-excite product, the picture (its gate may be computed in float)."""
    return inputs if node.op_type != "Mul" else inputs[:1]


def _after_int8(draft: _Draft, candidates: Mapping[str, tuple[int, ...]]) -> set[str]:
    """Tensors that INT8 nodes make, through element-wise operations, moves of data and nodes that may be INT8."""
    wiring, found = draft.wiring, set[str]()
    for node in wiring.nodes:
        if node.name in draft.reads:
            is_int8 = True
        elif node.name in candidates:
            is_int8 = all(node.input[at] in found for at in _must_be_int8(node, candidates[node.name]))
        else:
            source = wiring.pointwise_of(node) or wiring.moved_by(node)
            is_int8 = source in found
        if is_int8:
            found.update(node.output)
    return found


def _before_int8(draft: _Draft, candidates: Mapping[str, tuple[int, ...]]) -> set[str]:
    """Tensors that INT8 nodes read, directly or through moves of data and nodes that may be INT8."""
    wiring, found = draft.wiring, set[str]()
    for node in reversed(wiring.nodes):
        if node.name in draft.reads:
            found.update(node.input[position] for position in draft.reads[node.name])
        elif found.intersection(node.output):
            if node.name in candidates:
                found.update(node.input[position] for position in candidates[node.name])
            elif moved := wiring.moved_by(node):
                found.add(moved)
    return found


# --- ONNX Runtime -----------------------------------------------------------------------------------------------------

_ORT_KERNELS = frozenset({"Add", "Mul", "Sigmoid", "LeakyRelu"})


def _elementwise(draft: _Draft) -> list[str]:
    wiring = draft.wiring

    def inputs(node: Any) -> tuple[int, ...]:
        if node.op_type in _ORT_KERNELS and all(
            name in wiring.floats and name not in wiring.constant_dims for name in node.input
        ):
            return tuple(range(len(node.input)))
        return wiring.data_inputs(node)

    return _let_through(draft, inputs)


def _outputs(draft: _Draft) -> list[str]:
    """All nodes but excluded ones read the outputs of INT8 convolutions, and of their neighbours, through Q/DQ."""
    wiring = draft.wiring
    quantized = {node.input[at] for node in wiring.nodes if node.name in draft.reads for at in draft.reads[node.name]}
    found = []
    for node in wiring.nodes:
        if draft.is_layer(node) and node.op_type == "Conv":
            tensor = wiring.after_relu(node.output[0])
            if tensor not in wiring.outputs:
                quantized.add(tensor)
                found.append(node.name)
    for node in wiring.nodes:
        at = tuple(position for position, name in enumerate(node.input) if name in quantized)
        if at and not draft.is_excluded(node):
            draft.reads[node.name] = at
    return found


RULES: tuple[Rule, ...] = (
    Rule(
        "layers",
        "convolutions and matrix products with constant float32 weights are INT8: weight and input",
        "there the arithmetic is; products of two activations (attention) lose too much",
        _layers,
    ),
    Rule(
        "weight_first",
        "matrix products whose constant weight is the left operand stay float",
        "a weight has a scale for each output channel, and INT8 kernels want those on the right",
        _named("weight_first", Wiring.has_weight_first),
    ),
    Rule(
        "contributed",
        "layers of ONNX Runtime's own operators (FusedConv, Attention), which exporters do not write, stay float",
        "its optimiser makes them of others, and TensorRT does not know them",
        _named("contributed", Wiring.has_contributed_weight),
    ),
    Rule(
        "within",
        "layers in the branches of an If stay float",
        "ranges are those of the branches that ran, and another one may run on other images",
        _within,
    ),
    Rule(
        "empty",
        "layers whose weights hold no values (0 channels) stay float",
        "they compute nothing, and engines fail on them in INT8",
        _left("empty", _is_empty),
    ),
    Rule(
        "excluded",
        "nodes named by --exclude stay float",
        "the user says so: they read no DequantizeLinear and keep their float weights",
        _excluded,
    ),
    Rule(
        "one_row",
        "matrix products with one row for each image stay float",
        "a product of a vector and a matrix has no use for Tensor Cores; it is bound by memory, and classifiers end so",
        _left("one_row", _is_one_row),
        ("tensorrt",),
    ),
    Rule(
        "few_channels",
        f"convolutions with fewer than {_LEAST_CHANNELS} channels stay float, but for the first; grouped ones are INT8 "
        f"if their outputs are a multiple of {_GROUPED_STEP} and their kernels at least {_GROUPED_KERNEL} wide",
        "Tensor Cores gain nothing there, and the outputs of detectors lose most",
        _left("few_channels", _is_thin),
        ("tensorrt",),
    ),
    Rule(
        "no_kernel",
        "transposed convolutions stay float",
        "ONNX Runtime has no INT8 kernel for them",
        _left("no_kernel", lambda _, node: node.op_type not in _ORT_LAYERS),
        ("onnxruntime",),
    ),
    Rule(
        "depthwise",
        "channels of the input of a depthwise convolution are brought to one range where they are 6 dB and more below "
        "the loudest on average: a Mul in front, the inverse in the weights",
        "so each channel has the whole range of INT8, although the tensor has one scale, as TensorRT wants it",
        _depthwise,
        ("tensorrt",),
    ),
    Rule(
        "residual",
        "a residual Add reads one of its inputs from Q/DQ: the one that is not the output of a layer before it, or is "
        "that of the branch with fewer layers",
        "so TensorRT fuses convolution and addition. Sums that lead to no layer (coordinates, gates, streams of "
        "LayerNorm) or are not of a layer's output (position embeddings) stay float: they need the precision",
        _residual,
        ("tensorrt",),
    ),
    Rule(
        "pass_through",
        "pooling, Concat, Resize and the product of a picture and its channels' gates (squeeze-excite) are INT8 where "
        "INT8 comes in and goes out; with one scale where values are only moved",
        "else data would go to float and back between two INT8 layers; INT8 moves a quarter of the bytes",
        _pass_through,
        ("tensorrt",),
    ),
    Rule(
        "elementwise",
        "sums, products, activations, pooling, Concat and Resize between INT8 nodes are INT8",
        "ONNX Runtime has kernels for them that take and give INT8",
        _elementwise,
        ("onnxruntime",),
    ),
    Rule(
        "outputs",
        "outputs of INT8 convolutions have Q/DQ, behind a ReLU; but not the outputs of the model",
        "ONNX Runtime runs a convolution in INT8 only between DequantizeLinear and QuantizeLinear",
        _outputs,
        ("onnxruntime",),
    ),
)
"""The policy. Rules are applied in this order; inputs of softmax and outputs of the model never have Q/DQ, because no
rule makes those who read them INT8."""
