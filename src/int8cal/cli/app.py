"""The tree of commands, loaded one by one, and what happens when a command fails."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import warnings
from typing import TYPE_CHECKING, Any

import click

from int8cal import __version__
from int8cal.cli import console
from int8cal.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_TERMINATED, Int8calError

if TYPE_CHECKING:
    from types import FrameType

_COMMANDS = {
    # name: (module:command, summary, which costs no import to show)
    "cache": ("cache:cache", "Show, convert and compare TensorRT calibration caches."),
    "calibration_tensorfile": ("make:any_network", "Make a tensorfile; the network is found from the spec."),
    "compare": ("compare:compare", "How far apart the outputs of two models are."),
    "component": ("component:component", "The Azure ML, Kubeflow and docker entry: named inputs in, tensorfile out."),
    "demo": ("demo:demo", "Make a small driving-scene data set and run the main job on it."),
    "doctor": ("doctor:doctor", "Versions and environment, for bug reports."),
    "export": ("export:export", "Turn a tensorfile into what other quantisers read."),
    "inspect": ("inspect:inspect", "What is in a tensorfile."),
    "model": ("make:model", "int8cal model NETWORK …: the same as int8cal NETWORK …"),
    "networks": ("networks:networks", "The networks that int8cal knows."),
    "quantize": ("quantize:quantize", "Make a Q/DQ INT8 model and a calibration cache from a tensorfile."),
    "report": ("report:report", "One HTML page to look at."),
    "spec": ("spec:spec", "Show, check and rewrite experiment specs."),
    "verify": ("verify:verify", "Is a tensorfile sound, and is it what the spec asks for?"),
}

_SETTINGS = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    # TAO and Azure ML write --max_batches, most others --max-batches: both are accepted everywhere.
    "token_normalize_func": lambda token: token.replace("-", "_"),
}

_STOPPING: dict[int, tuple[str, int]] = {
    signal.SIGINT: ("interrupted", EXIT_INTERRUPTED),
    signal.SIGTERM: ("terminated", EXIT_TERMINATED),
}

_EPILOG = """\b
Examples:
  int8cal demo
  int8cal detectnet_v2 calibration_tensorfile -e spec.txt -o calibration.tensor -m 10
  int8cal detectnet_v2 plan -e spec.txt -m 10
  int8cal inspect calibration.tensor
"""


class CommandTree(click.Group):
    """The commands above, and one group for every network; each is imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in _COMMANDS if self._exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module, attribute = _COMMANDS[cmd_name][0].split(":")
            command: click.Command = getattr(importlib.import_module(f"int8cal.cli.{module}"), attribute)
            return command
        from int8cal.cli.make import network_group

        return network_group(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [("NETWORK", "calibration_tensorfile or plan for a network: see int8cal networks.")]
        rows += [(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    @staticmethod
    def _exists(name: str) -> bool:
        return os.path.exists(os.path.join(os.path.dirname(__file__), _COMMANDS[name][0].split(":")[0] + ".py"))


@click.group(cls=CommandTree, context_settings=_SETTINGS, epilog=_EPILOG)
@click.version_option(__version__, message="int8cal %(version)s")
def cli() -> None:
    """INT8 calibration data for NVIDIA TAO models: the numbers of NVIDIA's own command, bit for bit.

    A training spec goes in; a tensorfile of preprocessed samples comes out, for TensorRT and every other quantiser.
    """


class Stopped(BaseException):
    """A signal asks the program to end. Not an `Exception`, so that nothing but clean-up happens on its way."""

    def __init__(self, how: str, exit_code: int) -> None:
        super().__init__(how)
        self.how = how
        self.exit_code = exit_code
        self.advice = ""


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit code: 0, one of `int8cal.errors`, 130 or 143.
    """
    for number in _STOPPING:
        signal.signal(number, _stop)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd metadata in images: nothing that changes pixels
    as_json = "--json" in arguments
    try:
        finished = cli.main(arguments, prog_name="int8cal", standalone_mode=False)
    except click.ClickException as error:
        return _usage(error, as_json=as_json)
    except Int8calError as error:
        console.print_error(error, as_json=as_json)
        return error.exit_code
    except Stopped as stopped:
        console.note(f"{stopped.how}; nothing was left under the final name")
        if stopped.advice:
            console.note(stopped.advice)
        return stopped.exit_code
    except BrokenPipeError:  # the reader of a pipe has seen enough: not an error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug is shown whole, with the facts to report it
        console.print_bug(error, as_json=as_json)
        return EXIT_BUG
    return finished if isinstance(finished, int) else 0  # a code where a command called ctx.exit


def _usage(error: click.ClickException, *, as_json: bool) -> int:
    if as_json:
        console.print_json({"error": {"type": "UsageError", "message": error.format_message(), "exit_code": 2}})
    else:
        context = getattr(error, "ctx", None)
        hint = f"Try: {context.command_path} --help" if context else None
        console.print_two_lines(error.format_message(), hint)
    return 2


def _stop(number: int, frame: FrameType | None) -> Any:
    raise Stopped(*_STOPPING[number])
