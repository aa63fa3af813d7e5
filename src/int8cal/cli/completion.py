"""``int8cal completion``: what a shell needs to complete commands, networks, options, files, specs and node names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from int8cal.cli import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SHELLS = ("bash", "zsh", "fish")

_MOST_NAMES = 2000

_SPECS = (".txt", ".yaml", ".yml", ".prototxt", ".cfg", ".conf", ".spec")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(*, shell: str) -> None:
    """Print the completion for a shell, to be read when it starts.

    \b
    Examples:
      eval "$(int8cal completion bash)"
      int8cal completion fish > ~/.config/fish/completions/int8cal.fish
    """
    from click.shell_completion import get_completion_class

    from int8cal.cli.app import COMPLETE, cli

    found = get_completion_class(shell)
    if found is None:  # click knows all three
        raise click.UsageError(f"there is no completion for {shell}")
    console.print_lines(found(cli, {}, "int8cal", COMPLETE).source().splitlines())


class _Offered(click.types.StringParamType):
    """Any text, of which a shell is offered what a function lists."""

    def __init__(self, choices: Callable[[click.Context, str], Iterable[str]]) -> None:
        self._choices = choices

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """What begins like the text that is there."""
        return [CompletionItem(text) for text in self._choices(ctx, incomplete) if text.startswith(incomplete)]


def teach(command: click.Command) -> None:
    """Let the options and arguments of a command, and of those below it, say what they can be."""
    for parameter in command.params:
        choices = _choices_of(parameter)
        if choices and isinstance(parameter.type, click.types.StringParamType):
            parameter.type = _Offered(choices)
    if isinstance(command, click.Group):
        for child in command.commands.values():
            teach(child)


def _choices_of(parameter: click.Parameter) -> Callable[[click.Context, str], Iterable[str]] | None:
    metavar = (parameter.metavar or "").strip("[]")
    if metavar == "NODE":
        return _nodes
    if parameter.name == "network" or metavar == "NETWORK":
        return _networks
    if parameter.name == "preset":
        return _presets
    if metavar.startswith("SPEC"):
        return lambda ctx, incomplete: _paths(incomplete, _SPECS)
    if metavar.endswith(".onnx"):
        return lambda ctx, incomplete: _paths(incomplete, (".onnx",))
    if "DIR" in metavar or metavar.startswith(("FILE", "OUT", "CACHE", "CAL", "PAGE")):
        return lambda ctx, incomplete: _paths(incomplete, ())
    return None


def _paths(incomplete: str, suffixes: tuple[str, ...]) -> list[str]:
    """Folders, and files whose names end so; any file without suffixes."""
    folder, name = os.path.split(incomplete)
    found = []
    with os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.startswith(".") and not name.startswith("."):
                continue
            path = os.path.join(folder, entry.name)
            if entry.is_dir():
                found.append(f"{path}/")
            elif not suffixes or entry.name.lower().endswith(suffixes):
                found.append(path)
    return sorted(found)


def _networks(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from int8cal import networks

    return sorted(networks.names())


def _presets(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from int8cal.origins.images.stated import PRESETS

    return PRESETS


def _nodes(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Names of the nodes of the model on the line."""
    from int8cal.models import extras

    named = [word for word in (ctx.params.get("model"), *ctx.args) if word]  # an option without its value stops click
    model = extras.onnx().load(named[0], load_external_data=False)
    return sorted(node.name for node in model.graph.node if node.name)[:_MOST_NAMES]
