"""`verify --model`: see `int8cal.models.alive`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from int8cal.errors import ImageShapeError
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.batches import opened_file
from int8cal.tensorfile.findings import Finding
from int8cal.tensorfile.selection import some_images

if TYPE_CHECKING:
    from int8cal.models.binding import Constants
    from int8cal.types import Layout


def try_model(
    file: str | os.PathLike[str] | TensorFile,
    model: str | os.PathLike[str],
    *,
    input_name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
) -> list[Finding]:
    """Show a float model images from all over a tensorfile, and judge what it makes of them.

    Args:
        file: a tensorfile, or its path.
        model: the float ONNX model; that it takes images of another shape is a finding.
        input_name: its input, to be sure of it.
        layout: layout of that input, where it cannot be told.
        constants: values of its other inputs, which take no images.

    Raises:
        UseError: the model cannot be read, or nothing can be told by it: its input cannot be fed, or it fails.
        UnavailableError: onnx or onnxruntime is not installed.
    """
    from int8cal.models.alive import PROBED_IMAGES, judge_on
    from int8cal.models.computable import computable
    from int8cal.models.graph import is_quantised, require_finite_weights
    from int8cal.models.onnx_file import load_model
    from int8cal.models.runner import fault_of_model

    loaded = load_model(model)
    with opened_file(file) as opened:
        images, manifest = some_images(opened, PROBED_IMAGES), opened.manifest
    if not len(images):
        return []  # which is reported of the file itself
    with fault_of_model(os.fspath(model)):  # not of the file
        require_finite_weights(loaded)
        try:
            parts = computable(loaded)
            binding = parts.bind(images.shape, name=input_name, layout=layout, constants=constants)
            found = judge_on(images, parts, binding, manifest)
        except ImageShapeError as error:
            return [_unfit(error)]
    return [*found, _INT8] if is_quantised(loaded) else found


_INT8 = Finding(
    "note",
    "model-quantised",
    "the model is quantised already",
    "Its outputs tell less than those of the float model, which quantize takes.",
)


def _unfit(error: ImageShapeError) -> Finding:
    """The finding for a model that takes other images."""
    return Finding("error", "model-input", error.message, error.hint or "Use the model and the file for each other.")
