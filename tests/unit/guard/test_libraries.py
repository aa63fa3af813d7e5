"""Whatever a library raises for an input's bytes is that input's error: every call into h5py, json and protobuf.

The calls are listed from the source. One that is new must pass through the guard of its library, or be named here with
the reason why its bytes are nobody's input.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from google.protobuf import text_format

from int8cal import native
from int8cal.errors import Int8calError, RecordError, SpecError, TensorFileError, UseError
from int8cal.guard import hdf5
from int8cal.guard.json_text import MAX_DEPTH, parsed_json
from int8cal.guard.libraries import library_errors
from int8cal.samples import tfrecord
from int8cal.spec.prototext import load
from int8cal.tensorfile import TensorFile
from int8cal.tensorrt.cache import from_json

SOURCE = Path(__file__).parents[3] / "src" / "int8cal"
GUARDS = {"library_errors", "hdf5_errors", "_output_errors"}

PARSERS = {"FromString", "ParseFromString", "MergeFromString", "MergeLines"}
JSON = {"json.loads", "json.load"}
NOT_INPUT = {
    "spec/yaml/schema.py": "tables of the package",
    "spec/prototext/schema.py": "tables of the package",
    "io/protos.py": "descriptors of the package",
    "component/mlflow.py": "what a child of ours wrote",
    "component/mlflow_log.py": "what the parent process wrote",
    "guard/onnx_bounds.py": "what a child of ours wrote",
    "check/record.py": "what was just written",
    "tensorfile/writer.py": "what was just written",
}


def calls(module: Path) -> Iterator[tuple[ast.Call, list[ast.AST]]]:
    """Every call of a module, with what encloses it, outermost first."""

    def walk(node: ast.AST, around: list[ast.AST]) -> Iterator[tuple[ast.Call, list[ast.AST]]]:
        if isinstance(node, ast.Call):
            yield node, around
        for child in ast.iter_child_nodes(node):
            yield from walk(child, [*around, node])

    yield from walk(ast.parse(module.read_text()), [])


def is_guarded(around: list[ast.AST]) -> bool:
    names = (
        ast.unparse(item.context_expr.func).split(".")[-1]
        for node in around
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Call)
    )
    return not GUARDS.isdisjoint(names)


def test_every_parser_of_json_and_protobuf_is_behind_a_guard() -> None:
    """``type(x).FromString`` copies what was read before."""
    unguarded = set()
    for module in sorted(SOURCE.rglob("*.py")):
        name = str(module.relative_to(SOURCE))
        for call, around in calls(module):
            text = ast.unparse(call.func)
            is_parser = text in JSON or (isinstance(call.func, ast.Attribute) and call.func.attr in PARSERS)
            if is_parser and not text.startswith("type(") and not is_guarded(around):
                unguarded.add(name)
    assert unguarded - {name for name in unguarded if name in NOT_INPUT} == set()
    assert set(NOT_INPUT) - unguarded == set(), "no longer there"


def test_h5py_reads_in_one_module_alone() -> None:
    importing = {
        str(module.relative_to(SOURCE))
        for module in SOURCE.rglob("*.py")
        if any(line.strip() == "import h5py" for line in module.read_text().splitlines())
    }
    allowed = {
        "guard/hdf5.py",
        "tensorfile/writer.py",  # writes
        "cli/doctor.py",  # asks for the version
    }
    assert importing == allowed


def test_every_call_into_h5py_is_behind_a_guard() -> None:
    """In a guard's block, or in a helper that is only ever called from one."""
    module = SOURCE / "guard" / "hdf5.py"
    found = list(calls(module))
    callers: dict[str, list[list[ast.AST]]] = {}
    for call, around in found:
        callers.setdefault(ast.unparse(call.func).split(".")[-1], []).append(around)

    def is_safe(around: list[ast.AST], seen: frozenset[str] = frozenset()) -> bool:
        if is_guarded(around):
            return True
        functions = [node.name for node in around if isinstance(node, ast.FunctionDef)]
        if not functions or functions[-1] in seen or not functions[-1].startswith("_"):
            return False
        places = callers.get(functions[-1], [])
        return bool(places) and all(is_safe(place, seen | {functions[-1]}) for place in places)

    handles = {"h5py", "imagecodecs", "dataset", "properties", "described", "parent", "attribute", "link", "opened"}
    inside = [
        (ast.unparse(call.func), around)
        for call, around in found
        if ast.unparse(call.func).split(".")[0] in handles or ast.unparse(call.func).startswith(("self._id.", "root."))
    ]
    assert len(inside) > 20
    assert [name for name, around in inside if not is_safe(around)] == []


class OddError(Exception):
    """What no library is known to raise."""


def raising(*arguments: Any, **options: Any) -> Any:
    raise OddError("something odd; use sys.odd()\nmore")


def test_odd_exceptions_of_h5py(tmp_path, monkeypatch) -> None:
    path = tmp_path / "f"
    with h5py.File(path, "w") as file:
        file.attrs["count"], file.attrs["shape"] = 1, (1, 1, 4, 4)
        file.create_group("_tensorfile_array_key__0").create_dataset(
            "_tensorfile_array_key_", data=np.ones((1, 1, 4, 4), np.float32), compression="gzip", shuffle=True
        )
    for owner, name in [
        (h5py.h5g, "open"),
        (h5py.h5o, "open"),
        (h5py.h5t, "py_create"),
        (h5py, "File"),
        (native, "inflated_into"),
    ]:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, raising)
            with pytest.raises(TensorFileError) as caught, TensorFile(path) as file:
                file[0]
        assert caught.value.where == str(path)
        if name != "File":
            assert "OddError: something odd" in caught.value.message
            assert "sys.odd" not in caught.value.message


def test_too_little_memory_stays_apart(monkeypatch) -> None:
    with pytest.raises(MemoryError), library_errors(TensorFileError, "x"):
        raise MemoryError
    with pytest.raises(UseError, match="known"), library_errors(TensorFileError, "x"):
        raise UseError("known")


def test_odd_exceptions_of_protobuf(monkeypatch) -> None:
    monkeypatch.setattr(tfrecord, "Example", type("Example", (), {"FromString": staticmethod(raising)}))
    with pytest.raises(RecordError, match="OddError: something odd"):
        tfrecord.parse_features(b"", "here")
    monkeypatch.setattr(text_format, "MergeLines", raising)
    from int8cal.spec.prototext.text import SpecText

    with pytest.raises(SpecError, match="OddError: something odd"):
        load.parse(SpecText.from_str("random_seed: 1"), "spec.txt", "int8cal.detectnet_v2.Experiment")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "RecursionError"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH}"),
        ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH}"),
        ("1" * 5000, "ValueError: Exceeds the limit"),
        ("{", "JSONDecodeError"),
        (b"\xff\xfe\xff", "Error"),
    ],
    ids=["endless", "a list too deep", "an object too deep", "a large number", "cut off", "no text"],
)
def test_json_that_cannot_be_read(text, said) -> None:
    with pytest.raises(UseError, match="not good") as caught:
        parsed_json(text, UseError, "not good", where="here")
    assert said in caught.value.message
    assert caught.value.where == "here"


def test_json_as_deep_as_allowed() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parsed_json(text, UseError, "not good") == json.loads(text)


def test_a_cache_in_json_that_is_nested(tmp_path) -> None:
    with pytest.raises(Int8calError, match="nested deeper"):
        from_json('{"amax": ' + "[" * 200 + "]" * 200 + "}")


def test_guard_imports_no_room() -> None:
    assert hdf5.damaged("f", "is bad").exit_code == 6
