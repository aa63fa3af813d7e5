"""The options that say what gets into a model, for the commands that run one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from int8cal.cli.options import decorated

_options = decorated(
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="Name of the input for the images, to be sure of it; or, with a value, what another input of the model is "
        "given for each image: a number, or several with commas between them.",
    ),
    click.option("--layout", type=click.Choice(["nchw", "nhwc"]), help="Layout of that input, if it cannot be told."),
)


def model_input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, whose function takes them as ``input_name``, ``constants`` and ``layout``."""

    @wraps(command)
    def with_inputs(*args: Any, inputs: Sequence[str], **options: Any) -> Any:
        name, constants = _sorted_out(inputs)
        return command(*args, input_name=name, constants=constants, **options)

    return _options(with_inputs)


def _sorted_out(inputs: Sequence[str]) -> tuple[str | None, dict[str, list[float]]]:
    """The input for the images, if it is named, and the values of others."""
    name: str | None = None
    constants: dict[str, list[float]] = {}
    for text in inputs:
        start, separator, value = text.rpartition("=")
        if separator:
            if start in constants:
                raise click.UsageError(f"--input {start}=… is given twice")
            constants[start] = _numbers(text, value)
        elif name is not None:
            raise click.UsageError(f"--input names two inputs for the images, {name} and {text}")
        else:
            name = text
    return name, constants


def _numbers(text: str, value: str) -> list[float]:
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise click.UsageError(f"--input {text}: what stands behind = must be numbers, such as 1 or 640,640")
    return numbers
