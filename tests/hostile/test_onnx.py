"""ONNX files made to hurt: each is refused with exit 7, within a second and 200 MB."""

from __future__ import annotations

import ast
import contextlib
import itertools
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.memory import PEAK_MIB

from int8cal.errors import UseError
from int8cal.models import extras
from int8cal.models.onnx_file import load_model, load_with_paths

SECONDS = 2.0
"""CPU that a refusal may take: what the threat-model page promises."""

MEGABYTES = 200

Make = Callable[[Path], object]


def relu(
    change: Callable[[onnx.ModelProto], object] | None = None, *nodes: Any, **weights: np.ndarray
) -> onnx.ModelProto:
    """A model of one ReLU, given more nodes and weights, and changed."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"]), *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if change:
        change(model)
    return model


def saved(path: Path, model: onnx.ModelProto) -> None:
    path.write_bytes(model.SerializeToString())


def with_external(path: Path, location: str, **entries: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[4])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)

    saved(path, relu(change))


def external_symlink(path: Path) -> None:
    (path.parent / "w.bin").symlink_to("/etc/hostname")
    with_external(path, "w.bin")


def external_fifo(path: Path) -> None:
    os.mkfifo(path.parent / "w.bin")
    with_external(path, "w.bin")


def external_short(path: Path) -> None:
    (path.parent / "w.bin").write_bytes(bytes(8))
    with_external(path, "w.bin", length="16")


def external_terabyte(path: Path) -> None:
    with (path.parent / "w.bin").open("wb") as file:
        file.truncate(1 << 40)
    with_external(path, "w.bin")


def external_wrong_number(path: Path) -> None:
    (path.parent / "w.bin").write_bytes(bytes(16))
    with_external(path, "w.bin", offset="-8", length="1e1")


def external_number_of_python(path: Path) -> None:
    (path.parent / "w.bin").write_bytes(bytes(4096))
    with_external(path, "w.bin", offset="1_0")


def external_shared(path: Path) -> None:
    """A hundred tensors of the same bytes."""

    def change(model: onnx.ModelProto) -> None:
        (path.parent / "w.bin").write_bytes(bytes(1024))
        for number in range(100):
            tensor = model.graph.initializer.add(name=f"w{number}", data_type=TensorProto.FLOAT, dims=[256])
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="w.bin")

    saved(path, relu(change))


def external_in_attribute(path: Path) -> None:
    value = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="../../etc/passwd")
    saved(path, relu(None, helper.make_node("Constant", [], ["c"], value=value)))


def lying_shape(path: Path) -> None:
    saved(path, relu(lambda model: model.graph.initializer[0].dims.__setitem__(0, 1 << 50), w=np.ones(4, np.float32)))


def negative_shape(path: Path) -> None:
    saved(path, relu(lambda model: model.graph.initializer[0].dims.__setitem__(0, -4), w=np.ones(4, np.float32)))


def unknown_dtype(path: Path) -> None:
    saved(path, relu(lambda model: setattr(model.graph.initializer[0], "data_type", 999), w=np.ones(4, np.float32)))


def sparse_bomb(path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        sparse = model.graph.sparse_initializer.add(dims=[1 << 40])
        sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "s"))
        sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64)))

    saved(path, relu(change))


def constant_of_shape_bomb(path: Path) -> None:
    node = helper.make_node("ConstantOfShape", ["size"], ["z"])
    saved(path, relu(None, node, size=np.array([1 << 37], np.int64)))


def expand_bomb(path: Path) -> None:
    node = helper.make_node("Expand", ["one", "size"], ["z"])
    saved(path, relu(None, node, one=np.ones(1, np.float32), size=np.array([1 << 20, 1 << 20], np.int64)))


def function_bomb(path: Path) -> None:
    """Twenty functions, each calling the one before ten times: 10²⁰ nodes when inlined."""

    def change(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("f", 1))
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
        for level in range(20):
            inner = ("Relu", "") if level == 0 else (f"f{level - 1}", "f")
            names = ["a", *(f"t{i}" for i in range(9)), "b"]
            calls = [
                helper.make_node(inner[0], [first], [second], domain=inner[1])
                for first, second in itertools.pairwise(names)
            ]
            model.functions.append(helper.make_function("f", f"f{level}", ["a"], ["b"], calls, imports))
        model.graph.node.append(helper.make_node("f19", ["x"], ["z"], domain="f"))

    saved(path, relu(change))


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def node_bomb(path: Path) -> None:
    """Sixteen million empty nodes, two bytes each."""
    path.write_bytes(b"\x08\x08" + field(7, b"\x0a\x00" * (1 << 24)))


def string_bomb(path: Path) -> None:
    """Millions of empty strings inside one tensor."""
    path.write_bytes(b"\x08\x08" + field(7, field(5, b"\x32\x00" * (1 << 24))))


def deep_nesting(path: Path) -> None:
    graph = b""
    for _ in range(2000):
        graph = field(1, field(5, field(6, graph)))
    path.write_bytes(b"\x08\x08" + field(7, graph))


def zeros(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate((1 << 31) - 4096)


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"\x08\x08")
        file.truncate(1 << 32)


def many_nodes(path: Path) -> None:
    names = [f"t{number}" for number in range(60_000)]
    nodes = [helper.make_node("Relu", [first], [second]) for first, second in itertools.pairwise(["x", *names])]
    saved(path, relu(None, *nodes))


def in_segments(begin: int, end: int) -> Make:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].segment.SetInParent()
        model.graph.initializer[0].segment.begin, model.graph.initializer[0].segment.end = begin, end

    return lambda path: saved(path, relu(change, w=np.ones(4, np.float32)))


def truncated(path: Path) -> None:
    path.write_bytes(relu(None, w=np.ones(400, np.float32)).SerializeToString()[:-10])


HOSTILE: dict[str, Make] = {
    "absolute external data": lambda path: with_external(path, "/etc/hostname"),
    "external data in a folder above": lambda path: with_external(path, "../secret"),
    "external data in a sub-folder": lambda path: with_external(path, "sub/w.bin"),
    "external data without a name": lambda path: with_external(path, ""),
    "external data with a NUL": lambda path: with_external(path, "w\0.bin"),
    "external data missing": lambda path: with_external(path, "w.bin"),
    "external data is a link": external_symlink,
    "external data is a pipe": external_fifo,
    "external data is shorter than said": external_short,
    "external data of a terabyte": external_terabyte,
    "external data with an odd offset": external_wrong_number,
    "external offset as only Python writes it": external_number_of_python,
    "external data of a constant": external_in_attribute,
    "external data of a hundred tensors in one": external_shared,
    "shape larger than its data": lying_shape,
    "negative shape": negative_shape,
    "unknown data type": unknown_dtype,
    "sparse tensor": sparse_bomb,
    "huge constant": constant_of_shape_bomb,
    "huge expansion": expand_bomb,
    "functions that multiply": function_bomb,
    "millions of nodes": node_bomb,
    "millions of strings": string_bomb,
    "deep nesting": deep_nesting,
    "two gigabytes of zeros": zeros,
    "four gigabytes": too_large,
    "60,000 nodes": many_nodes,
    "an empty segment of a tensor": in_segments(0, 0),
    "a later segment of a tensor": in_segments(1, 2),
    "truncated": truncated,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a model"),
    "HDF5": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(1000)),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(100_000)),
    "no nodes": lambda path: saved(path, relu(lambda model: model.graph.ClearField("node"))),
    "unsorted nodes": lambda path: saved(path, relu(lambda m: m.graph.node[0].input.__setitem__(0, "y"))),
    "folder": lambda path: path.mkdir(),
    "missing": lambda path: None,
    "pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refused_in_time_and_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    HOSTILE[name](path)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with pytest.raises(UseError) as caught:
        load_model(path)

    assert time.process_time() - started < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES
    assert caught.value.exit_code == 7
    assert "model.onnx" in str(caught.value)


@pytest.mark.parametrize("suffix", [".etlt", ".tlt", ".hdf5"])
def test_tao_s_own_formats_are_sent_to_tao_s_export(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(UseError, match="tao model NETWORK export"):
        load_model(tmp_path / f"model{suffix}")
    with pytest.raises(UseError, match="compiled for one GPU"):
        load_model(tmp_path / "model.engine")


def test_a_tensor_in_one_segment_is_whole(tmp_path: Path) -> None:
    in_segments(0, 1)(tmp_path / "model.onnx")

    (tensor,) = load_model(tmp_path / "model.onnx").graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), np.ones(4))


class Crash(Exception):
    """What no list of exceptions foresees."""


@pytest.mark.parametrize("error", [Crash("words\nand more"), KeyError("k"), RecursionError("deep")])
def test_whatever_a_library_raises_is_an_error_of_the_model(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(extras, "_onnx", None)
    monkeypatch.setattr(onnx.checker, "check_model", fail)
    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", fail)
    saved(tmp_path / "model.onnx", relu())

    with pytest.raises(UseError, match=type(error).__name__) as caught:
        load_model(tmp_path / "model.onnx")

    assert caught.value.exit_code == 7
    with pytest.raises(extras.LibraryError) as caught:
        extras.onnx().shape_inference.infer_shapes(relu())
    assert caught.value.said.startswith(type(error).__name__)
    assert "more" not in caught.value.said


def test_memory_that_ran_out_is_no_fault_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(extras, "_onnx", None)
    monkeypatch.setattr(onnx.checker, "check_model", fail)
    with pytest.raises(MemoryError):
        extras.onnx().checker.check_model(relu())


def test_no_module_calls_onnx_but_through_its_guard() -> None:
    """Only `extras` imports it, and hands out functions that raise errors of ours."""
    root = Path(extras.__file__).parent.parent
    importing = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(
            name.partition(".")[0] in ("onnx", "onnxruntime")
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        )
    }
    sessions = {str(path.relative_to(root)) for path in root.rglob("*.py") if "InferenceSession(" in path.read_text()}
    assert importing == set()
    assert sessions == {"models/session.py"}


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(8) + np.arange(4, dtype=np.float32).tobytes())
    with_external(tmp_path / "model.onnx", "w.bin", offset="8", length="16")

    model = load_model(tmp_path / "model.onnx")

    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), [0, 1, 2, 3])


def linked(folder: Path, model: str, data: str) -> Path:
    """A model and its data in one folder, links to the files of these names."""
    values = {model: relu(None).SerializeToString(), data: np.arange(4, dtype=np.float32).tobytes()}
    for name in values:
        (folder / name).parent.mkdir(exist_ok=True)
    with_external(folder / model, "w.bin")
    (folder / data).write_bytes(values[data])
    (folder / "snapshot").mkdir()
    (folder / "snapshot" / "model.onnx").symlink_to(folder / model)
    (folder / "snapshot" / "w.bin").symlink_to(folder / data)
    return folder / "snapshot" / "model.onnx"


def test_links_of_model_and_data_into_one_folder_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = linked(tmp_path, "blobs/aaa", "blobs/bbb")

    model, files = load_with_paths(path)

    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), [0, 1, 2, 3])
    assert [Path(file).resolve() for file in files] == [tmp_path / "blobs/aaa", tmp_path / "blobs/bbb"]
    monkeypatch.chdir(path.parent)
    assert load_model("model.onnx") == model


def test_data_lie_beside_the_model_as_it_is_named_or_beside_its_file(tmp_path: Path) -> None:
    for folder in ("named", "own"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "w.bin").write_bytes(np.full(4, len(folder), np.float32).tobytes())
    with_external(tmp_path / "own" / "model.onnx", "w.bin")
    (tmp_path / "named" / "model.onnx").symlink_to("../own/model.onnx")
    for expected in ("named", "own"):
        (tensor,) = load_model(tmp_path / "named" / "model.onnx").graph.initializer
        assert numpy_helper.to_array(tensor)[0] == len(expected)
        (tmp_path / "named" / "w.bin").unlink(missing_ok=True)


def test_a_link_to_elsewhere_is_refused_with_the_command_that_makes_files_of_links(tmp_path: Path) -> None:
    path = linked(tmp_path, "blobs/aaa", "other place/bbb")

    with pytest.raises(UseError, match=r"'w.bin' is a link to another folder .* not followed") as caught:
        load_model(path)

    command = str(caught.value.hint).partition("links: ")[2]
    subprocess.run(command.replace("COPY", f"{tmp_path}/copy"), shell=True, check=True)
    (tensor,) = load_model(tmp_path / "copy" / "model.onnx").graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), [0, 1, 2, 3])


def test_data_that_are_beside_the_model_and_cannot_be_read_are_not_looked_for_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "w.bin").mkdir()
    with_external(tmp_path / "model.onnx", "w.bin")
    with pytest.raises(UseError, match=r"cannot be read: not a regular file\n.*ls -lL"):
        load_model(tmp_path / "model.onnx")


@pytest.mark.parametrize(("kind", "opset"), [("INT4", 21), ("UINT4", 21), ("FLOAT4E2M1", 23)])
def test_two_values_of_four_bits_share_a_byte(kind: str, opset: int, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.add(name="w", data_type=getattr(TensorProto, kind), dims=[3], raw_data=b"\x21\x03")
        model.opset_import[0].version = opset
        model.ir_version = 11

    saved(tmp_path / "model.onnx", relu(change))

    assert load_model(tmp_path / "model.onnx").graph.initializer[0].raw_data == b"\x21\x03"


def test_damaged_bytes_give_errors_of_ours_only(tmp_path: Path) -> None:
    whole = bytearray(relu(None, w=np.ones(40, np.float32)).SerializeToString())
    random = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(whole)
        for position in random.integers(0, len(whole), 3):
            damaged[position] = random.integers(0, 256)
        (tmp_path / "model.onnx").write_bytes(damaged)
        with contextlib.suppress(UseError):
            load_model(tmp_path / "model.onnx")


def test_a_whole_process_stays_small(tmp_path: Path) -> None:
    """The same measured from outside, imports included, for the file that would cost most."""
    node_bomb(tmp_path / "model.onnx")
    script = (
        f"{PEAK_MIB}\n"
        "import sys\n"
        "from int8cal.errors import UseError\n"
        "from int8cal.models.onnx_file import load_model\n"
        "try: load_model(sys.argv[1])\n"
        "except UseError as error: print(peak_mib())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "model.onnx"], capture_output=True, text=True, check=True
    )

    assert float(done.stdout) < MEGABYTES


@pytest.mark.parametrize("operator", ["Div", "Mod"])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("form", ["initializer", "Constant", "ints"])
def test_whole_numbers_divided_by_minus_one_are_refused(tmp_path: Path, operator: str, kind: Any, form: str) -> None:
    """ONNX Runtime computes such a node while it loads the model, and the processor ends the process."""
    least, divisor = np.array([np.iinfo(kind).min], kind), np.array([-1], kind)
    weights = {"least": least, "divisor": divisor}
    nodes = [helper.make_node(operator, ["least", "divisor"], ["quotient"], name="quotient")]
    if form == "Constant":
        nodes.insert(0, helper.make_node("Constant", [], ["divisor"], value=numpy_helper.from_array(divisor)))
    if form == "ints":
        nodes.insert(0, helper.make_node("Constant", [], ["divisor"], value_ints=[-1]))
    if form != "initializer":
        del weights["divisor"]
    saved(tmp_path / "model.onnx", relu(None, *nodes, **weights))
    with pytest.raises(UseError, match="node 'quotient' divides whole numbers by -1"):
        load_model(tmp_path / "model.onnx")


def test_usual_divisions_are_taken(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Div", ["extent", "step"], ["count"]),
        helper.make_node("Div", ["x", "minus"], ["z"]),
        helper.make_node("Mod", ["extent", "step"], ["rest"]),
    ]
    weights = {"extent": np.array([64]), "step": np.array([32]), "minus": np.float32([-1])}
    saved(tmp_path / "model.onnx", relu(None, *nodes, **weights))
    load_model(tmp_path / "model.onnx")
