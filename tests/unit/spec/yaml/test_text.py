"""What a YAML text means and where its values stand. The table of scalars was made by OmegaConf 2.3.0."""

from __future__ import annotations

import math
import time

import pytest

from int8cal.errors import SpecError
from int8cal.spec.yaml.text import Document, MappingNode, Scalar, plain, read_document, reads_differently, scalars

SCALARS = [
    ("1", 1),
    ("0", 0),
    ("-7", -7),
    ("+1", 1),
    ("010", 8),
    ("-010", -8),
    ("08", "08"),
    ("0x1F", 31),
    ("0X1f", "0X1f"),
    ("0b11", 3),
    ("0o17", "0o17"),
    ("1_000", 1000),
    ("0_7", 7),
    ("1_0.5", 10.5),
    ("12:30:45", 45045),
    ("1:5", 65),
    ("-1:30", -90),
    ("190:20:30.15", 685230.15),
    ("1.0", 1.0),
    (".5", 0.5),
    ("5.", 5.0),
    ("-.5", "-.5"),
    ("1e-4", 0.0001),
    ("1E5", 100000.0),
    ("1e5", 100000.0),
    ("1.5e3", 1500.0),
    ("1.5e+3", 1500.0),
    (".5e3", ".5e3"),
    (".5e+3", 500.0),
    ("1_0e2", 1000.0),
    (".inf", float("inf")),
    ("-.INF", float("-inf")),
    (".nan", float("nan")),
    ("nan", "nan"),
    ("inf", "inf"),
    ("yes", True),
    ("Yes", True),
    ("YES", True),
    ("no", False),
    ("on", True),
    ("OFF", False),
    ("y", "y"),
    ("n", "n"),
    ("true", True),
    ("True", True),
    ("TRUE", True),
    ("tRue", "tRue"),
    ("false", False),
    ("~", None),
    ("null", None),
    ("Null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ("none", "none"),
    ("None", "None"),
    ("2024-01-01", "2024-01-01"),
    ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
    ("'5'", "5"),
    ('"5"', "5"),
    ("'yes'", "yes"),
    ("abc", "abc"),
    ("a b", "a b"),
    ("/data/x", "/data/x"),
    ("???", "???"),
    ("'???'", "???"),
    ("00", 0),
    ("0x", "0x"),
    ("1__0", 10),
    ("1,000", "1,000"),
    ("1.2.3", "1.2.3"),
    ("+.inf", float("inf")),
    ("e5", "e5"),
    ("--", "--"),
    ("1-2", "1-2"),
    ("0.0", 0.0),
    ("-0.0", -0.0),
    ("1e", "1e"),
    ("12e03", 12000.0),
    ("9007199254740993", 9007199254740993),
    ("123456789012345678901234567890", 123456789012345678901234567890),
    ('"\\u0041"', "A"),
    ("'it''s'", "it's"),
    ("!!str 12", "12"),
    ('!!int "3"', 3),
    ("!!float 3", 3.0),
    ('!!bool "yes"', True),
    ('!!null ""', None),
    (".5_0", 0.5),
    ("_1", "_1"),
    ("1_", 1),
    ("+12:30", 750),
    ("1:60", "1:60"),
    ("0.1e-1_0", "0.1e-1_0"),
]


def read(text: str) -> Document:
    return read_document(text.encode(), "spec.yaml")


def only(text: str) -> Scalar:
    (_, scalar), *_ = scalars(read(text).root)
    return scalar


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[text for text, _ in SCALARS])
def test_a_scalar_means_what_omegaconf_takes_it_for(text: str, value: object) -> None:
    found = only(f"k: {text}\n").value
    assert type(found) is type(value)
    assert found == value or (isinstance(value, float) and math.isnan(value) and math.isnan(found))  # type: ignore[arg-type]
    listed = only(f"k:\n- {text}\n").value
    assert listed == found or found != found


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\na: 2\n", "spec.yaml:2:1", "written twice"),
        ("a: {b: 1, b: 1}\n", "spec.yaml:1:11", "written twice"),
        ("a: [1, 2\n", "spec.yaml:2:1", "not YAML"),
        ("a:\n  - b\n - c\n", "spec.yaml:3:2", "not YAML"),
        ("a: *b\n", "spec.yaml:1:4", "no anchor"),
        ("a: &x [*x]\n", "spec.yaml:1:8", "no anchor"),
        ("- a\n", "spec.yaml", "not a mapping"),
        ("words\n", "spec.yaml", "not a mapping"),
        ("a: 1\n---\nb: 2\n", "spec.yaml:2:1", "second document"),
        ("a: =\n", "spec.yaml:1:4", "type value"),
        ("a: !!binary aGVsbG8=\n", "spec.yaml:1:4", "type binary"),
        ("a: !!python/object/apply:os.system [id]\n", "spec.yaml:1:4", "python/object"),
        ("a: !!python/name:os.system\n", "spec.yaml:1:4", "python/name"),
        ("a: !!set {b}\n", "spec.yaml:1:4", "type"),
        ("a: !!timestamp 2024-01-01\n", "spec.yaml:1:4", "timestamp"),
        ("a: !!bool maybe\n", "spec.yaml:1:4", "cannot be read as bool"),
        ("a: !!int b\n", "spec.yaml:1:4", "cannot be read as int"),
        ("a: 0b_\n", "spec.yaml:1:4", "cannot be read as int"),
        ("a: " + "9" * 5000 + "\n", "spec.yaml:1:4", "cannot be read as int"),
        ('a: "\\UFFFFFFFF"\n', "spec.yaml", "not YAML"),
        ("a: \x01\n", "spec.yaml:1", "control character"),
        ("? [a, b]\n: c\n", "spec.yaml:1:3", "one word"),
        ("a: {<<: 3}\n", "spec.yaml:1:5", "merged"),
        ("a: @b\n", "spec.yaml:1:4", "not YAML"),
        ("a:\n\tb: 1\n", "spec.yaml:2:1", "not YAML"),
    ],
)
def test_what_is_no_spec_is_refused_with_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(text)
    assert caught.value.where == place
    assert words in caught.value.message
    assert len(str(caught.value).splitlines()) <= 3


