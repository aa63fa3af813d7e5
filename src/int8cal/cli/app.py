"""The tree of commands, loaded one by one, and what happens when a command fails."""

from __future__ import annotations

import importlib
import os
import re
import warnings
from typing import TYPE_CHECKING

import click

from int8cal import __version__
from int8cal.cli import console, process
from int8cal.cli.help import in_groups
from int8cal.cli.options import SuggestingGroup
from int8cal.errors import EXIT_BUG, Int8calError, OutOfMemoryError, UsageError
from int8cal.io.lacks import lack_of
from int8cal.io.signals import Stopped, obey_signals, stop_listening

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    # name: (module:command, summary, which costs no import to show)
    "cache": ("cache:cache", "Show, convert and compare TensorRT calibration caches."),
    "calibration_tensorfile": ("make:any_network", "Make a tensorfile; the network is found from the spec."),
    "compare": ("compare:compare", "How far apart the outputs of two models are."),
    "completion": ("completion:completion", "Completion of commands, options and names for bash, zsh and fish."),
    "component": ("component:component", "The Azure ML, Kubeflow and docker entry: named inputs in, tensorfile out."),
    "demo": ("demo:demo", "Make a small driving-scene data set and run the main job on it."),
    "doctor": ("doctor:doctor", "Versions and environment, for bug reports."),
    "export": ("export:export", "Turn a tensorfile into what other quantisers read."),
    "images": ("images:images", "Make a tensorfile of images and stated preprocessing, without a TAO spec."),
    "inspect": ("inspect:inspect", "What is in a tensorfile."),
    "model": ("make:model", "int8cal model NETWORK …: the same as int8cal NETWORK …"),
    "networks": ("networks:networks", "The networks that int8cal knows."),
    "plan": ("make:plan_any_network", "What a run would do: the dry run; the network is found from the spec."),
    "quantize": ("quantize:quantize", "Make a Q/DQ INT8 model and a calibration cache from a tensorfile."),
    "records": ("records:records", "Make TFRecords of images and KITTI labels."),
    "report": ("report:report", "One HTML page to look at."),
    "spec": ("spec:spec", "Show, check and rewrite experiment specs."),
    "verify": ("verify:verify", "Is a tensorfile sound, and is it what its source makes?"),
}

COMPLETE = "_INT8CAL_COMPLETE"
"""Variable by which a shell asks for completions."""

_SETTINGS = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    # TAO and Azure ML write --max_batches, most others --max-batches: both are accepted everywhere.
    "token_normalize_func": lambda token: token.replace("-", "_"),
}

_EPILOG = """\b
Examples:
  int8cal demo
  int8cal detectnet_v2 calibration_tensorfile -e spec.txt -o calibration.tensor -m 10
  int8cal detectnet_v2 plan -e spec.txt -m 10
  int8cal inspect calibration.tensor
"""


class CommandTree(SuggestingGroup):
    """The commands above, and one group for every network; each is imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, attribute = COMMANDS[cmd_name][0].split(":")
            command: click.Command = getattr(importlib.import_module(f"int8cal.cli.{module}"), attribute)
            in_groups(command)
            return command
        from int8cal.cli.make import network_group

        group = network_group(cmd_name)
        if group:
            in_groups(group)
        return group

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands with their summaries, and networks."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        names = {name: COMMANDS.get(name, ("", "a network"))[1] for name in sorted(self.known_names(ctx))}
        return [CompletionItem(name, help=text) for name, text in names.items() if name.startswith(incomplete)]

    def known_names(self, ctx: click.Context) -> list[str]:
        from int8cal import networks

        return [*self.list_commands(ctx), *networks.names()]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [("NETWORK", "calibration_tensorfile or plan for a network: see int8cal networks.")]
        rows += [(name, COMMANDS[name][1]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=CommandTree, context_settings=_SETTINGS, epilog=_EPILOG)
@click.version_option(__version__, "-V", "--version", message="int8cal %(version)s")
def cli() -> None:
    """INT8 calibration data for NVIDIA TAO models: the numbers of NVIDIA's own command, bit for bit.

    A training spec goes in; a tensorfile of preprocessed samples comes out, for TensorRT and every other quantiser.
    """


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit code: 0, one of `int8cal.errors`, or 129, 130 or 143 for a signal.
    """
    if os.environ.get(COMPLETE):
        return _complete(os.environ[COMPLETE])
    obey_signals()
    console.configure_logging()
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd metadata in images: nothing that changes pixels
    try:
        return _run(arguments)
    except Stopped as stopped:
        stop_listening()
        console.note("; ".join((stopped.how, *stopped.advice)))
        return stopped.exit_code
    except process.StdoutError as error:
        process.give_up_stdout()
        console.print_error(error, as_json=False)
        return error.exit_code


def _complete(instruction: str) -> int:
    """Answer a shell that completes: never a traceback, for it would be pasted into the user's command line."""
    from click.shell_completion import shell_complete

    try:
        return shell_complete(cli, {}, "int8cal", COMPLETE, instruction)
    except (Exception, SystemExit):  # noqa: BLE001 - nothing is offered then
        return 0


def print_error(error: Int8calError, arguments: list[str]) -> int:
    """Tell of an error of the command in the form that the arguments ask for; its exit code."""
    console.print_error(error, as_json=_wants_json(arguments))
    return error.exit_code


def _wants_json(arguments: list[str]) -> bool:
    return "--json" in arguments


def _run(arguments: list[str]) -> int:
    try:
        finished = cli.main(arguments, prog_name="int8cal", standalone_mode=False)
    except click.ClickException as error:
        return _usage(error, as_json=_wants_json(arguments))
    except process.StdoutError:
        raise
    except Int8calError as error:
        return print_error(error, arguments)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the last line of defence: a bug is shown whole
        # Modules are imported late, and each may be one open file too many.
        lack = lack_of(error) if isinstance(error, (MemoryError, OSError, ImportError)) else None
        if isinstance(lack, MemoryError):
            lack = OutOfMemoryError.of(lack, "for the command")
        if lack:
            return print_error(lack, arguments)
        console.print_bug(error, as_json=_wants_json(arguments))
        return EXIT_BUG
    return finished if isinstance(finished, int) else 0  # a code where a command called ctx.exit


def _usage(error: click.ClickException, *, as_json: bool) -> int:
    context: click.Context | None = getattr(error, "ctx", None)
    if context and type(error).__name__ == "NoArgsIsHelpError":  # how newer releases of click ask for the help
        click.echo(context.get_help())
        return 0
    message = re.sub(r"\s*\n\s*", " ", error.format_message())  # choices stand on lines of their own, behind tabs
    if isinstance(error, click.NoSuchOption) and context:
        near = _of_these_words(error.option_name, context.command)
        message = f"{error.message} Did you mean {' or '.join(near)}?" if near else message
    found = UsageError(message, hint=f"Try: {context.command_path} --help" if context else None)
    console.print_error(found, as_json=as_json)
    return found.exit_code


def _of_these_words(name: str, command: click.Command) -> list[str]:
    """Options of a command whose names hold all words of another: ``-e`` (``--experiment_spec``) for ``--spec``."""
    words = set(name.lstrip("-").replace("-", "_").split("_"))
    return [
        option.opts[0]
        for option in command.params
        if isinstance(option, click.Option) and any(words <= set(one.lstrip("-").split("_")) for one in option.opts)
    ]
