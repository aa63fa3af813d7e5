"""The INT8 models of ``models.py`` in the engines that run them on a CPU; run by a Python that has OpenVINO.

python benchmarks/models_engines.py FLOAT.onnx INT8.onnx IMAGES.npz OUT.json

INT8 is made for ONNX Runtime (``quantize --target onnxruntime``). Counted are the convolutions that ONNX Runtime runs
in INT8 and those left in float, in the graph as it has optimised it. Times are medians over the images, one image at a
time on one thread, the two models taking turns. SQNR is that of the worst output against the float model in ONNX
Runtime; here the engines compute in integers.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino

_INT8 = frozenset({"QLinearConv", "QLinearMatMul", "QGemm", "NhwcQLinearConv", "MatMulIntegerToFloat"})
_FLOAT = frozenset({"Conv", "FusedConv", "NhwcFusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm"})


def main(float_model: str, int8_model: str, images: str, out: str) -> None:
    """Measure a pair of models."""
    with np.load(images) as file:
        ((name, values),) = file.items()
    batches = [image[None] for image in values]
    models = {"float": float_model, "int8": int8_model}
    in_ort, kernels, seconds = {}, {}, {}
    sessions = {}
    for kind, path in models.items():
        sessions[kind], kernels[kind] = _session(path)
        in_ort[kind] = [sessions[kind].run(None, {name: batch}) for batch in batches]
    for batch in batches:
        for kind, session in sessions.items():
            begun = time.perf_counter()
            session.run(None, {name: batch})
            seconds.setdefault(kind, []).append(time.perf_counter() - begun)
    core = openvino.Core()
    compiled = {kind: core.compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": 1}) for kind, path in models.items()}
    in_openvino: dict[str, Any] = {kind: [] for kind in models}
    ov_seconds: dict[str, list[float]] = {kind: [] for kind in models}
    for batch in batches:
        for kind, model in compiled.items():
            begun = time.perf_counter()
            found = model({name: batch})
            ov_seconds[kind].append(time.perf_counter() - begun)
            in_openvino[kind].append([np.array(found[number]) for number in range(len(model.outputs))])
    facts = {
        "kernels": kernels["int8"],
        "milliseconds": {kind: round(1000 * median(of), 2) for kind, of in seconds.items()},
        "openvino_milliseconds": {kind: round(1000 * median(of), 2) for kind, of in ov_seconds.items()},
        "sqnr_db": {
            "onnxruntime": _worst(in_ort["float"], in_ort["int8"]),
            "openvino": _worst(in_ort["float"], in_openvino["int8"]),
            "openvino, float": _worst(in_ort["float"], in_openvino["float"]),
        },
        "onnxruntime": onnxruntime.__version__,
        "openvino": openvino.__version__,
    }
    Path(out).write_text(json.dumps(facts))


def _session(path: str) -> tuple[Any, dict[str, int]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        optimised = f"{folder}/optimised.onnx"
        options.optimized_model_filepath = optimised
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        counts = Counter(node.op_type for node in onnx.load(optimised).graph.node)
    return session, {kind: count for kind, count in sorted(counts.items()) if kind in _INT8 | _FLOAT}


def _worst(expected: Any, got: Any) -> float:
    """SQNR in dB of the worst output that has fractions."""
    figures = []
    for first, second in zip(zip(*expected, strict=True), zip(*got, strict=True), strict=True):
        if np.issubdtype(first[0].dtype, np.floating):
            signal = sum(float(np.square(one, dtype=np.float64).sum()) for one in first)
            noise = sum(
                float(np.square(one - two, dtype=np.float64).sum()) for one, two in zip(first, second, strict=True)
            )
            figures.append(10 * math.log10(signal / noise) if noise else 999.0)
    return round(min(figures), 2)


if __name__ == "__main__":
    main(*sys.argv[1:])
