"""The options that say how images get into a model, for the commands that run one."""

from __future__ import annotations

import click

from int8cal.cli.options import decorated

model_input_options = decorated(
    click.option("--input", "input_name", metavar="NAME", help="Name of the model's input, to be sure of it."),
    click.option("--layout", type=click.Choice(["nchw", "nhwc"]), help="Layout of that input, if it cannot be told."),
)
"""Adds the options to a command, whose function takes them as ``input_name`` and ``layout``."""
