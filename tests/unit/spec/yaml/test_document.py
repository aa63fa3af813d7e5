"""Typed values, interpolations, overrides and findings of YAML specs. What is expected was seen of OmegaConf 2.3.0."""

from __future__ import annotations

import time
from typing import Any

import pytest

from int8cal.errors import SpecError, UsageError
from int8cal.spec.yaml.document import YamlSpec
from int8cal.spec.yaml.interpolation import MAX_LENGTH, InterpolationError, Resolver
from int8cal.spec.yaml.overrides import with_overrides
from int8cal.spec.yaml.schema import Schema
from int8cal.spec.yaml.text import read_document, written_as

SCHEMA = Schema.parse(
    "\n".join(
        "\t".join(row)
        for row in [
            ("results_dir", "str?", "null", "5.0-"),
            ("dataset.size", "int", "3", "5.0-"),
            ("dataset.rate", "float", "1.0", "5.0-"),
            ("dataset.flag", "bool", "false", "5.0-"),
            ("dataset.name", "str", '""', "5.0-"),
            ("dataset.needed", "str", '"???"', "5.0-"),
            ("dataset.maybe", "int?", "null", "6.25.9-"),
            ("dataset.sizes", "[int]", "[1, 2]", "5.0-"),
            ("dataset.sources", "[{str}]?", "null", "5.0-"),
            ("dataset.source", "{str}?", "null", "5.0-"),
            ("dataset.free", "{any}?", "null", "5.0-"),
            ("dataset.old", "int", "1", "5.0-5.5"),
            ("dataset.augmentation.mean", "[float]", "[0.5]", "5.0-"),
            ("model.input_width", "int", "10", "5.0-"),
            ("model.input_height", "int", "10", "5.0-"),
        ]
    )
)


def spec(text: str, *overrides: str, environment: dict[str, str] | None = None) -> YamlSpec:
    document = read_document(text.encode(), "spec.yaml")
    root = with_overrides(document, overrides)
    return YamlSpec("spec.yaml", document, root, SCHEMA, "some", overrides, environment=environment or {})


def value(name: str, text: str, **environment: str) -> Any:
    return spec(f"dataset:\n  {name}: {text}\n", environment=environment).value(f"dataset.{name}")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("size", "0x10", 16),
        ("size", "' 7 '", 7),
        ("size", "'1_000'", 1000),
        ("size", "0b11", 3),
        ("size", "???", 3),
        ("maybe", "null", None),
        ("rate", "1", 1.0),
        ("rate", "'1e3'", 1000.0),
        ("rate", ".inf", float("inf")),
        ("flag", "1", True),
        ("flag", "2", True),
        ("flag", "'1'", True),
        ("flag", "'0'", False),
        ("flag", "y", True),
        ("flag", "Y", True),
        ("flag", "'ON'", True),
        ("flag", "'No'", False),
        ("name", "1.0", "1.0"),
        ("name", "1e3", "1000.0"),
        ("name", "yes", "True"),
        ("name", "010", "8"),
        ("name", "12:30:45", "45045"),
        ("name", "2024-01-01", "2024-01-01"),
        ("name", "1e-4", "0.0001"),
        ("sizes", "['3']", [3]),
        ("sizes", "[]", []),
        ("sizes", "[[1, 2], 3]", [[1, 2], 3]),
        ("source", "{a: 010}", {"a": "8"}),
        ("source", "{a: [b, c]}", {"a": ["b", "c"]}),
        ("sources", "[{a: b}, {a: c}]", [{"a": "b"}, {"a": "c"}]),
        ("free", "{a: [1, {b: 2}], 3: null}", {"a": [1, {"b": 2}], 3: None}),
    ],
)
def test_values_are_converted_as_omegaconf_does(name: str, text: str, expected: object) -> None:
    found = value(name, text)
    assert found == expected
    assert type(found) is type(expected)
    assert not spec(f"dataset:\n  {name}: {text}\n").check()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("size", "1.0"),
        ("size", "'1.0'"),
        ("size", "yes"),
        ("size", "'0x10'"),
        ("size", "null"),
        ("size", "[1]"),
        ("rate", "yes"),
        ("rate", "a"),
        ("rate", "1" + "0" * 400),
        ("flag", "1.0"),
        ("flag", "null"),
        ("flag", "maybe"),
        ("name", "null"),
        ("name", "[a]"),
        ("name", "{}"),
        ("sizes", "5"),
        ("sizes", "null"),
        ("sizes", "[1.0]"),
        ("sizes", "[yes]"),
        ("sizes", "{a: b}"),
        ("sources", "{a: b}"),
        ("sources", "[a]"),
        ("sources", "[{a: 5}]"),
        ("sources", "[{a: null}]"),
        ("sources", "[{a: [b]}]"),
        ("source", "[a]"),
        ("source", "a"),
        ("source", "{a: null}"),
    ],
)
def test_values_of_another_type_are_found_with_their_place(name: str, text: str) -> None:
    wrong = spec(f"dataset:\n  {name}: {text}\n")
    (finding,) = wrong.check()
    assert finding.field == f"dataset.{name}"
    assert finding.where.startswith("spec.yaml:2:")
    with pytest.raises(SpecError) as caught:
        wrong.value(f"dataset.{name}")
    assert caught.value.where == finding.where


