"""Sessions of ONNX Runtime: a model opened on the CPU, as it is written or as its users run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from int8cal.guard.onnx_bounds import limited, load_limit, model_name
from int8cal.models import extras
from int8cal.models.names import copied

BIAS_ROUNDING = "WeightBiasQuantization"
"""ONNX Runtime's optimisation that rounds float biases of Q/DQ models to int32."""
IDENTITY_REMOVAL = "EliminateIdentity"
"""ONNX Runtime's optimisation that drops nodes which do nothing; see `int8cal.models.typed.with_true_float16`."""


class Session:
    """An ONNX model that ONNX Runtime has loaded; see `open_session`.

    Attributes:
        inputs: name, type and shape of each input, as ONNX Runtime states them.
        outputs: the same of each output.
    """

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        self.inputs, self.outputs = opened.get_inputs(), opened.get_outputs()

    def run(self, outputs: Sequence[str] | None, feed: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Values of some outputs, in this order.

        Args:
            outputs: names; None: all.
            feed: input name → values.

        Raises:
            UseError: the model fails on these data.
        """
        hint = "Export the model again for the size and batch size of the tensorfile."
        with extras.fault_of("the model fails on the samples", hint):
            return list(self._opened.run(outputs, feed))


def open_session(
    model: Any, options: Any, *, disabled_optimizers: Sequence[str] = (), keep_memory: bool = False
) -> Session:
    """Load a model on the CPU.

    Args:
        model: ``onnx.ModelProto``.
        options: an ``onnxruntime.SessionOptions``, which is added to.
        disabled_optimizers: names of ONNX Runtime's optimisations that are left out.
        keep_memory: keep what a run frees for the next one, as long as the session lives: less CPU time, and no gaps
            in a heap that others use, too. For a model whose activations have the same sizes in every run; others would
            keep room for each size, rounded up to a power of two. Sessions that stay open side by side would each keep
            their peak. Outputs that outlive the session keep all of its memory, so they are to be copied.

    Raises:
        UseError: ONNX Runtime cannot load the model.
    """
    runtime = extras.onnxruntime()
    options.log_severity_level = extras.FATAL
    options.intra_op_num_threads = 1  # see `int8cal.models.passes`; `limited` counts the time of this thread alone
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other sessions need the processors
    options.enable_cpu_mem_arena = keep_memory  # else memory goes back at once: the peak stays that of a run
    if keep_memory:
        options.enable_mem_pattern = False  # one block for all of a run seldom fits into what earlier runs left
    hint = "Export the model to ONNX again, for an operator set that this ONNX Runtime knows."
    fault = extras.fault_of("ONNX Runtime cannot load the model", hint)
    with limited(load_limit(model.ByteSize()), model_name()), fault:
        opened = runtime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(disabled_optimizers),
        )
    return Session(opened)


def open_as_written(model: Any, *, keep_memory: bool = False) -> Session:
    """A session that runs a model as ONNX Runtime does for its users, but computes what the file says.

    Float biases are not rounded, and Q/DQ with signed activations (TensorRT's form) is computed in float, because
    products of 8 bits overflow on x86 processors without VNNI.

    Args:
        model: ``onnx.ModelProto``.
        keep_memory: see `open_session`.

    Raises:
        UseError: ONNX Runtime cannot load the model.
    """
    options = extras.onnxruntime().SessionOptions()
    if not _is_for_onnxruntime(model):
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return open_session(model, options, disabled_optimizers=[BIAS_ROUNDING, IDENTITY_REMOVAL], keep_memory=keep_memory)


def _is_for_onnxruntime(model: Any) -> bool:
    """Whether a model has unsigned activations, the form that ONNX Runtime computes in integers."""
    unsigned = {item.name for item in model.graph.initializer if item.data_type == extras.onnx().TensorProto.UINT8}
    return any(node.op_type == "QuantizeLinear" and node.input[-1] in unsigned for node in model.graph.node)


def with_outputs(model: Any, tensors: Sequence[str]) -> Any:
    """A copy of a model with more tensors among its outputs; ONNX Runtime sees to their types."""
    onnx = extras.onnx()
    extended = copied(model)
    present = {output.name for output in extended.graph.output}
    extended.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors if tensor not in present)
    return extended
