"""Random specs, references and targets: each role gets its own paths, and nothing else changes."""

from __future__ import annotations

import glob
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.path_roles import PATH_ROLES

from int8cal.errors import SpecError, UsageError
from int8cal.spec.document import GLOB_ROLES
from int8cal.spec.prototext.document import without_fields
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.text import SpecText, quote
from int8cal.spec.update import Substitution, update_spec

component = st.sampled_from(
    ["a", "b", "ab", "data", "training", "v1.x", "v1", "[v1]", "a'b", 'q"', "x y", "\\1&", "*", "é"]
)
"""Few and alike, so that references are prefixes of one another and are shared between roles."""

paths = st.tuples(st.sampled_from(["/", ""]), st.lists(component, min_size=1, max_size=4)).map(
    lambda parts: parts[0] + "/".join(parts[1])
)
targets = paths | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)

DETECTNET_V2, SSD = PATH_ROLES["int8cal.detectnet_v2"], PATH_ROLES["int8cal.ssd"]

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


Value = tuple[str, str]
"""Role and path."""

Rule = tuple[str, str, str]
"""Role, reference and target."""


@st.composite
def specs(draw: st.DrawFn) -> tuple[str, list[Value], list[Rule]]:
    """Spec text, its (role, path) values in order, and substitutions.

    The references are beginnings of the paths, for the role of the path or another, most of them in whole components.
    """
    values = draw(st.lists(st.tuples(st.sampled_from(sorted(FIELDS)), paths), min_size=1, max_size=6))
    text = draw(noise) + "".join(f"{FIELDS[role] % quote(path)}\n{draw(noise)}" for role, path in values)
    rules = []
    for _ in range(draw(st.integers(1, 4))):
        role, path = draw(st.sampled_from(values))
        cuts = [end for end in range(1, len(path) + 1) if end == len(path) or path[end] == "/"]
        end = draw(st.sampled_from(cuts) | st.integers(1, len(path)))
        role = draw(st.sampled_from([role, role, role, *FIELDS]))
        rules.append((role, path[:end] + draw(st.sampled_from(["", "", "/", "/.", "/*"])), draw(targets)))
    return text, values, rules


def without_tail(reference: str) -> tuple[str, ...]:
    """A reference as components, without the trailing ones that do not count."""
    parts = reference.split("/")
    while len(parts) > 1 and parts[-1] in ("", ".", "*"):
        parts.pop()
    return tuple(parts)


def expected_path(role: str, path: str, rules: list[Rule]) -> str:
    """The definition, written another way: compare lists of components."""
    parts = path.split("/")
    best: tuple[int, str] | None = None
    for rule_role, reference, target in rules:
        wanted = without_tail(reference)
        if rule_role == role and tuple(parts[: len(wanted)]) == wanted and (best is None or len(wanted) > best[0]):
            start = target.rstrip("/")
            start = glob.escape(start) if role in GLOB_ROLES else start
            best = (len(wanted), "/".join([start, *parts[len(wanted) :]]) or "/")
    return best[1] if best else path


def cannot_be_applied(values: list[Value], rules: list[Rule]) -> bool:
    """Does a rule fit nothing, or contradict another one?"""
    fits_nothing = any(
        all(expected_path(role, path, [(*rule[:2], "\n")]) == path for role, path in values) for rule in rules
    )
    targets_of = {(role, without_tail(reference)): target.rstrip("/") for role, reference, target in rules}
    return fits_nothing or any(
        targets_of[role, without_tail(reference)] != target.rstrip("/") for role, reference, target in rules
    )


@given(specs())
def test_each_role_gets_its_own_and_nothing_else_changes(case: tuple[str, list[Value], list[Rule]]) -> None:
    source, values, rules = case
    spec = parse(SpecText.from_str(source), "s", "int8cal.detectnet_v2.Experiment", allow_unknown_fields=True)
    substitutions = [Substitution(*rule) for rule in rules]
    if cannot_be_applied(values, rules):
        with pytest.raises((SpecError, UsageError)):
            update_spec(spec, DETECTNET_V2, substitutions)
        return
    result = update_spec(spec, DETECTNET_V2, substitutions)
    wanted = [(role, expected_path(role, path, rules)) for role, path in values]
    assert [(path.role, path.content) for path in result.document.path_values(DETECTNET_V2)] == wanted
    assert without_fields(result.document.message, DETECTNET_V2) == without_fields(spec.message, DETECTNET_V2)
    assert _frame(result.document.text, [quote(path) for _, path in wanted]) == _frame(
        spec.text, [quote(path) for _, path in values]
    )


def _frame(text: SpecText, values: list[str]) -> str:
    """The text with its path values, given in order, cut out."""
    kept, rest = "", text.text
    for value in values:
        found = re.search(f"(?:path|file): {re.escape(value)}", rest)
        assert found
        kept, rest = kept + rest[: found.start()], rest[found.end() :]
    return kept + rest


@given(st.lists(paths, min_size=1, max_size=4), targets)
def test_a_shared_reference_moves_everything_below_it(below: list[str], target: str) -> None:
    values = "".join(f"data_sources {{ label_directory_path: {quote('/ref/' + path)} }} " for path in below)
    spec = parse(SpecText.from_str(f"dataset_config {{ {values} }}"), "s", "int8cal.ssd.Experiment")
    result = update_spec(spec, SSD, [Substitution(None, "/ref/*", target)])
    moved = [source.label_directory_path for source in result.document.message.dataset_config.data_sources]
    assert moved == [f"{target.rstrip('/')}/{path}" for path in below]


def test_the_model_of_the_law_itself_is_right() -> None:
    rules = [("training_data", "/a", "/1"), ("training_data", "/a/b/", "/2"), ("base_model", "/a", "/3")]
    assert expected_path("training_data", "/a/b/c", rules) == "/2/c"
    assert expected_path("training_data", "/ab", rules) == "/ab"
    assert expected_path("base_model", "/a/b", rules) == "/3/b"
    with pytest.raises(AssertionError):
        _frame(SpecText.from_str("path: 'x'"), ["y"])
