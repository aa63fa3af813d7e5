"""Reading ONNX files that nobody vouches for.

Refused before anything is computed: other formats (with the way to ONNX), files above protobuf's limit, structures that
blow up when parsed, external data anywhere but in plain sibling files, tensors whose declared size is not the size of
their data, functions, more than 256 outputs, and activations of absurd size or rank. What shape inference makes of the
rest is bounded by `int8cal.guard.onnx_bounds`. Operators outside the standard and loops are read, but never run: see
`marked`.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from int8cal.errors import UsageError, UseError
from int8cal.guard.libraries import library_errors
from int8cal.guard.onnx_bounds import check_apart
from int8cal.guard.onnx_wire import MAX_RANK, NO_MODEL_HINT, check_wire
from int8cal.io.file_kinds import HDF5_SIGNATURE
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.paths import given_path, near_names, open_regular
from int8cal.io.safe_text import shell_word
from int8cal.models import extras
from int8cal.models.names import all_graphs, copied, inner_graphs, replace_values

MAX_BYTES = 2**31 - 1  # protobuf's own limit; external data counts, for the model is put together in memory
MAX_ACTIVATION_BYTES = 2**32  # of one tensor at batch size 1
_STANDARD_DOMAINS = frozenset({"", "ai.onnx.ml"})
_LONG_NAME = "ai.onnx"
CONTRIBUTED_DOMAIN = "com.microsoft"
ORIGINAL_HINT = "Give the model as it was exported, before ONNX Runtime optimised it."
_FOREIGN_DOMAIN = "int8cal.foreign/"  # and behind it the node's own; checkers pass over domains that they don't know
_UNBOUNDED_OPS = frozenset({"Loop", "Scan", "SequenceMap"})
_MOST_SHARED = 4
"""How many times the size of a file with external data its tensors may have: equal weights may share their bytes."""
_MOST_OUTPUTS = 256
"""Each costs a comparison for each image and method; exported networks have 1 to 20."""
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")  # as every reader understands it: int() takes "1_0" and other digits
_SHAPE_ATTRIBUTES = frozenset({"shape", "axes"})
_SHAPE_INPUTS = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1, "Unsqueeze": 1}  # which input holds a shape or axes
_TAO_SUFFIXES = frozenset({".etlt", ".tlt", ".hdf5", ".h5", ".pth"})
_OTHER_EXPORTERS = {".pt": "torch.onnx.export", ".pb": "tf2onnx", ".tflite": "tf2onnx", ".keras": "tf2onnx"}
_ENGINE_SUFFIXES = frozenset({".engine", ".plan", ".trt"})
_SMALL_TYPES = {4: ("INT4", "UINT4", "FLOAT4E2M1"), 2: ("INT2", "UINT2")}  # bits → types, as far as onnx knows them
_DYNAMIC_DIM = 1  # what an unknown dimension is taken for when sizes are estimated


def load_model(path: str | os.PathLike[str]) -> Any:
    """Read and check an ONNX model; external data is taken in.

    Args:
        path: the ``.onnx`` file.

    Returns:
        The ``onnx.ModelProto``, complete in memory.

    Raises:
        UseError: the file is not an ONNX model, is damaged, or holds what is not allowed (see the module).
        UnavailableError: the extra ``quantize`` is not installed.
    """
    return load_with_paths(path)[0]


def load_with_paths(path: str | os.PathLike[str]) -> tuple[Any, tuple[str, ...]]:
    """As `load_model`, with the paths of all files that the model lies in: its own, and those of external data."""
    name = given_path(path, "a model")
    refuse_other_formats(name)
    onnx = extras.onnx()
    model = _parse(onnx, name)
    external = _take_in_external_data(onnx, model, name)
    for tensor in _tensors(model.graph):
        _check_tensor(onnx, tensor, name)
    _check_operators(model, name)
    _check_ranks(model, name)
    _check_divisors(model, name)
    if len(model.graph.output) > _MOST_OUTPUTS:
        hint = "Remove those that are not needed: onnx.utils.extract_model."
        raise _bad(name, f"has {len(model.graph.output):,} outputs, and at most {_MOST_OUTPUTS} are read", hint)
    check_apart(lambda: _check_meaning(onnx, model, name), model.ByteSize(), len(model.graph.node), name)
    return model, (name, *external)


def _check_meaning(onnx: Any, model: Any, path: str) -> None:
    """What takes shape inference to know."""
    check_valid(model, path)
    _check_activation_sizes(onnx, marked(model), path)


def check_valid(model: Any, where: str | None = None) -> None:
    """Check a model as ONNX does, with all shapes that can be inferred; nodes that are not computed are passed over.

    Raises:
        UseError: it is not a valid model.
    """
    checked = marked(model)
    stated = [output for output in checked.graph.output if output.type.tensor_type.HasField("shape")]
    if len(stated) < len(checked.graph.output):  # which TensorRT and ONNX Runtime don't need, and the checker wants
        checked = copied(checked)
        replace_values(checked.graph.output, stated)
    for value in checked.graph.input:
        if value.type.WhichOneof("value") == "tensor_type" and not value.type.tensor_type.HasField("shape"):
            hint = "Export the model with the shapes of its inputs; dimensions that vary may have names."
            raise UseError(f"input {value.name!r} states no shape", where=where, hint=hint)
    try:
        extras.onnx().checker.check_model(checked, full_check=True)
    except extras.LibraryError as error:
        raise UseError(f"is not a valid ONNX model: {error.said}", where=where, hint=error.hint) from error


def marked(model: Any, *, plug_ins_alone: bool = False) -> Any:
    """The model, or a copy in which nodes that are not computed have a domain of their own.

    `foreign_operator` tells them. They are the operators outside the standard, TensorRT's plug-ins mostly, and those
    whose running time nobody can tell (``Loop``); a node with a graph inside that holds one is one, too.

    Args:
        model: ``onnx.ModelProto``; may have marks.
        plug_ins_alone: mark the operators outside the standard, wherever they are, and no others.
    """
    versions = {entry.domain: int(entry.version) for entry in model.opset_import}
    known: dict[tuple[str, str], bool] = {}

    def is_foreign(node: Any) -> bool:
        is_unbounded = node.op_type in _UNBOUNDED_OPS and not plug_ins_alone
        return is_unbounded or not _is_known(node, versions, known)

    def foreign_nodes(node: Any) -> list[Any]:
        """The node and those inside it that are not computed, if there are any."""
        inner = [one for graph in inner_graphs(node) for one in graph.node if is_foreign(one)]
        return [node, *inner] if is_foreign(node) or (inner and not plug_ins_alone) else inner

    if not any(map(foreign_nodes, model.graph.node)):
        return model
    copy = copied(model)
    domains: set[str] = set()
    for node in copy.graph.node:
        for one in foreign_nodes(node):
            if foreign_operator(one) is None:
                domains.add(one.domain)
                one.domain = _FOREIGN_DOMAIN + one.domain
    for domain in sorted(domains):
        copy.opset_import.add(domain=_FOREIGN_DOMAIN + domain, version=versions.get(domain, 1))
    return copy


def unmarked(node: Any) -> Any:
    """A copy of a node of a `marked` model as it was before, with all inside it."""
    copy = copied(node)
    for one in (copy, *(inner for graph in inner_graphs(copy) for inner in graph.node)):
        one.domain = one.domain.removeprefix(_FOREIGN_DOMAIN)
    return copy


def foreign_operator(node: Any) -> str | None:
    """The operator of a node of a `marked` model that is not computed, with its domain; None for any other node."""
    if not node.domain.startswith(_FOREIGN_DOMAIN):
        return None
    domain = node.domain[len(_FOREIGN_DOMAIN) :]
    return f"{domain}::{node.op_type}" if domain else str(node.op_type)


def _is_known(node: Any, versions: Mapping[str, int], known: dict[tuple[str, str], bool]) -> bool:
    """Whether an operator is of the standard, or of ONNX Runtime's own."""
    domain = node.domain
    found = known.get((domain, node.op_type))
    if found is None:
        if domain == CONTRIBUTED_DOMAIN:
            found = node.op_type in _contributed_operators()
        else:
            found = domain in _STANDARD_DOMAINS and extras.onnx().defs.has(
                node.op_type, versions.get(domain, 1), domain
            )
        known[domain, node.op_type] = found
    return found


