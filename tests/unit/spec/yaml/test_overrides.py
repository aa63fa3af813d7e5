"""Overrides. What is expected was seen of Hydra 1.3 (its parser of overrides) and OmegaConf 2.3.0 (typed keys)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from int8cal.errors import UsageError
from int8cal.spec.yaml.document import YamlSpec
from int8cal.spec.yaml.overrides import with_overrides
from int8cal.spec.yaml.schema import Schema
from int8cal.spec.yaml.text import MAX_DEPTH, MAX_DIGITS, plain, read_document

SCHEMA = Schema.parse(
    "dataset.size\tint\t3\t5.0-\n"
    "dataset.rate\tfloat\t1.0\t5.0-\n"
    "dataset.flag\tbool\tfalse\t5.0-\n"
    'dataset.name\tstr\t""\t5.0-\n'
    "dataset.source\t{str}?\tnull\t5.0-"
)


def spec(text: str, *overrides: str) -> YamlSpec:
    document = read_document(text.encode(), "spec.yaml")
    return YamlSpec("spec.yaml", document, with_overrides(document, overrides), SCHEMA, "some", overrides)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        ("+5", 5),
        ("-0", 0),
        ("10 ", 10),
        ("1_000", 1000),
        ("1__0", "1__0"),
        ("0100", "0100"),
        ("-0100", "-0100"),
        ("001", "001"),
        ("0x10", "0x10"),
        ("0b11", "0b11"),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("00.5", "00.5"),
        ("1e3", 1000.0),
        ("1e-4", 0.0001),
        ("1e", "1e"),
        ("-Inf", -math.inf),
        (".inf", ".inf"),
        ("TRUE", True),
        ("yes", "yes"),
        ("on", "on"),
        ("NULL", None),
        ("None", "None"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("", ""),
        ("  ", ""),
        ("''", ""),
        (" a b ", "a b"),
        ("- x", "- x"),
        ("@x", "@x"),
        ("%x", "%x"),
        ("*x", "*x"),
        ("|", "|"),
        ("s3://b/k", "s3://b/k"),
        ("'set #1'", "set #1"),
        ("'5'", "5"),
        (r'"x\"y"', 'x"y'),
        (r"'it\'s'", "it's"),
        (r"'a\\'", "a\\"),
        (r"'a\\b'", r"a\\b"),
        (r"'a\nb'", r"a\nb"),
        (r"a\,b\ c", "a,b c"),
        (r"a\b", r"a\b"),
        ("${model.x}/y", "${model.x}/y"),
        (r"\${a}", r"\${a}"),
        ("[]", []),
        ("[ 1, 0100 ,[yes,true]]", [1, "0100", ["yes", True]]),
        ("[a b,'c,d']", ["a b", "c,d"]),
        ("{}", {}),
        ("{image_dir:/x,json_file:a.json}", {"image_dir": "/x", "json_file": "a.json"}),
        ("{1: a:b, c: {d: []}}", {1: "a:b", "c": {"d": []}}),
        ("{a:1,a:2}", {"a": 2}),
    ],
)
def test_values_mean_what_hydra_takes_them_for(text: str, expected: Any) -> None:
    found = plain(spec("", f"x={text}").values)["x"]
    assert (found, type(found)) == (expected, type(expected))


def test_nan() -> None:
    assert math.isnan(plain(spec("", "x=nan").values)["x"])


@pytest.mark.parametrize(
    "text",
    [
        *(
            "set #1",
            "#x",
            "a=b",
            "&x",
            "!x",
            "~/x",
            "^",
            "a;b",
            "<x>",
            "é",
            "a\nb",
            "a'b",
            "'a'b",
            "'a",
            "a]",
            "[a",
            "{a",
        ),
        *("{a}", "{'a': 1}", "{a=b}", "[]x", "[1,]", "[,]", "a,", "(x)", "f(x)", "${a", "${a:${b}}", "{null: 1}"),
        *("a,b", "'a','b'", "glob(*)", "range(1,3)", "int(5)", "[choice(1)]"),  # several runs, or functions
        *("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "9" * (MAX_DIGITS + 1)),
    ],
)
def test_values_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        spec("", f"x={text}")
    assert caught.value.hint


def test_a_text_is_quoted_in_the_hint() -> None:
    with pytest.raises(UsageError) as caught:
        spec("", "dataset.name=set #1")
    assert (caught.value.where, caught.value.message) == ("dataset.name=set #1", "# must be in quotes")
    assert """'dataset.name="set #1"'""" in str(caught.value.hint)
    assert spec("", 'dataset.name="set #1"').value("dataset.name") == "set #1"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("dataset.size=0100", 100),
        ("dataset.size='7'", 7),
        ("dataset.rate=01.5", 1.5),
        ("dataset.flag=yes", True),
        ("dataset.name=001", "001"),
        ("dataset.name=yes", "yes"),
        ("dataset.name=1e3", "1000.0"),
        ("dataset.name=", ""),
    ],
)
def test_typed_values(override: str, expected: Any) -> None:
    one = spec("", override)
    assert one.value(override.partition("=")[0]) == expected
    assert not one.warnings, "no reader of YAML takes it for another value: it is not YAML"


def test_a_mapping_changes_the_keys_that_it_names() -> None:
    one = spec("dataset: {source: {image_dir: /a, json_file: b}, size: 4}", "dataset={source: {image_dir: /c}}")
    assert one.value("dataset.source") == {"image_dir": "/c", "json_file": "b"}
    assert one.value("dataset.size") == 4
    assert one.where("dataset.source.image_dir") == "dataset={source: {image_dir: /c}}"


@pytest.mark.parametrize(
    ("override", "does"), [("+a=1", "'+' adds a key"), ("++a=1", "'++' adds or changes"), ("~a", "'~' removes a key")]
)
def test_what_adds_and_removes_keys_is_called_by_its_name(override: str, does: str) -> None:
    with pytest.raises(UsageError, match="Hydra") as caught:
        spec("", override)
    assert does in caught.value.message


def test_an_empty_value_knows_its_place() -> None:
    one = spec("a: 1", "dataset.size=", "dataset.rate=2")
    assert "dataset.size=" in [finding.where for finding in one.check()]
