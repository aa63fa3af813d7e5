"""Options of NVIDIA's launcher, so that its command lines work as they stand."""

from __future__ import annotations

from typing import Any

import click

from int8cal.cli import console
from int8cal.cli.options import POSSIBLY_EMPTY


class LauncherCommand(click.Command):
    """A command that also takes the options of NVIDIA's launcher, in its spelling, and does without them."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += _options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _gpus_one_by_one(args))

    def invoke(self, ctx: click.Context) -> Any:
        given = {str(option.name): ctx.params.pop(str(option.name)) for option in _options()}
        _refuse(given)
        if any(given.values()):
            console.note("options of NVIDIA's launcher (--gpus, --gpu_index, …) have no effect: no GPU is used")
        return super().invoke(ctx)


def _options() -> list[click.Option]:
    return [
        click.Option(["--gpus"], type=int, hidden=True),
        click.Option(["--gpu_index"], type=int, multiple=True, hidden=True),
        click.Option(["-np", "--num_processes"], type=int, hidden=True),
        click.Option(["--use_amp"], is_flag=True, hidden=True),
        click.Option(["--mpirun_arg"], type=POSSIBLY_EMPTY, hidden=True),
        click.Option(["--multi_node"], is_flag=True, hidden=True),
        click.Option(["--launch_cuda_blocking"], is_flag=True, hidden=True),
    ]


def _refuse(given: dict[str, Any]) -> None:
    """What NVIDIA's launcher refuses for this task is a usage error."""
    if given["gpus"] not in (None, 1):
        raise click.UsageError("use 1 GPU for this task (--gpus 1), as NVIDIA's launcher demands; none is used here")
    if (given["num_processes"] or 0) > 1:
        raise click.UsageError("more than one process is for training (-np); threads are set by --workers")
    if given["use_amp"]:
        raise click.UsageError("AMP is supported for training only (--use_amp)")


def _gpus_one_by_one(arguments: list[str]) -> list[str]:
    """A list of GPUs, ``--gpu_index 0 1``, as one option for each."""
    spread: list[str] = []
    option = None  # of the list that the next argument may go on with
    values = 0
    for argument in arguments:
        if argument.replace("-", "_") == "__gpu_index":
            option, values = argument, 0
        elif option and argument.isdecimal():
            spread += [option] if values else []
            values += 1
        else:
            option = None
        spread.append(argument)
    return spread