@cache
def _contributed_operators() -> frozenset[str]:
    """Names of the operators that ONNX Runtime has beyond the standard."""
    extras.onnxruntime()  # first, for it switches telemetry off
    state = extras.need("onnxruntime.capi.onnxruntime_pybind11_state", "quantize")
    return frozenset(schema.name for schema in state.get_all_operator_schema() if schema.domain == CONTRIBUTED_DOMAIN)


def _bad(path: str, message: str, hint: str = "Export the float model to ONNX again.") -> UseError:
    return UseError(message, where=path, hint=hint)


def refuse_other_formats(path: str) -> None:
    """Refuse what a file's name or first bytes show to be something else than ONNX, with the way to it.

    Raises:
        UseError: the file is of a known other format.
    """
    suffix = Path(path).suffix.lower()
    if suffix in _TAO_SUFFIXES:
        hint = "Export it first: tao model NETWORK export -m MODEL -o MODEL.onnx (TAO 4 and older: tao NETWORK export)"
        raise _bad(path, f"a {suffix} file is TAO's own model format, not ONNX", hint)
    if suffix in _ENGINE_SUFFIXES:
        hint = "Use the ONNX file that the engine was built from (tao model NETWORK export writes it)."
        raise _bad(path, "a TensorRT engine is compiled for one GPU and cannot be quantised any more", hint)
    if suffix in _OTHER_EXPORTERS:
        raise _bad(path, f"a {suffix} file is not an ONNX model", f"Export it first, with {_OTHER_EXPORTERS[suffix]}")
    if _first_bytes(path, len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
        hint = "Name the ONNX model first and the tensorfile behind it: MODEL.onnx FILE."
        raise _bad(path, "is an HDF5 file, as tensorfiles are, and not an ONNX model", hint)


def refuse_engine_name(out: str) -> None:
    """Refuse to call a model as TensorRT's engines are called.

    Raises:
        UsageError: the name of the file to write ends so.
    """
    stem, suffix = os.path.splitext(out)
    if suffix.lower() in _ENGINE_SUFFIXES:
        raise UsageError(
            f"an ONNX model is written, and {suffix} is the name of a TensorRT engine",
            where=out,
            hint=f"Name it {stem}.onnx; trtexec makes an engine of it.",
        )


def _first_bytes(path: str, count: int) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(count)
    except (OSError, ValueError):
        return b""  # whoever reads the model says why


def _parse(onnx: Any, path: str) -> Any:
    try:
        with open_regular(path) as file:
            if _size(file, path, "the file") == 0:
                raise _bad(path, "is empty", NO_MODEL_HINT)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                check_wire(data, onnx.ModelProto.DESCRIPTOR, path)
                with library_errors(UseError, "is not an ONNX model, or is damaged", where=path, hint=NO_MODEL_HINT):
                    model = onnx.ModelProto.FromString(data[:])
    except OSError as error:
        raise_if_lacking(error, path)
        hint = "Give the path of a float model in ONNX."
        if isinstance(error, FileNotFoundError):
            hint = near_names(path, hint)
        raise _bad(path, f"cannot be read: {error.strerror}", hint) from error
    del model.training_info[:]
    _use_short_name(model)
    if not model.graph.node:
        raise _bad(path, "is not an ONNX model, or has no nodes", NO_MODEL_HINT)
    return model


def _use_short_name(model: Any) -> None:
    """Call the standard operators' domain by one of its two names: the checker knows no other than the empty one."""
    graph_nodes = (node for graph in all_graphs(model.graph) for node in graph.node)
    for entry in (*model.opset_import, *graph_nodes):
        if entry.domain == _LONG_NAME:
            entry.domain = ""


def _size(file: BinaryIO, path: str, what: str) -> int:
    size = os.fstat(file.fileno()).st_size
    if size > MAX_BYTES:
        raise _bad(
            path, f"{what} has {size} bytes; protobuf and ONNX Runtime end at {MAX_BYTES}", "Give a smaller model."
        )
    return size


def _tensors(graph: Any) -> Iterator[Any]:
    for part in all_graphs(graph):
        yield from part.initializer
        for node in part.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _take_in_external_data(onnx: Any, model: Any, path: str) -> Iterable[str]:
    """Read tensors stored in sibling files, within the size that one model may have.

    Returns:
        The paths of those files.
    """
    taken: dict[str, int] = {}  # file → bytes of it that are in the model, each as often as a tensor has it
    left, file_of = MAX_BYTES, cache(partial(_external_file, path))  # links are followed once, not for each tensor
    for tensor in _tensors(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        tensor.raw_data = _external_bytes(tensor, file_of, left, _raw_bytes(onnx, tensor, path), taken, path)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
        left -= len(tensor.raw_data)
    return list(taken)


def _external_bytes(
    tensor: Any, file_of: Callable[[str], str], limit: int, needed: int, taken: dict[str, int], path: str
) -> bytes:
    entries = _external_entries(tensor)
    location = entries.get("location", "")
    if location in ("", ".", "..") or "/" in location or "\\" in location or "\0" in location:
        hint = "External data must lie in a file beside the model, named without any folder."
        raise _bad(path, f"tensor {tensor.name!r} refers to data in {location!r}", hint)
    name = file_of(location)
    try:
        file = open_regular(name, follow_links=False)
    except OSError as error:
        raise_if_lacking(error, path)
        hint = f"See whether it is whole, and may be read: ls -lL {shell_word(name)}"
        if isinstance(error, FileNotFoundError):
            hint = "Keep the files with external data beside the model."
        raise _bad(path, f"external data {location!r} cannot be read: {error.strerror}", hint) from error
    with file:
        size = _size(file, path, f"external data {location!r}")
        texts = [entries[name] for name in ("offset", "length") if name in entries]
        if not all(_WHOLE_NUMBER.fullmatch(text) for text in texts):
            raise _bad(path, f"tensor {tensor.name!r} has an external offset or length that is not a number")
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", size - offset))
        if offset < 0 or length < 0 or offset + length > size or length > limit:
            raise _bad(path, f"tensor {tensor.name!r} lies outside its external file {location!r}")
        if length != needed:
            raise _not_filled(tensor, path)
        taken[name] = taken.get(name, 0) + length
        if taken[name] > _MOST_SHARED * size:
            raise _bad(path, f"its tensors share the bytes of {location!r} more than {_MOST_SHARED} times over")
        file.seek(offset)
        return file.read(length)


def _external_file(path: str, location: str) -> str:
    """The file of external data: beside the model as it is named, else beside the file that this name is a link to.

    What is a link itself, as in the cache of Hugging Face, is followed into the folder of the model's own file alone:
    elsewhere it would make any file a part of the model.

    Raises:
        UseError: it is a link to elsewhere.
    """
    folder, own = os.path.dirname(path), os.path.dirname(os.path.realpath(path))
    names = [os.path.join(place, location) for place in (folder, own)]
    name = next(filter(os.path.lexists, names), names[0])
    target = os.path.realpath(name)
    if os.path.islink(name) and os.path.dirname(target) != own:
        raise _bad(
            path,
            f"external data {location!r} is a link to another folder than the model's, which is not followed",
            "Take a copy of the model, in which files are in the place of links: "
            f"cp -rL {shell_word(os.path.dirname(name) or '.')} COPY",
        )
    return target


def _external_entries(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _check_tensor(onnx: Any, tensor: Any, path: str) -> None:
    """The declared shape and the stored data must agree, or something later allocates what the shape declares."""
    if tensor.HasField("segment"):
        _take_for_whole(tensor, path)
    if tensor.data_type == onnx.TensorProto.STRING:
        stored, needed = len(tensor.string_data), _values(tensor, path)
    elif tensor.HasField("raw_data"):
        stored, needed = len(tensor.raw_data), _raw_bytes(onnx, tensor, path)
    else:
        needed = _raw_bytes(onnx, tensor, path) if _bits(onnx, tensor, path) < 8 else _values(tensor, path)
        field = getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type))
        per_value = 2 if tensor.data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128) else 1
        stored, needed = len(field), needed * per_value
    if stored != needed:
        raise _not_filled(tensor, path)