def test_a_value_that_must_be_given() -> None:
    assert not spec("dataset:\n  needed: ???\n").check()
    with pytest.raises(SpecError, match=r"dataset\.needed is not given"):
        spec("dataset:\n  needed: ???\n").value("dataset.needed")
    assert spec("dataset: {needed: x}").value("dataset.needed") == "x"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("name", "${results_dir}/a", "/r/a"),
        ("name", "${ results_dir }", "/r"),
        ("name", "a${dataset.size}b${.size}", "a3b3"),
        ("name", "${..results_dir}", "/r"),
        ("name", "${dataset.sizes[1]}", "2"),
        ("name", "${dataset.sizes.1}", "2"),
        ("name", "'\\${dataset.size}'", "${dataset.size}"),
        ("name", "'a\\\\${dataset.size}'", "a\\3"),
        ("name", "$dataset", "$dataset"),
        ("size", "${dataset.maybe_text}", 7),
        ("sizes", "${dataset.sizes_too}", [4, 5]),
        ("name", "${oc.env:HOME}", "/root"),
        ("name", "${oc.env:HOME}/${dataset.size}", "/root/3"),
        ("name", "'${oc.env:NOPE,def}'", "def"),
        ("name", "'${oc.env:NOPE,\"a, b\"}'", "a, b"),
        ("name", "'${oc.env:NOPE, a b }'", "a b"),
        ("name", "'${oc.env:NOPE,}'", ""),
        ("name", "'x ${oc.env:NOPE,/a/b-c.d}'", "x /a/b-c.d"),
        ("name", "'${oc.env:NOPE,${dataset.size}}'", "3"),
        ("name", "'${oc.env:NOPE,1.50}'", "1.5"),
        ("maybe", "'${oc.env:NOPE,null}'", None),
        ("size", "'${oc.env:NOPE,010}'", 10),
        ("size", "'${oc.env:NOPE, 3}'", 3),
        ("name", "${dataset.${dataset.which}}", "3"),
    ],
)
def test_interpolations(name: str, text: str, expected: object) -> None:
    extra = "dataset:\n  which: size\n  maybe_text: '7'\n  sizes_too: [4, '5']\n"
    one = spec(f"results_dir: /r\n{extra}  {name}: {text}\n", environment={"HOME": "/root"})
    assert one.value(f"dataset.{name}") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${dataset.name}", "circle: dataset.name → dataset.name"),
        ("${results_dir}", "circle: dataset.name → results_dir → dataset.name"),
        ("${nope}", "no key nope"),
        ("${dataset.needed}", "not given"),
        ("${oc.env:NOPE}", "'NOPE' is not set"),
        ("'${oc.env:A,B,C}'", "a name and a default"),
        ("'${eval:\"6 * 8\"}'", "Python code"),
        ("'x${eval:\"__import__(1)\"}'", "Python code"),
        ("${oc.decode:5}", "resolver"),
        ("'${a'", "not closed"),
        ("'${}'", "not a reference"),
        ("'a ${dataset.sizes}'", "not a single value"),
        ("'${oc.env:NOPE,null}'", "null is not allowed"),
    ],
)
def test_interpolations_that_cannot_be_followed(text: str, words: str) -> None:
    one = spec(f"results_dir: '${{dataset.name}}'\ndataset:\n  needed: ???\n  sizes: [1]\n  name: {text}\n")
    with pytest.raises(SpecError) as caught:
        one.value("dataset.name")
    assert words in caught.value.message
    assert caught.value.where == "spec.yaml:5:9"


