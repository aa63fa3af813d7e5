"""Random specs, references and targets: each role gets its own paths, and nothing else changes."""

from __future__ import annotations

import glob

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int8cal.errors import SpecError, UsageError
from int8cal.networks.path_roles import DETECTNET_V2, SSD
from int8cal.spec.load import parse
from int8cal.spec.roles import GLOB_ROLES, path_values, without_paths
from int8cal.spec.text import SpecText, quote
from int8cal.spec.update import Substitution, update_spec

component = st.sampled_from(
    ["a", "b", "ab", "data", "training", "v1.x", "v1", "[v1]", "a'b", 'q"', "x y", "\\1&", "*", "é"]
)
"""Few and alike, so that references are prefixes of one another and are shared between roles."""

paths = st.tuples(st.sampled_from(["/", ""]), st.lists(component, min_size=1, max_size=4)).map(
    lambda parts: parts[0] + "/".join(parts[1])
)
targets = paths | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)

FIELDS = {
    "training_tfrecords": "dataset_config { data_sources { tfrecords_path: %s } }",
    "training_data": "dataset_config { data_sources { image_directory_path: %s } }",
    "validation_tfrecords": "dataset_config { validation_data_source { tfrecords_path: %s } }",
    "validation_data": "dataset_config: < validation_data_source { image_directory_path: %s }, >",
    "base_model": "model_config { pretrained_model_file: %s }",
}
noise = st.sampled_from(
    [
        "",
        "# /a/b data\n",
        "random_seed: 3;\n",
        'dataset_config { image_extension: "/a/b" }\r\n',
        'foo: "/a/data"\n',
        "\t",
    ]
)


@st.composite
def specs(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]]]:
    """Spec text and its (role, path) values in order."""
    values = draw(st.lists(st.tuples(st.sampled_from(sorted(FIELDS)), paths), min_size=1, max_size=6))
    text = draw(noise) + "".join(f"{FIELDS[role] % quote(path)}\n{draw(noise)}" for role, path in values)
    return text, values


def expected_path(role: str, path: str, rules: list[tuple[str, str, str]]) -> str:
    """The definition, written another way: compare lists of components."""
    parts = path.split("/")
    best: tuple[int, str] | None = None
    for rule_role, reference, target in rules:
        wanted = reference.split("/")
        while len(wanted) > 1 and wanted[-1] in ("", ".", "*"):
            wanted.pop()
        if rule_role == role and parts[: len(wanted)] == wanted and (best is None or len(wanted) > best[0]):
            start = target.rstrip("/")
            start = glob.escape(start) if role in GLOB_ROLES else start
            best = (len(wanted), "/".join([start, *parts[len(wanted) :]]) or "/")
    return best[1] if best else path


@given(specs(), st.lists(st.tuples(st.sampled_from(sorted(FIELDS)), paths, targets), min_size=1, max_size=5))
def test_each_role_gets_its_own_and_nothing_else_changes(
    spec_values: tuple[str, list[tuple[str, str]]], rules: list[tuple[str, str, str]]
) -> None:
    source, values = spec_values
    root = "int8cal.detectnet_v2.Experiment"
    spec = parse(SpecText.from_str(source), "s", root, allow_unknown_fields=True)
    useful = [
        rule
        for rule in rules
        if any(expected_path(role, path, [(rule[0], rule[1], "?")]) != path for role, path in values)
    ]
    try:
        result = update_spec(spec, DETECTNET_V2, [Substitution(*rule) for rule in rules])
    except SpecError:
        assert len(useful) < len(rules)
        return
    except UsageError:  # two targets for one reference
        return
    wanted = [(role, expected_path(role, path, rules)) for role, path in values]
    assert [(path.role, path.content) for path in path_values(result.spec, DETECTNET_V2)] == wanted
    assert without_paths(result.spec.message, DETECTNET_V2) == without_paths(spec.message, DETECTNET_V2)
    assert _frame(result.spec.text, [quote(path) for _, path in wanted]) == _frame(
        spec.text, [quote(path) for _, path in values]
    )


def _frame(text: SpecText, values: list[str]) -> str:
    """The text with its path values, given in order, cut out."""
    kept, rest = "", text.text
    for value in values:
        before, found, rest = rest.partition(f"path: {value}" if f"path: {value}" in rest else f"file: {value}")
        assert found
        kept += before
    return kept + rest


@given(st.lists(paths, min_size=1, max_size=4), targets)
def test_a_shared_reference_moves_everything_below_it(below: list[str], target: str) -> None:
    values = "".join(f"data_sources {{ label_directory_path: {quote('/ref/' + path)} }} " for path in below)
    spec = parse(SpecText.from_str(f"dataset_config {{ {values} }}"), "s", "int8cal.ssd.Experiment")
    result = update_spec(spec, SSD, [Substitution(None, "/ref/*", target)])
    moved = [source.label_directory_path for source in result.spec.message.dataset_config.data_sources]
    assert moved == [f"{target.rstrip('/')}/{path}" for path in below]


def test_the_model_of_the_law_itself_is_right() -> None:
    rules = [("training_data", "/a", "/1"), ("training_data", "/a/b/", "/2"), ("base_model", "/a", "/3")]
    assert expected_path("training_data", "/a/b/c", rules) == "/2/c"
    assert expected_path("training_data", "/ab", rules) == "/ab"
    assert expected_path("base_model", "/a/b", rules) == "/3/b"
    with pytest.raises(AssertionError):
        _frame(SpecText.from_str("path: 'x'"), ["y"])