def _take_for_whole(tensor: Any, path: str) -> None:
    """Forget that a tensor is a segment of one where it is the first: whether it is all of it, its size tells."""
    if tensor.segment.begin != 0 or tensor.segment.end <= 0:
        raise _bad(path, f"tensor {tensor.name!r} is stored in segments, and this is not the first of them")
    tensor.ClearField("segment")


def _not_filled(tensor: Any, path: str) -> UseError:
    return _bad(path, f"tensor {tensor.name!r} declares the shape {list(tensor.dims)}, but its data do not fill it")


def _values(tensor: Any, path: str) -> int:
    """Number of values that the shape of a tensor declares."""
    if any(dim < 0 for dim in tensor.dims):
        raise _bad(path, f"tensor {tensor.name!r} has a negative dimension")
    return prod(tensor.dims)


def _raw_bytes(onnx: Any, tensor: Any, path: str) -> int:
    """Bytes that the values of a tensor take when they are stored as they are in memory, small ones packed."""
    return -(-_values(tensor, path) * _bits(onnx, tensor, path) // 8)


def _bits(onnx: Any, tensor: Any, path: str) -> int:
    """Bits of one value of a tensor."""
    for bits, names in _SMALL_TYPES.items():
        if tensor.data_type in (getattr(onnx.TensorProto, name, None) for name in names):
            return bits
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize) * 8
    except extras.LibraryError:
        raise _bad(path, f"tensor {tensor.name!r} has an unknown data type") from None