def test_evaluations_and_circles_are_found_wherever_they_stand() -> None:
    text = "train:\n  x: '${eval:1}'\n  y: ${train.z}\n  z: ${.y}\n  w: ${not.there}\n"
    assert [one.where for one in spec(text).check()] == ["spec.yaml:2:6", "spec.yaml:3:6", "spec.yaml:4:6"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${" * 80_000 + "a" + "}" * 80_000, "more than 32 references lie in one another"),
        ("${oc.env:NOPE," * 40 + "a" + "}" * 40, "more than 32 references lie in one another"),
        ("\\" * 200_000 + " ${nope}", "longer than 65536 characters"),
        ("${oc.env:NOPE," + "9" * 5000 + "}", "more than 3500 digits"),
    ],
    ids=["nested", "nested defaults", "backslashes", "digits"],
)
def test_what_an_interpolation_costs_is_bounded(text: str, words: str) -> None:
    def look_up(path: tuple[str | int, ...]) -> str:
        raise KeyError(path)

    begin = time.process_time()
    with pytest.raises(InterpolationError, match=words):
        Resolver(look_up, {}).resolve(text, ("top",))
    assert time.process_time() - begin < 2


def test_texts_that_double_are_bounded() -> None:
    chain = {f"k{n}": f"${{k{n + 1}}}${{k{n + 1}}}" for n in range(30)} | {"k30": "x"}

    def look_up(path: tuple[str | int, ...]) -> str:
        return chain[str(path[0])]

    with pytest.raises(InterpolationError, match="longer than"):
        Resolver(look_up, {}).resolve("${k0}", ("top",))


def test_long_chains_are_bounded() -> None:
    def look_up(path: tuple[str | int, ...]) -> str:
        return f"${{k{int(str(path[0])[1:]) + 1}}}"

    with pytest.raises(InterpolationError, match="in one another"):
        Resolver(look_up, {}).resolve("${k0}", ("top",))


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        ("datasets: {}", "datasets", "Did you mean dataset?"),
        ("dataset: {sizs: 1}", "dataset.sizs", "Did you mean dataset.size"),
        ("dataset: {augmentation: {men: 1}}", "dataset.augmentation.men", "Did you mean dataset.augmentation.mean?"),
        ("dataset: {mean: [1]}", "dataset.mean", "dataset.augmentation.mean"),
        ("dataset: {zzz: 1}", "dataset.zzz", "It knows: augmentation"),
        ("model: {width: 3}", "model.width", "Did you mean model.input_width?"),
        ("model: {input_widht: 3}", "model.input_widht", "Did you mean model.input_width?"),
    ],
)
def test_unknown_keys_are_found_with_the_nearest_one(text: str, field: str, hint: str) -> None:
    (finding,) = spec(text).check()
    assert "no known release of TAO has the key" in finding.message
    assert finding.field == field
    assert finding.where.startswith("spec.yaml:1:")
    assert finding.hint is not None
    assert hint in finding.hint


@pytest.mark.parametrize("text", ["model: {backbone: x, neck: {a: 1}}", "train: {optim: {lr: 1}}", "wandb: {a: b}"])
def test_keys_that_decide_no_pixel_are_not_judged(text: str) -> None:
    assert not spec(text).check()


