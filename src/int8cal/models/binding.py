"""How images get into a model: which input takes them, in which layout and type, and what its other inputs are fed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from int8cal.errors import ImageShapeError, UsageError, UseError
from int8cal.io.safe_text import shell_word, short_repr
from int8cal.models import extras
from int8cal.types import Layout

if TYPE_CHECKING:
    from int8cal.models.kernels import Kernel

Constants: TypeAlias = Mapping[str, float | Sequence[float]]
"""Input of a model that takes no images → its value, for one image; one number stands for as many as there must be."""

MAX_FIXED_BATCH = 1024
"""Largest batch that a model may insist on: a smaller one is filled up to it."""
_FEW_CHANNELS = 4
_USUAL_SHAPE = (3, 256, 256)  # what a model with free dimensions is taken to be fed, where nothing is
_UNKNOWN_SHAPE = ("CHANNELS", "HEIGHT", "WIDTH")  # the same in a command, for the user to fill in
_MAX_CONSTANT_VALUES = 1 << 20
_IMAGES_OR_VALUE = "Leave out --input NAME or --input NAME=VALUE: values are for inputs that take no images."


@dataclass(frozen=True)
class InputBinding:
    """How batches get into a model.

    Attributes:
        name: the input that takes the images.
        layout: order of the input's dimensions; batches are NCHW and are transposed for ``nhwc``.
        batch: the input's fixed batch size; None when it is free.
        dtype: NumPy's name of the type that the input takes; images are float32 and are converted.
        constants: other input → what is fed into it; where the second is true for each image, without that axis.
        kernels: what computes the outputs of plug-ins, which are further inputs, see `int8cal.models.kernels`.
        shapes_option: what trtexec is to be told where the model leaves a dimension of the input free, for it sets each
            of them to 1: ``--shapes=images:1x3x320x320``; else empty.
    """

    name: str
    layout: Layout
    batch: int | None
    dtype: str = "float32"
    constants: Mapping[str, tuple[npt.NDArray[Any], bool]] = field(default_factory=dict)
    kernels: tuple[Kernel, ...] = ()
    shapes_option: str = ""

    def feeds(self, images: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """What is fed for some images, which have the input's layout already: input → values.

        Raises:
            UseError: the input takes whole numbers, and the images hold others.
        """
        fed = {self.name: self._converted(images)}
        for name, (value, each) in self.constants.items():
            fed[name] = np.repeat(value[None], len(images), axis=0) if each else value
        return fed

    def _converted(self, images: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        if not np.issubdtype(self.dtype, np.integer):
            return images.astype(self.dtype, copy=False)
        limits = np.iinfo(self.dtype)
        wrong = ~((images >= limits.min) & (images <= limits.max) & (images == np.rint(images)))
        if wrong.any():
            raise UseError(
                f"input {self.name!r} takes {self.dtype}, whole numbers from {limits.min} to {limits.max}, and the "
                f"images hold others, such as {images[wrong][0]:g}",
                hint="Use images without scaling and mean subtraction: the model does what it needs itself.",
            )
        return images.astype(self.dtype)


def bind_input(
    model: Any,
    shape: Sequence[int],
    *,
    name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
    kernels: Sequence[Kernel] = (),
) -> InputBinding:
    """Find the input that takes images of a tensorfile, and its layout.

    Args:
        model: ``onnx.ModelProto``.
        shape: (B, C, H, W) of the tensorfile.
        name: the input, when the caller wants to be sure of it.
        layout: the layout, if the caller knows it.
        constants: values of inputs that take no images.
        kernels: what computes the inputs that are outputs of plug-ins.

    Raises:
        ImageShapeError: the input takes images of another shape.
        UsageError: a constant is not a value for its input.
        UseError: no input, or more than one, is possible; the layout cannot be told.
    """
    inputs = _real_inputs(model)
    for kernel in kernels:
        inputs.pop(kernel.output)
    for wanted in (*(constants or {}), *([] if name is None else [name])):
        if wanted not in inputs:
            raise UseError(f"the model has no input {wanted!r}", hint=f"Its inputs: {_listed(inputs)}.")
    if name in (constants or {}):
        raise UsageError(f"input {name!r} takes the images, and no value", hint=_IMAGES_OR_VALUE)
    fed = {other: _constant(inputs.pop(other), value) for other, value in (constants or {}).items()}
    if len(inputs) != 1:
        raise UseError(
            f"the model has {len(inputs)} inputs ({_listed(inputs)}), a tensorfile feeds one",
            hint=_which_constants(inputs, name, shape[1:]) if inputs else "One input must be left for the images.",
        )
    name, value = next(iter(inputs.items()))
    dtype = _dtype(value)
    if dtype is None:
        raise UseError(f"input {name!r} takes {_type_name(value)}, no images", hint="Export a model that takes images.")
    dims = _dims(value)
    if dims and (dims[0] or 1) > MAX_FIXED_BATCH:
        raise UseError(
            f"input {name!r} takes batches of {dims[0]} images and no others, more than {MAX_FIXED_BATCH}",
            hint="Export the model with a dynamic batch size.",
        )
    layout = _layout(name, dims, tuple(shape[1:]), layout)
    option = _shapes_option(name, dims, shape[1:], layout)
    return InputBinding(name, layout, dims[0], dtype, fed, tuple(kernels), option)


def images_not_finite() -> UseError:
    """The error for images that no model can be blamed for."""
    return UseError(
        "the images themselves hold infinite or undefined values (inf, NaN)",
        hint="Look at how they were made: a division by 0, or values that were never set.",
    )


def unfed_binding(model: Any, name: str | None, layout: Layout | None) -> tuple[InputBinding, tuple[int, int, int]]:
    """The input that images would be fed into, where there are none, and their (C, H, W).

    Args:
        model: ``onnx.ModelProto``.
        name: the input, if the caller knows it.
        layout: its layout, if the caller knows it; else the axis with few channels tells.

    Raises:
        UseError: no input takes images.
    """
    inputs = _real_inputs(model)
    if name is not None and name not in inputs:
        raise UseError(f"the model has no input {name!r}", hint=f"Its inputs: {_listed(inputs)}.")
    wanted = inputs if name is None else {name: inputs[name]}
    fitting = [value for value in wanted.values() if len(_dims(value)) == 4 and _dtype(value) is not None]
    if not fitting:
        raise UseError(f"no input of the model takes images ({_listed(wanted)})", hint="Images have four dimensions.")
    dims = _dims(fitting[0])
    if layout is None:
        few = [1 <= (dims[axis] or 0) <= _FEW_CHANNELS for axis in (1, 3)]
        layout = "nhwc" if few[1] and not few[0] else "nchw"
    if layout == "nhwc":
        dims = [dims[0], dims[3], dims[1], dims[2]]
    channels, height, width = (extent or usual for extent, usual in zip(dims[1:], _USUAL_SHAPE, strict=True))
    named = [extent or name for extent, name in zip(dims[1:], _UNKNOWN_SHAPE, strict=True)]
    binding = InputBinding(
        fitting[0].name,
        layout,
        dims[0],
        _dtype(fitting[0]) or "",
        shapes_option=_shapes_option(fitting[0].name, dims, named, layout),
    )
    return binding, (channels, height, width)


def _shapes_option(name: str, dims: Sequence[int | None], chw: Sequence[int | str], layout: Layout) -> str:
    """See `InputBinding`: for one image, unless the model insists on more."""
    channels, height, width = chw
    extents = (channels, height, width) if layout == "nchw" else (height, width, channels)
    return f"--shapes={name}:{'x'.join(map(str, (dims[0] or 1, *extents)))}" if None in dims else ""


def _real_inputs(model: Any) -> dict[str, Any]:
    constants = {initializer.name for initializer in model.graph.initializer}
    return {value.name: value for value in model.graph.input if value.name not in constants}


def _listed(names: Sequence[str] | dict[str, Any]) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _dims(value: Any) -> list[int | None]:
    """Dimensions of an input, None for those that are free."""
    shape = value.type.tensor_type.shape
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in shape.dim]


def _dtype(value: Any) -> str | None:
    """NumPy's name of an input's type; None unless it is a tensor of numbers."""
    if value.type.WhichOneof("value") != "tensor_type":
        return None
    try:
        dtype = extras.onnx().helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    except extras.LibraryError:
        return None
    return dtype.name if dtype.kind in "fiu" and dtype.isbuiltin else None


def _type_name(value: Any) -> str:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return str(kind or "a type that the model does not state").replace("_type", "s")
    return "tensors of " + str(extras.onnx().TensorProto.DataType.Name(value.type.tensor_type.elem_type)).lower()


def _constant(value: Any, given: float | Sequence[float]) -> tuple[npt.NDArray[Any], bool]:
    """What is fed into an input that takes no images, and whether it is fed for each image."""
    dims, dtype = _dims(value), _dtype(value)
    if value.type.tensor_type.elem_type == extras.onnx().TensorProto.BOOL:
        dtype = "bool"
    if dtype is None:
        raise UseError(f"input {value.name!r} takes {_type_name(value)}, no numbers")
    hint = _to_be_given([value.name])
    each = bool(dims) and dims[0] is None
    shape = dims[1 if each else 0 :]
    try:
        numbers = np.asarray(given, np.float64).reshape(-1)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise UsageError(f"input {value.name!r} takes numbers, not {short_repr(given)}", hint=hint)
    free = [axis for axis, dim in enumerate(shape) if dim is None]
    rest = prod(dim for dim in shape if dim is not None)
    if len(free) == 1 and numbers.size > 1 and numbers.size % rest == 0:
        shape[free[0]] = numbers.size // rest
    filled = [dim or 1 for dim in shape]
    if prod(filled) > _MAX_CONSTANT_VALUES or numbers.size not in (1, prod(filled)):
        wanted = "×".join("?" if dim is None else str(dim) for dim in shape) or "1"
        values = "value" if wanted == "1" else "values"
        raise UsageError(f"input {value.name!r} takes {wanted} {values}, not {numbers.size}", hint=hint)
    array = np.broadcast_to(numbers, prod(filled)).reshape(filled)
    with np.errstate(all="ignore"):
        converted = array.astype(dtype)
    if np.issubdtype(dtype, np.integer) and not np.array_equal(converted, array):
        raise UsageError(f"input {value.name!r} takes {dtype}, not {short_repr(given)}", hint=hint)
    return converted, each


def _which_constants(inputs: Mapping[str, Any], name: str | None, chw: Sequence[int]) -> str:
    """What to type for the inputs that take no images: all but the named one, or the only one that fits the images."""
    dims = {one: _dims(value) for one, value in inputs.items()}
    of_four = [one for one in dims if len(dims[one]) == 4]
    fitting = [one for one in of_four if _fitting(dims[one], chw)]
    images = [name] if name else fitting if len(fitting) == 1 else of_four
    if len(images) == 1:
        return _to_be_given([name for name in inputs if name not in images])
    return f"Give all but the one that takes the images a value: {_value_options(inputs, ' or ')}, such as 1."


def _to_be_given(names: Iterable[str]) -> str:
    return f"Give what takes no images a value: {_value_options(names, ' ')}, such as 1."


def _value_options(names: Iterable[str], between: str) -> str:
    return between.join(f"--input {shell_word(name)}=VALUE" for name in names)


def _fitting(dims: Sequence[int | None], chw: Sequence[int]) -> list[Layout]:
    """Layouts in which an input of four dimensions takes such images."""
    channels, height, width = chw
    candidates: dict[Layout, tuple[int, int, int]] = {
        "nchw": (channels, height, width),
        "nhwc": (height, width, channels),
    }
    return [
        layout
        for layout, extents in candidates.items()
        if all(dim in (None, extent) for dim, extent in zip(dims[1:], extents, strict=True))
    ]


def _layout(name: str, dims: list[int | None], chw: tuple[int, ...], wanted: Layout | None) -> Layout:
    channels, height, width = chw
    shown = "×".join("?" if dim is None else str(dim) for dim in dims)
    samples = f"samples of {channels}×{height}×{width} (C×H×W)"
    if len(dims) != 4:
        raise UseError(
            f"input {name!r} takes {shown or 'a shape that the model does not state'}, no batches of {samples}",
            hint="Export a model that takes batches of images, in four dimensions.",
        )
    fitting = _fitting(dims, chw)
    if not fitting and dims[1] == width != channels:
        raise ImageShapeError(
            f"input {name!r} takes {shown}, and the {samples} look like H×W×C",
            hint="Batches are N×C×H×W: give values.transpose(0, 3, 1, 2).",
        )
    if not fitting:
        raise ImageShapeError(
            f"input {name!r} takes {shown}, which does not fit {samples}",
            hint="The tensorfile must be made for the size the model was exported with.",
        )
    if wanted is not None and wanted not in fitting:
        raise UseError(
            f"input {name!r} takes {shown}, which does not fit {samples} as {wanted.upper()}",
            hint=f"It does as {fitting[0].upper()}: leave --layout out.",
        )
    if wanted is None and len(fitting) == 2 and dims[1:] != list(chw):
        raise UseError(
            f"input {name!r} takes {shown}: its layout cannot be told",
            hint="Say it: --layout nchw or --layout nhwc.",
        )
    return wanted or fitting[0]