def _check_operators(model: Any, path: str) -> None:
    if model.functions:
        raise _bad(path, "holds local functions", "Inline them first: onnx.inliner.inline_local_functions(model)")
    for graph in all_graphs(model.graph):
        if graph.sparse_initializer or any(_has_sparse(node) for node in graph.node):
            raise _bad(path, "holds sparse tensors, which are not supported", "Export the model with dense weights.")


def _check_divisors(model: Any, path: str) -> None:
    """Refuse whole numbers divided by -1: of the least one, that ends the process, and ONNX Runtime does not look."""
    graphs = list(all_graphs(model.graph))
    constants = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
    for node in (node for graph in graphs for node in graph.node if node.op_type == "Constant"):
        constants.update((name, attribute) for name in node.output for attribute in node.attribute)
    for node in (node for graph in graphs for node in graph.node if node.op_type in ("Div", "Mod")):
        divisor = constants.get(node.input[1]) if len(node.input) > 1 else None
        if divisor is not None and -1 in _whole_numbers(divisor):
            hint = "Multiply by -1 instead, or export the model without that node."
            raise _bad(path, f"node {node.name or node.op_type!r} divides whole numbers by -1", hint)


def _whole_numbers(constant: Any) -> Any:
    """What a tensor, or an attribute of ``Constant``, holds of whole numbers with a sign."""
    onnx = extras.onnx()
    if isinstance(constant, onnx.AttributeProto):
        if not constant.HasField("t"):
            return (*constant.ints, constant.i)
        constant = constant.t
    values = onnx.numpy_helper.to_array(constant)
    return values if values.dtype.kind == "i" else ()


