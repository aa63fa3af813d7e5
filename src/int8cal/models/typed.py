"""Types of activations: where ONNX's inference knows none, and float16 that is not to be computed in float32."""

from __future__ import annotations

from typing import Any

from int8cal.models import extras
from int8cal.models.names import copied, replace_values, tensor_names, unique_name
from int8cal.models.session import open_session, with_outputs


def with_types(model: Any, *, data_prop: bool = False) -> Any:
    """A copy of a model with the types and shapes of its activations.

    ONNX's inference knows no type of what operators of ONNX Runtime's own give (``com.microsoft``), nor of anything
    behind them; those are taken from ONNX Runtime.

    Args:
        model: ``onnx.ModelProto`` that ONNX Runtime runs.
        data_prop: follow the values of shapes, too.

    Raises:
        UseError: ONNX Runtime cannot load the model.
    """
    onnx = extras.onnx()
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=data_prop)
    lacking = untyped(inferred)
    if not lacking:
        return inferred
    runtime = extras.onnxruntime()
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = open_session(with_outputs(inferred, lacking), options)
    kinds = {f"tensor({name})": kind for name, kind in _ORT_TYPES.items()}
    stated = {value.name: value for value in inferred.graph.output}
    for found in session.outputs:
        kind = kinds.get(found.type)
        if kind is None or found.name not in lacking:
            continue
        dims = None if found.shape is None else [dim if isinstance(dim, int) else None for dim in found.shape]
        made = onnx.helper.make_tensor_value_info(found.name, getattr(onnx.TensorProto, kind), dims or None)
        if found.name in stated:
            stated[found.name].CopyFrom(made)
        else:
            inferred.graph.value_info.append(made)
    return onnx.shape_inference.infer_shapes(inferred, data_prop=data_prop)


_ORT_TYPES = {
    "float": "FLOAT", "float16": "FLOAT16", "double": "DOUBLE", "bool": "BOOL", "int8": "INT8", "uint8": "UINT8",
    "int16": "INT16", "uint16": "UINT16", "int32": "INT32", "uint32": "UINT32", "int64": "INT64", "uint64": "UINT64",
}  # fmt: skip


def untyped(model: Any) -> list[str]:
    """Names of the activations of a model whose types are not stated."""
    values = (*model.graph.value_info, *model.graph.output)
    known = {value.name for value in values if _states_type(value.type)}
    return [name for node in model.graph.node for name in node.output if name and name not in known]


def _states_type(kind: Any) -> bool:
    which = kind.WhichOneof("value")
    return which is not None and (which != "tensor_type" or kind.tensor_type.elem_type != 0)


def with_true_float16(model: Any) -> Any:
    """The model itself, or a copy of one with float16 activations that ONNX Runtime's CPU rounds to float16.

    It has float16 kernels for few operators, computes the others in float32, and leaves out the casts between them: a
    value beyond float16 would never become infinite. Two Identity nodes in a row keep the casts.
    """
    onnx = extras.onnx()
    half = onnx.TensorProto.FLOAT16
    if not any(tensor.data_type == half for tensor in model.graph.initializer) and not any(
        item.name == "to" and item.i == half for node in model.graph.node for item in node.attribute
    ):
        return model
    inferred = with_types(model).graph
    known = (*inferred.value_info, *inferred.output)
    names = {value.name for value in known if value.type.tensor_type.elem_type == half}
    copy = copied(model)
    taken = tensor_names(copy.graph)
    nodes = []
    for node in copy.graph.node:
        nodes.append(node)
        for position, name in enumerate(node.output):
            if name in names:
                raw, between = (unique_name(f"{name}_{step}", taken) for step in ("raw", "rounded"))
                node.output[position] = raw
                for source, output in ((raw, between), (between, name)):
                    nodes.append(onnx.helper.make_node("Identity", [source], [output]))
    replace_values(copy.graph.node, nodes)
    return copy
