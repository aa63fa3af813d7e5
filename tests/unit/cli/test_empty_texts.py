"""No option is ignored because its text is empty, as that of a shell variable is that nobody set."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from int8cal.cli.app import cli, run

MAY_BE_EMPTY = {"component", "mpirun_arg"}
"""The command whose inputs Azure ML sends empty, but for what is the command line's alone; an option of a launcher."""


def text_options(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Option]]:
    """Every option that takes a text, with the command that it belongs to."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in [*command.list_commands(context), *(["ssd"] if command is cli else [])]:
            child = command.get_command(context, name)
            assert child is not None
            yield from text_options(child, *names, name)
        return
    for option in command.params:
        if isinstance(option, click.Option) and isinstance(option.type, click.types.StringParamType):
            yield names, option


OPTIONS = [
    pytest.param(names, option, id=" ".join((*names, option.opts[0])))
    for names, option in text_options(cli)
    if not MAY_BE_EMPTY.intersection((*names, str(option.name)))
]


@pytest.mark.parametrize(("names", "option"), OPTIONS)
def test_an_empty_text_is_refused(
    names: tuple[str, ...], option: click.Option, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*names, option.opts[0], *[""] * option.nargs]) == 2

    error = capsys.readouterr().err
    assert f"'{option.opts[0]}'" in error
    assert "it is empty; is a variable of the shell not set?" in error


def test_the_options_are_found() -> None:
    found = {" ".join((*names, option.opts[-1])) for names, option in text_options(cli)}
    assert {
        "quantize --eval",
        "quantize --trt_cache",
        "compare --html",
        "cache convert --trt_version",
        "spec update --map",
        "ssd calibration_tensorfile --cal_image_dir",
    } <= found


def test_inputs_of_the_component_may_be_empty(capsys: pytest.CaptureFixture[str]) -> None:
    run(["component", "--specs_file", ""])
    assert "it is empty" not in capsys.readouterr().err
    assert run(["component", "--inputs_from", ""]) == 2
    assert "it is empty" in capsys.readouterr().err
