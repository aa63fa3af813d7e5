"""Commands spell out defaults where importing them would slow ``--help`` down: they must be the library's."""

from __future__ import annotations

import click

from int8cal.cli.app import cli
from int8cal.component.inputs import MAPPINGS
from int8cal.models.ranges import DEFAULT_PERCENTILE
from int8cal.report.build import PICTURES
from int8cal.spec.document import ROLES


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


def test_defaults_are_those_of_the_library() -> None:
    assert option("pictures", "report").default == PICTURES
    assert f"[default: {DEFAULT_PERCENTILE}]" in str(option("percentile", "quantize").help)


def test_path_options_are_the_roles_that_specs_have() -> None:
    pairs = [item.name for item in command("spec", "update").params if item.nargs == 2]
    assert pairs == [*ROLES, "map"]
    assert {mapping.role for mapping in MAPPINGS} == set(ROLES)