def test_bytes_that_are_no_utf8() -> None:
    with pytest.raises(SpecError, match="UTF-8") as caught:
        read_document(b"a: 1\nb: \xff\n", "spec.yaml")
    assert caught.value.where == "spec.yaml:2"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "---\n...\n", "\ufeff"])
def test_an_empty_text_is_a_spec_of_defaults(text: str) -> None:
    assert plain(read(text).root) == {}


def bombs() -> dict[str, str]:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    return {
        "ten laughs to the 30th": laughs,
        "mappings": "a0: &a0 {x: 1}\n"
        + "".join(f"a{n}: &a{n} {{b: *a{n - 1}, c: *a{n - 1}, d: *a{n - 1}}}\n" for n in range(1, 40)),
        "deep lists": "a: " + "[" * 10_000,
        "deep mappings": "a: " + "{a: " * 10_000,
        "deep block": "".join(" " * n + "a:\n" for n in range(500)),
        "long list": "a: [" + "1," * 60_000 + "]\n",
        "large": "# " + "x" * (1 << 21),
    }


@pytest.mark.parametrize("name", bombs())
def test_what_a_text_can_cost_is_bounded(name: str) -> None:
    begin = time.process_time()
    with pytest.raises(SpecError) as caught:
        read(bombs()[name])
    assert time.process_time() - begin < 20
    assert caught.value.where is not None


def test_values_know_where_they_stand() -> None:
    text = "top: 1\nséction:\n  list: [ab , 'c d']  # note\n  \"key\":   |\n    block\n  alias: &x y\n  again: *x\n"
    document = read(text)
    spans = {name: text[one.start : one.end] for name, one in scalars(document.root)}
    assert spans == {
        "top": "1",
        "séction.list[0]": "ab",
        "séction.list[1]": "'c d'",
        "séction.key": "|\n    block\n",
        "séction.alias": "y",
        "séction.again": "*x",
    }
    section = document.root.get("séction")
    assert section is not None
    assert isinstance(section.value, MappingNode)
    assert document.line_column(section.start) == (2, 1)
    key = section.value.get("key")
    assert key is not None
    assert document.line_column(key.start) == (4, 3)


def test_crlf_counts_as_one_line_end() -> None:
    document = read("a: 1\r\nb: 2\r\n")
    assert document.line_column(document.root.entries[1].start) == (2, 1)


def test_anchors_and_merges() -> None:
    document = read("base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo: {<<: [{x: 5}, *b], z: *b}\n")
    assert plain(document.root) == {
        "base": {"x": 1, "y": 2},
        "one": {"x": 1, "y": 3},
        "two": {"x": 5, "y": 2, "z": {"x": 1, "y": 2}},
    }


@pytest.mark.parametrize("text", ["010", "yes", "Off", "12:30:45", "0o17", "0b1", "1_000", "-07"])
def test_what_yaml_1_1_reads_on_its_own(text: str) -> None:
    assert reads_differently(only(f"k: {text}\n"))
    assert not reads_differently(only(f"k: '{text}'\n"))


@pytest.mark.parametrize("text", ["10", "1e-4", "true", "0", "0.5", "/data/010", "a_b", "-1", "null", "2024-01-01"])
def test_what_both_read_alike(text: str) -> None:
    assert not reads_differently(only(f"k: {text}\n"))