def test_overrides() -> None:
    one = spec(
        "dataset: {size: 4}", "dataset.size=5", "dataset.sizes=[7, 8]", "dataset.augmentation.mean=[1]", "results_dir="
    )
    assert one.value("dataset.size") == 5
    assert one.value("dataset.sizes") == [7, 8]
    assert one.value("dataset.augmentation.mean") == [1.0]
    assert one.value("results_dir") == ""
    assert one.where("results_dir") == "results_dir="
    assert one.where("dataset.size") == "dataset.size=5"
    assert one.where("dataset.sizes[1]") == "dataset.sizes=[7, 8]"
    assert one.document.text == "dataset: {size: 4}"


def test_the_last_override_wins_and_errors_name_it() -> None:
    one = spec("a: 1", "dataset.size=5", "dataset.size=x")
    with pytest.raises(SpecError) as caught:
        one.value("dataset.size")
    assert caught.value.where == "dataset.size=x"
    assert [finding.where for finding in spec("", "dataset.sise=5").check()] == ["dataset.sise=5"]


@pytest.mark.parametrize(
    "override", ["+a=1", "~a", "++a=1", "~a=1", "a", "=1", "a[0]=1", "a..b=1", "dataset.size=[", "dataset.sizes.0=1"]
)
def test_overrides_that_are_none(override: str) -> None:
    with pytest.raises(UsageError):
        spec("dataset: {sizes: [1]}", override)


def test_the_versions_are_told_from_the_keys() -> None:
    assert spec("dataset: {size: 1}").describe().partition(", ")[2] == "TAO 5.0 to 7.x"
    assert spec("dataset: {maybe: 1}").describe().partition(", ")[2] == "TAO 6.25.9 to 7.x"
    assert spec("dataset: {old: 1}").describe().partition(", ")[2] == "TAO 5.0 to 5.5"
    assert spec("dataset: {old: 1, maybe: 1}").describe().partition(", ")[2] == "no release of TAO"


def test_a_scalar_that_newer_yaml_reads_differently_is_named() -> None:
    one = spec("dataset: {size: 010, name: yes, rate: 1.0}\ntrain: {x: 010}\n")
    notes = one.warnings
    assert len(notes) == 2
    assert "spec.yaml:1:17: dataset.size: 010 is 8 to TAO" in notes[0]


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("sources", "dataset:\n  sources:\n    image_dir: a\n", "Write a dash before its first key: - key: value."),
        ("sizes", "dataset:\n  sizes: 3\n", "Put it in [ ]."),
        ("source", "dataset:\n  source:\n  - image_dir: a\n", "Take away the [ ], or the -: it is one mapping."),
        ("size", "dataset:\n\tsize: 3\n", "Write spaces in place of the tab."),
        ("image_dir", "dataset: {image_dir: ${oc.env:HOME}/a}\n", "Between { and }, or [ and ], write ${…} in quotes."),
    ],
)
def test_a_value_of_another_shape_comes_with_how_to_write_it(name: str, text: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(text).value(f"dataset.{name}")
    assert caught.value.hint == hint


def test_texts_are_bounded_in_sum() -> None:
    long = "x" * (MAX_LENGTH - 1)
    resolver = Resolver(lambda path: long, {})
    for number in range(128):
        resolver.resolve("${long}y", ("list", number))
    with pytest.raises(InterpolationError, match="more than 8388608 characters together"):
        resolver.resolve("${long}y", ("list", 128))


def test_a_reference_of_very_many_steps_leads_nowhere() -> None:
    resolver = Resolver(lambda path: "x", {})
    with pytest.raises(InterpolationError, match="a reference of 1201 steps"):
        resolver.resolve("${a" + ".b" * 1200 + "}", ("top",))


def test_backslashes_are_written_in_linear_time() -> None:
    begun = time.process_time()
    assert written_as("/new" + "\\" * 200_000, "'x'") == "'/new" + "\\" * 200_000 + "'"
    assert time.process_time() - begun < 2
