"""The comparison: onnxruntime's own ``quantize_static`` with TensorRT's placement, on the same tensorfile.

python benchmarks/ort_static.py MODEL.onnx FILE OUT.onnx entropy|minmax
"""

from __future__ import annotations

import sys

import onnx
from models_peers import static

from int8cal import TensorFile, readers


def main(model: str, tensor: str, out: str, method: str) -> None:
    """Quantise with onnxruntime alone."""
    name = onnx.load(model, load_external_data=False).graph.input[0].name
    with TensorFile(tensor) as file:
        static(method, model, readers.ort(file, name), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
