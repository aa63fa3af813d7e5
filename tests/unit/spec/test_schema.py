"""The message definitions: equal to TAO's field for field, compiled as they stand, open to others."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from int8cal.errors import SpecError
from int8cal.io import protos
from int8cal.samples import schema as dataset_schema
from int8cal.spec.languages import register_folder
from int8cal.spec.prototext import find, schema
from int8cal.spec.prototext.check import check
from int8cal.spec.prototext.fields import is_map, is_repeated
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.text import SpecText

REPOSITORY = Path(__file__).parents[3]
DATA = REPOSITORY / "tests" / "data" / "specs"
NETWORKS = ("detectnet_v2", "classification", "ssd", "faster_rcnn")
TYPE_NAMES = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def rows(name: str, network: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["network"] == network]


@cache
def definitions(network: str) -> dict[str, Descriptor]:
    """All messages reachable from the roots of a network, by name without package."""
    found: dict[str, Descriptor] = {}

    def reach(message: Descriptor) -> None:
        if message.full_name not in found:
            found[message.full_name] = message
            for field in message.fields:
                if field.message_type is not None:
                    reach(field.message_type)

    for root in schema.roots_beside(f"int8cal.{network}.Experiment"):
        reach(protos.message_class(root).DESCRIPTOR)
    return {name.split(".", 2)[2]: message for name, message in found.items() if not message.GetOptions().map_entry}


def facts(message: Descriptor) -> Iterator[tuple[str, int, str, str, str]]:
    for field in message.fields:
        oneof = field.containing_oneof.name if field.containing_oneof else ""
        label = "map" if is_map(field) else "repeated" if is_repeated(field) else "optional"
        yield field.name, field.number, label, type_name(field), oneof


def type_name(field: FieldDescriptor) -> str:
    if field.message_type is not None and is_map(field):
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        return f"map<{type_name(key)},{type_name(value)}>"
    kind = field.message_type or field.enum_type
    return kind.full_name.split(".", 2)[2] if kind is not None else TYPE_NAMES[field.type]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_field_is_that_of_tao(network: str) -> None:
    expected = defaultdict(list)
    for row in rows("fields.csv", network):
        expected[row["message"]].append((row["field"], int(row["number"]), row["label"], row["type"], row["oneof"]))
    assert {name: list(facts(message)) for name, message in definitions(network).items()} == expected


@pytest.mark.parametrize("network", NETWORKS)
def test_every_enum_value_is_that_of_tao(network: str) -> None:
    expected = {(row["enum"], row["name"], int(row["number"])) for row in rows("enums.csv", network)}
    kinds = {
        field.enum_type for message in definitions(network).values() for field in message.fields if field.enum_type
    }
    found = {(kind.full_name.split(".", 2)[2], value.name, value.number) for kind in kinds for value in kind.values}
    assert found == expected


def compiler() -> ModuleType:
    where = importlib.util.spec_from_file_location("compile_protos", REPOSITORY / "tools" / "compile_protos.py")
    assert where is not None
    assert where.loader is not None
    module = importlib.util.module_from_spec(where)
    where.loader.exec_module(module)
    return module


def test_the_compiled_sets_are_those_of_the_proto_files() -> None:
    for folder in (tool := compiler()).FOLDERS:
        committed = descriptor_pb2.FileDescriptorSet.FromString((folder / protos.DESCRIPTORS_FILE).read_bytes())
        assert descriptor_pb2.FileDescriptorSet.FromString(tool.compile_folder(folder)) == committed, folder


@pytest.mark.parametrize("network", NETWORKS)
def test_every_entry_of_the_tables_can_take_effect(network: str) -> None:
    """A name in a table that no message has would be a check that never runs."""
    tables = json.loads((REPOSITORY / "src/int8cal/networks" / network / "checks.json").read_text())
    fields = [field for message in definitions(network).values() for field in message.fields]
    messages = {field.name for field in fields if field.message_type is not None}
    scalars = {field.name for field in fields if field.message_type is None}
    for table in tables["roots"].values():
        required = {name for entry in table.get("required", []) for name in entry.split(" or ")}
        inside = table.get("required_in", {})
        assert required | set(inside) | {name for names in inside.values() for name in names} <= messages
        assert set(table.get("values", {})) <= scalars
        assert set(table.get("if_set", {})) <= set(table.get("values", {}))
    legacy = tables["legacy"]
    assert set(legacy.get("fields", {})) <= set(definitions(network))
    for name, inside in legacy.get("fields", {}).items():
        assert not set(inside) & set(definitions(network)[name].fields_by_name)
    for entry in (*legacy.get("fraction_for_integer", ()), *legacy.get("text_for_message", ())):
        message, _, field = entry.rpartition(".")
        assert field in definitions(network)[message].fields_by_name


def test_an_example_has_the_wire_format_of_tensorflow() -> None:
    example = protos.message_class(dataset_schema.EXAMPLE)()
    example.features.feature["frame/id"].bytes_list.value.append(b"a")
    example.features.feature["frame/id"].bytes_list.value.append(b"")
    assert example.SerializeToString().hex() == "0a150a130a086672616d652f696412070a050a01610a00"
    numbers = protos.message_class("int8cal.tf.Feature").FromString(bytes.fromhex("1a040a020105"))
    assert list(numbers.int64_list.value) == [1, 5]


def test_a_message_that_nobody_defined_is_unknown() -> None:
    with pytest.raises(KeyError):
        protos.message_class("int8cal.nothing.Experiment")


def test_another_package_can_bring_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_SCHEMAS", dict(schema._SCHEMAS))
    file = descriptor_pb2.FileDescriptorProto(name="elsewhere/net.proto", package="elsewhere", syntax="proto3")
    message = file.message_type.add(name="Experiment")
    message.field.add(name="depth", number=1, type=FieldDescriptor.TYPE_INT32, label=FieldDescriptor.LABEL_OPTIONAL)
    tables = {"package": "elsewhere", "networks": ["net"], "roots": {"Experiment": {"values": {"depth": [[">", 0]]}}}}
    (tmp_path / schema.TABLES_FILE).write_text(json.dumps(tables))
    (tmp_path / protos.DESCRIPTORS_FILE).write_bytes(descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString())
    register_folder(str(tmp_path))

    text = SpecText.from_str("depth: -1")
    assert find.root_of_text(text, "s") == "elsewhere.Experiment"
    (finding,) = check(parse(text, "s", "elsewhere.Experiment"))
    assert finding.message == "Experiment Spec Setting Error: depth should > 0. Wrong value: -1"
    with pytest.raises(SpecError, match='unknown field "dept"'):
        parse(SpecText.from_str("dept: 1"), "s", "elsewhere.Experiment")
