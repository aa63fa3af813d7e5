"""Commands spell out what they offer where importing it would slow ``--help`` down: it must be what there is."""

from __future__ import annotations

from typing import get_args

import click
import pytest

from int8cal.cli.app import cli
from int8cal.component.inputs import MAPPINGS
from int8cal.engine.assemble import OnBadImage
from int8cal.exports.formats import FORMATS
from int8cal.models.ranges import DEFAULT_PERCENTILE, METHODS
from int8cal.models.session import Layout
from int8cal.report.build import PICTURES
from int8cal.spec.document import ROLES
from int8cal.tensorfile.chunks import COMPRESSIONS


def command(*names: str) -> click.Command:
    found: click.Command = cli
    for name in names:
        assert isinstance(found, click.Group)
        child = found.get_command(click.Context(found), name)
        assert child is not None
        found = child
    return found


def option(name: str, *names: str) -> click.Option:
    """Option ``name`` of a command."""
    (found,) = (item for item in command(*names).params if item.name == name)
    assert isinstance(found, click.Option)
    return found


@pytest.mark.parametrize(
    ("name", "names", "choices"),
    [
        ("to", ["export"], FORMATS),
        ("layout", ["export"], get_args(Layout)),
        ("layout", ["quantize"], get_args(Layout)),
        ("layout", ["compare"], get_args(Layout)),
        ("method", ["quantize"], METHODS),
        ("compression", ["calibration_tensorfile"], COMPRESSIONS),
        ("compression", ["detectnet_v2", "calibration_tensorfile"], COMPRESSIONS),
        ("on_bad_image", ["calibration_tensorfile"], get_args(OnBadImage)),
    ],
)
def test_choices_are_those_of_the_library(name: str, names: list[str], choices: tuple[str, ...]) -> None:
    kind = option(name, *names).type
    assert isinstance(kind, click.Choice)
    assert tuple(kind.choices) == choices


def test_defaults_are_those_of_the_library() -> None:
    assert option("pictures", "report").default == PICTURES
    assert f"[default: {DEFAULT_PERCENTILE}]" in str(option("percentile", "quantize").help)


def test_path_options_are_the_roles_that_specs_have() -> None:
    pairs = [item.name for item in command("spec", "update").params if item.nargs == 2]
    assert pairs == [*ROLES, "map"]
    assert {mapping.role for mapping in MAPPINGS} == set(ROLES)
