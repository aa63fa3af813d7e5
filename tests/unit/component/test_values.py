"""What texts mean: ND, empty, 10.0, True; and which lines are inputs."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from int8cal.component.inputs import BY_NAME, INPUTS
from int8cal.component.values import MAX_INPUT_BYTES, given, read_lines, typed
from int8cal.errors import UsageError

REQUIRED = {item.name: "x" for item in INPUTS if item.required}


def value(name, text):
    return typed({**REQUIRED, name: text})[name]


@pytest.mark.parametrize("text", [None, "", "ND", " ND ", "  ", "\t"])
def test_not_given(text):
    assert given(text) is None


@pytest.mark.parametrize("text", ["NDVI", "nd", "x/ND", "ND/x", "a", "-"])
def test_given_as_it_stands(text):
    assert given(text) == text


@pytest.mark.parametrize("name", [item.name for item in INPUTS if not item.required])
@pytest.mark.parametrize("text", ["ND", ""])
def test_nd_means_the_default(name, text):
    expected = False if name == "use_validation_set" else BY_NAME[name].default
    assert value(name, text) == expected


@pytest.mark.parametrize("name", list(REQUIRED))
@pytest.mark.parametrize("text", ["ND", ""])
def test_nd_for_a_required_input_is_an_error(name, text):
    with pytest.raises(UsageError, match=f"{name} is required"):
        value(name, text)


@pytest.mark.parametrize(("text", "number"), [("10", 10), ("10.0", 10), ("10.", 10), (" 7 ", 7), ("-1", -1), ("+3", 3)])
def test_whole_numbers(text, number):
    assert value("max_batches", text) == number


@pytest.mark.parametrize("text", ["10.5", "1e1", "ten", "0x10", "1_0", "-2", "9" * 5000, "10.0.0", "NaN", "１０"])
def test_other_numbers_are_refused(text):
    with pytest.raises(UsageError, match="max_batches"):
        value("max_batches", text)


@pytest.mark.parametrize(
    ("name", "text"), [("seed", "-1"), ("seed", "4294967296"), ("num_epochs", "0"), ("max_skipped", "-1")]
)
def test_ranges(name, text):
    with pytest.raises(UsageError, match="out of range"):
        value(name, text)


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "yes", "YES", " true "])
@pytest.mark.parametrize("name", ["use_validation_set", "log_report"])
def test_yes(name, text):
    assert value(name, text) is True


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "No", "ND", ""])
@pytest.mark.parametrize("name", ["use_validation_set", "log_report"])
def test_no(name, text):
    assert value(name, text) is False


@pytest.mark.parametrize("text", ["on", "y", "t", "10", "1.0", "none", "maybe"])
def test_neither_yes_nor_no(text):
    with pytest.raises(UsageError, match="neither yes nor no"):
        value("use_validation_set", text)


@pytest.mark.parametrize(("name", "text"), [("engine", "Native"), ("engine", "docker"), ("on_bad_image", "ignore")])
def test_choices(name, text):
    with pytest.raises(UsageError, match=name):
        value(name, text)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="unknown input 'max_batch'") as caught:
        typed({**REQUIRED, "max_batch": "1"})
    assert "max_batches" in caught.value.hint


def test_nul_is_refused():
    with pytest.raises(UsageError, match="NUL"):
        value("model_app_name", "a\0b")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lines(end, last):
    text = end.join(["model_app_name=a b=c", "", "specs-file= s.txt ", "output_dir="]) + end * last
    assert read_lines(text, "inputs") == {"model_app_name": "a b=c", "specs_file": " s.txt ", "output_dir": ""}


def test_a_byte_order_mark_is_no_part_of_a_name() -> None:
    assert read_lines("\ufeffmodel_app_name=\ufeffa\n", "inputs") == {"model_app_name": "\ufeffa"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("model_app_name=a\r\nspecs_file=s\n", "a\r"),  # one line ends otherwise
        ("specs_file=s\nmodel_app_name=a\r\n", "a\r"),
        ("model_app_name=a\r", "a\r"),
        ("model_app_name=a\r\r\nspecs_file=s\r\n", "a\r"),
        ("model_app_name=\ra\n", "\ra"),
    ],
)
def test_carriage_return_of_a_value_stays(text, value):
    assert read_lines(text, "inputs")["model_app_name"] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batches=1\nmax_batches=2", "inputs:2: input max_batches is given twice"),
        ("max_batches=1\nmax-batches=2", "inputs:2: input max_batches is given twice"),
        ("max_batches=1\nmax_batch=2", "inputs:2: unknown input 'max_batch'"),
        ("touch PWNED", "inputs:1: 'touch PWNED' is not name=value"),
        ("=x", "inputs:1: '=x' is not name=value"),
        ("a" * (MAX_INPUT_BYTES + 1), "inputs: has more than"),
    ],
)
def test_other_lines_are_errors(text, message):
    with pytest.raises(UsageError) as caught:
        read_lines(text, "inputs")
    assert str(caught.value).startswith(message)


one_line = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@for_all(st.dictionaries(st.sampled_from(sorted(BY_NAME)), one_line))
def test_every_value_of_one_line_arrives_as_it_is(values):
    """As the service sends them: the last line is that of the output, whose path is not the user's."""
    lines = [f"{name}={text}" for name, text in values.items()]
    assert read_lines("\n".join([*lines, "output_dir=/out", ""]), "inputs") == {**values, "output_dir": "/out"}
