"""The float model that an INT8 model is made of: as it was read, and what of it can be computed here."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from int8cal.guard.onnx_bounds import of_model
from int8cal.io.files import OutputFile
from int8cal.models.computable import Computable, computable
from int8cal.models.graph import in_float32
from int8cal.models.onnx_file import load_with_paths
from int8cal.models.opset import opset


@dataclass(frozen=True)
class FloatModel:
    """A float model.

    Attributes:
        read: ``onnx.ModelProto`` as it is in the file.
        parts: the same in float32, and what can be computed of it.
    """

    read: Any
    parts: Computable

    @classmethod
    def opened(cls, path: str | os.PathLike[str], files: ExitStack, results: Iterable[OutputFile]) -> FloatModel:
        """Read a model that has layers to quantise.

        Args:
            path: the ONNX file.
            files: until they are closed, errors of libraries are those of this model.
            results: must not replace a file of the model.

        Raises:
            UseError: it cannot be read or quantised.
            OutputError: a result is one of its files.
        """
        read, paths = load_with_paths(path)
        files.enter_context(of_model(paths[0]))
        for file in results:
            file.spare(paths)
        parts = computable(in_float32(read))
        parts.check_layers()
        return cls(read, parts)

    @property
    def opset(self) -> int:
        """Its operator set."""
        return opset(self.parts.original)

    @property
    def from_float16(self) -> bool:
        """Whether it held 16-bit floats."""
        return self.parts.original is not self.read

    @property
    def size(self) -> int:
        """Bytes, external data included."""
        return int(self.read.ByteSize())
