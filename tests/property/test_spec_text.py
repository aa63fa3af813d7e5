"""Any text: kept byte for byte. Any spec text: read as google.protobuf reads it, with the same places."""

from __future__ import annotations

import warnings
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from int8cal.errors import SpecError
from int8cal.spec.prototext.fields import is_map, is_repeated, visit_fields
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.schema import new_message, roots
from int8cal.spec.prototext.text import Scalar, SpecText, quote

ROOTS = sorted(roots())

gaps = st.sampled_from([" ", "\n", "\r\n", "\t", " # a: 1 }\n", "\u00a0", "\n\n  "])
words = st.sampled_from(["random_seed", "dataset_config", "data_sources", "optimizer", "adam", "key", "value"])
marks = st.sampled_from(list('{}<>[]:,;-$/\\"é\x00'))
values = st.sampled_from(["1", "-1", "0.5", "1e3", "0x1F", "010", "True", "inf", "L1", '"a"', "'b'", '"\\n"', '"\\x"'])
tokens = words | marks | values
token_soup = st.lists(st.tuples(tokens, gaps)).map(lambda pairs: "".join(token + gap for token, gap in pairs))


def merged(text: str, root: str) -> Any | None:
    """What google.protobuf makes of a text; None when it refuses."""
    message = new_message(root)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            text_format.Merge(text, message)
    except (text_format.ParseError, ValueError, TypeError, OverflowError):
        return None
    return message


@st.composite
def spec_texts(draw: st.DrawFn, root: str) -> str:
    """A spec that fits its definition, in all the ways in which it can be written."""
    return draw(st.just("") | gaps) + _fields(draw, new_message(root).DESCRIPTOR, depth=0)


def _fields(draw: st.DrawFn, kind: Descriptor, depth: int) -> str:
    chosen = draw(st.lists(st.sampled_from(list(kind.fields)), max_size=6 if depth < 4 else 1)) if kind.fields else []
    return "".join(_field(draw, field, depth) for field in chosen)


def _field(draw: st.DrawFn, field: FieldDescriptor, depth: int) -> str:
    colon = ":" if field.message_type is None or draw(st.booleans()) else ""
    if is_repeated(field) and draw(st.booleans()):
        value = "[" + ",".join(_value(draw, field, depth) for _ in range(draw(st.integers(0, 3)))) + "]"
    else:
        value = _value(draw, field, depth)
    separator = draw(st.sampled_from(["", ",", ";"])) + draw(gaps)
    return f"{field.name}{draw(st.just('') | gaps)}{colon}{draw(gaps)}{value}{separator}"


def _value(draw: st.DrawFn, field: FieldDescriptor, depth: int) -> str:
    if field.message_type is not None:
        opening, closing = draw(st.sampled_from(["{}", "<>"]))
        return f"{opening}{draw(gaps)}{_fields(draw, field.message_type, depth + 1)}{closing}"
    if field.enum_type is not None:
        value = draw(st.sampled_from(list(field.enum_type.values)))
        return draw(st.sampled_from([value.name, str(value.number)]))
    if field.type == FieldDescriptor.TYPE_STRING:
        pieces = draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=2))
        return " ".join(quote(piece) for piece in pieces)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return draw(st.sampled_from(["true", "false", "True", "t", "1", "0"]))
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return draw(st.floats(width=32).map(repr) | st.sampled_from([".5", "1.", "2f", "1e60", "-inf"]))
    return draw(st.integers(0, 2**31 - 1).map(str) | st.sampled_from(["0x1F", "010", "+1", "1_0"]))


# A whole spec takes many draws; how long they take says nothing about the code.
whole_specs = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(st.binary())
def test_any_bytes_come_back(data: bytes) -> None:
    assert SpecText.from_bytes(data).to_bytes() == data


@given(token_soup)
def test_any_text_comes_back_and_every_part_lies_where_it_says(source: str) -> None:
    text = SpecText.from_str(source)
    assert text.text == source
    for field in text.root.fields:
        assert text[field].startswith(field.name)
        _, column = text.line_column(field.start)
        assert text.line_at(field.start)[column - 1 :].startswith(field.name)


@given(token_soup)
def test_what_google_reads_is_read_and_what_it_refuses_is_refused(source: str) -> None:
    root = "int8cal.detectnet_v2.Experiment"
    expected = merged(source, root)
    try:
        spec = parse(SpecText.from_str(source), "s", root)
    except SpecError:
        assert expected is None
    else:
        assert spec.warnings or spec.message == expected


@whole_specs
@given(st.data())
def test_specs_are_read_as_google_reads_them(data: st.DataObject) -> None:
    root = data.draw(st.sampled_from(ROOTS))
    source = data.draw(spec_texts(root))
    expected = merged(source, root)
    assert expected is not None, source
    spec = parse(SpecText.from_str(source), "s", root)
    assert spec.message.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@whole_specs
@given(st.data())
def test_values_are_found_under_their_paths(data: st.DataObject) -> None:
    root = data.draw(st.sampled_from(ROOTS))
    text = SpecText.from_str(data.draw(spec_texts(root)))
    message = merged(text.text, root)
    last: dict[str, Scalar] = {}
    for visit in visit_fields(text, new_message(root).DESCRIPTOR):
        assert visit.value in [value for _, value in text.find(visit.path)]
        if isinstance(visit.value, Scalar):
            last[visit.path] = visit.value
    for path, value in last.items():
        found = _value_at(message, path)
        if isinstance(found, str):
            assert text.string(value) == found


def _value_at(message: Any, path: str) -> object:
    """The value of a message at a field path; None in maps, which have no order, and in oneofs, which forget."""
    for step in path.split("."):
        name, _, index = step.partition("[")
        field = message.DESCRIPTOR.fields_by_name[name]
        if is_map(field) or field.containing_oneof or (field.has_presence and not message.HasField(name)):
            return None
        value = getattr(message, name)
        message = value[int(index[:-1])] if index else value
    return message