def _has_sparse(node: Any) -> bool:
    return any(attribute.HasField("sparse_tensor") or attribute.sparse_tensors for attribute in node.attribute)


def _check_ranks(model: Any, path: str) -> None:
    """Refuse shapes of thousands of dimensions, be it attributes or constants: every node after them repeats them."""
    for graph in all_graphs(model.graph):
        lengths = {tensor.name: prod(tensor.dims) for tensor in graph.initializer}
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    lengths[node.output[0]] = prod(attribute.t.dims)
                elif node.op_type == "Constant" and attribute.name == "value_ints":
                    lengths[node.output[0]] = len(attribute.ints)
                elif attribute.name in _SHAPE_ATTRIBUTES and len(attribute.ints) > MAX_RANK:
                    raise _too_many_dimensions(node, path)
            position = _SHAPE_INPUTS.get(node.op_type, len(node.input))
            if any(lengths.get(name, 0) > MAX_RANK for name in node.input[position : position + 1]):
                raise _too_many_dimensions(node, path)


def _too_many_dimensions(node: Any, path: str) -> UseError:
    return _bad(path, f"node {node.name or node.op_type!r} makes a tensor of more than {MAX_RANK} dimensions")


def _check_activation_sizes(onnx: Any, model: Any, path: str) -> None:
    """Refuse models whose nodes make huge tensors from tiny constants (ConstantOfShape, Expand, Tile, Resize …)."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for info in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        if len(info.type.tensor_type.shape.dim) > MAX_RANK:
            raise _bad(path, f"tensor {info.name!r} has more than {MAX_RANK} dimensions")
        dims = [d.dim_value if d.HasField("dim_value") else _DYNAMIC_DIM for d in info.type.tensor_type.shape.dim]
        if 4 * prod(dims) > MAX_ACTIVATION_BYTES:
            hint = "Export the model for a smaller input or batch."
            raise _bad(path, f"tensor {info.name!r} has the shape {dims}, too large to compute", hint)


def serialized(model: Any) -> bytes:
    """The bytes of an ONNX file; the same for the same model.

    Raises:
        UseError: they are more than a file may have.
    """
    if model.ByteSize() > MAX_BYTES:
        raise UseError(f"the INT8 model has {model.ByteSize()} bytes, more than an ONNX file can hold")
    data: bytes = model.SerializeToString(deterministic=True)
    return data
