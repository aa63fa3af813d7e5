"""What commands have in common: options that belong together, groups that help, and NVIDIA's launcher's options."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from int8cal.cli import console
from int8cal.types import LAYOUTS

if TYPE_CHECKING:
    from int8cal.check.rebuild import Claim
    from int8cal.origins.experiment import Spec

Command = TypeVar("Command", bound="Callable[..., Any]")


def decorated(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """The decorators as one, the first the outermost."""

    def apply(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


def overwrite_option(text: str) -> Callable[[Command], Command]:
    """``--overwrite``, which `int8cal.io.files` gives its meaning.

    Args:
        text: what is replaced, for the help.
    """
    return click.option("--overwrite", is_flag=True, help=text)


def given_words(*left_out: str, only: Collection[str] | None = None) -> list[str]:
    """What the user gave the command that runs, as words; defaults are not among them.

    Args:
        left_out: names of parameters that are not wanted.
        only: names of those that are; None: all others.
    """
    context = click.get_current_context()
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        wanted = name not in left_out and (only is None or name in only)
        if not wanted or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        for one in value if parameter.multiple or parameter.nargs == -1 else [value]:
            names = parameter.secondary_opts if one is False else parameter.opts
            first = names[:1] if isinstance(parameter, click.Option) else []
            of_one = [] if isinstance(one, bool) else one if isinstance(one, tuple) else [one]
            words += [*first, *map(str, of_one)]
    return words


def model_input_words() -> list[str]:
    """What the user said of a model's inputs: the next command cannot bind the model without it."""
    return given_words(only=("inputs", "layout"))


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
"""``--json``; the command's function takes it as ``as_json``."""

map_option = click.option(
    "--map",
    "mapped",
    nargs=2,
    multiple=True,
    metavar="OLD NEW",
    help="Paths of the spec that begin with OLD begin with NEW here; may be given several times. A relative NEW for an "
    "absolute OLD starts from the working directory. A whole pattern of records may become another: '/old/train/*' "
    "'/new/train-*'.",
)
"""``--map``, the substitution of ``int8cal spec update`` on the fly, for `mapped_spec`."""


def mapped_spec(read: Spec, mapped: Sequence[tuple[str, str]]) -> Spec:
    """A spec with other beginnings of paths; the file stays as it is.

    Raises:
        UsageError: a path is empty or given twice.
        SpecError: the spec has no such path.
    """
    if not mapped:
        return read
    from dataclasses import replace  # late: --help does without

    from int8cal.spec.update import Substitution

    here = [from_here(old, new) for old, new in mapped]
    return replace(read.updated([Substitution(None, old, new) for old, new in here])[0], mapped=tuple(here))


def from_here(old: str, new: str) -> tuple[str, str]:
    """A pair of ``--map``, with a relative path for an absolute one as the shell has it, from the working directory.

    Elsewhere, relative paths of specs start from ``DATA_BASE_PATH``.
    """
    as_the_shell = new and old.startswith("/") and not new.startswith("/") and "://" not in new
    return old, os.path.abspath(new) if as_the_shell else new


_model_input = decorated(
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="Name of the input for the images, to be sure of it; or, with a value, what another input of the model is "
        "given for each image: a number, or several with commas between them.",
    ),
    click.option("--layout", type=click.Choice(LAYOUTS), help="Layout of that input, if it cannot be told."),
)


def model_input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, whose function takes them as ``input_name``, ``constants`` and ``layout``.

    Where the command's ``--model`` is an option, they are refused without it.
    """

    @wraps(command)
    def with_inputs(*args: Any, inputs: Sequence[str], **options: Any) -> Any:
        name, constants = _sorted_out(inputs)
        if options.get("model", "") is None and (inputs or options["layout"] is not None):
            raise click.UsageError("--input and --layout are for --model M.onnx")
        return command(*args, input_name=name, constants=constants, **options)

    return _model_input(with_inputs)


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


claim_options = decorated(
    click.option(
        "-e",
        "--experiment_spec_file",
        "--experiment_spec",
        "spec",
        metavar="SPEC",
        help="Make the images again from this spec and its data, and compare every bit.",
    ),
    click.option("--use_validation_set", is_flag=True, help="With -e: the file is of the validation split."),
    click.option(
        "--seed",
        type=int,
        metavar="S",
        help="With -e: seed of the sample order.  [default: the manifest's, else the spec's]",
    ),
    click.option(
        "--cal_image_dir", metavar="DIR", help="With -e: the images are from this folder, not from the spec's data."
    ),
    map_option,
    click.option(
        "--override",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="With -e: the file was made with this override of the spec (YAML).",
    ),
    click.option("--any_order", is_flag=True, help="With -e or --images: accept the images in any order."),
    click.option(
        "--images",
        "source",
        metavar="DIR",
        help="For files of int8cal images: make the images again from this folder, list or COCO file.",
    ),
    click.option("--image_dir", metavar="DIR", help="With --images: where the names in a list or COCO file start."),
    click.option(
        "--preprocess",
        metavar="FILE",
        help="With --images: the preprocessing that the file should have.  [default: what its manifest says]",
    ),
)
"""Adds the options to a command, whose function passes them on to `claim_of`."""


def claim_of(
    file: str,
    *,
    spec: str | None,
    use_validation_set: bool,
    seed: int | None,
    cal_image_dir: str | None,
    mapped: tuple[tuple[str, str], ...],
    overrides: tuple[str, ...],
    any_order: bool,
    source: str | None,
    image_dir: str | None,
    preprocess: str | None,
) -> Claim | None:
    """What the options say of a tensorfile; None without ``-e`` and ``--images``."""
    from int8cal.check.rebuild import Claim
    from int8cal.origins.experiment import read_spec

    if (preprocess or image_dir) and not source:
        raise click.UsageError(f"--{'preprocess' if preprocess else 'image_dir'} is for --images DIR")
    if source:
        if spec or use_validation_set or cal_image_dir or mapped or overrides:
            raise click.UsageError(
                "--images takes no spec: leave -e, --use_validation_set, --cal_image_dir, --map and --override out"
            )
        from int8cal.origins.images.origin import ImagesOrigin, preprocessing_of_file, read_preprocessing

        numbers = read_preprocessing(preprocess) if preprocess else preprocessing_of_file(file)
        return Claim(ImagesOrigin(source, numbers, image_dir=image_dir), seed=seed, any_order=any_order)
    if spec is None:
        if use_validation_set or any_order or cal_image_dir or mapped or overrides or seed is not None:
            raise click.UsageError(
                "--use_validation_set, --seed, --cal_image_dir, --map, --override and --any_order are for -e SPEC"
            )
        return None
    read = read_spec(spec, _yaml_network_of(file), overrides=overrides, for_folder=cal_image_dir is not None)
    read = mapped_spec(read, mapped)
    for warning in read.warnings:
        console.note(f"warning: {warning}")
    return Claim(
        read,
        split="validation" if use_validation_set else None,
        seed=seed,
        cal_image_dir=cal_image_dir,
        any_order=any_order,
    )


def _yaml_network_of(file: str) -> str | None:
    """The network whose name a tensorfile has inside, where specs of networks cannot be told apart by their keys."""
    from int8cal.errors import Int8calError
    from int8cal.networks import load_schemas
    from int8cal.spec.yaml import known_networks
    from int8cal.tensorfile import TensorFile

    load_schemas()
    try:
        with TensorFile(file) as opened:
            network = (opened.manifest or {}).get("network")
    except Int8calError:  # of which the command itself will tell
        return None
    return network if network in known_networks() else None


class _PossiblyEmpty(click.types.StringParamType):
    """Any text."""


class _NotEmpty(click.types.StringParamType):
    """A text that says something: a variable of the shell that is not set must not make an option go unheard."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; is a variable of the shell not set?", param, ctx)
        return super().convert(value, param, ctx)


POSSIBLY_EMPTY = _PossiblyEmpty()
"""For the options where an empty text has a meaning."""
_NOT_EMPTY = _NotEmpty()


def refuse_empty_texts(command: click.Command) -> None:
    """Let no option of a command, or of those below it, take an empty text, but for those that are `POSSIBLY_EMPTY`."""
    for option in command.params:
        if (
            isinstance(option, click.Option)
            and isinstance(option.type, click.types.StringParamType)
            and option.type is not POSSIBLY_EMPTY
        ):
            option.type = _NOT_EMPTY
    if isinstance(command, click.Group):
        for child in command.commands.values():
            refuse_empty_texts(child)


class SuggestingGroup(click.Group):
    """A group that names what an unknown command was likely meant to be."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0].replace("-", "_")
        if args[0].startswith("-") or ctx.resilient_parsing or self.get_command(ctx, name):
            found = super().resolve_command(ctx, args)
            if found[1] and ctx.resilient_parsing:
                from int8cal.cli.completion import teach

                teach(found[1])
            elif found[1]:
                refuse_empty_texts(found[1])
            return found
        raise click.UsageError(self.unknown_command(args[0], ctx), ctx)

    def unknown_command(self, given: str, ctx: click.Context) -> str:
        """What to say of a command that there is not."""
        import difflib  # late: for mistakes alone

        from int8cal.spec.elsewhere import is_fed_images, name_elsewhere

        name = given.replace("-", "_")
        if elsewhere := name_elsewhere(name):
            images = (
                "int8cal images makes its calibration data" if is_fed_images(elsewhere) else "see: int8cal networks"
            )
            return f"int8cal has no {elsewhere} yet; {images}"
        near = difflib.get_close_matches(name, self.known_names(ctx), n=1)
        meant = f"did you mean {near[0]!r}?" if near else "see: int8cal networks"
        return f"there is no command or network {given!r}; {meant}"

    def known_names(self, ctx: click.Context) -> list[str]:
        """Everything that `get_command` knows."""
        return self.list_commands(ctx)


class LauncherCommand(click.Command):
    """A command that also takes the options of NVIDIA's launcher, in its spelling, and does without them."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += _launcher_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _gpus_one_by_one(args))

    def invoke(self, ctx: click.Context) -> Any:
        given = {str(option.name): ctx.params.pop(str(option.name)) for option in _launcher_options()}
        _refuse_training(given)
        if any(given.values()):
            console.note("options of NVIDIA's launcher (--gpus, --gpu_index, …) have no effect: no GPU is used")
        return super().invoke(ctx)


def _launcher_options() -> list[click.Option]:
    return [
        click.Option(["--gpus"], type=int, hidden=True),
        click.Option(["--gpu_index"], type=int, multiple=True, hidden=True),
        click.Option(["-np", "--num_processes"], type=int, hidden=True),
        click.Option(["--use_amp"], is_flag=True, hidden=True),
        click.Option(["--mpirun_arg"], type=POSSIBLY_EMPTY, hidden=True),
        click.Option(["--multi_node"], is_flag=True, hidden=True),
        click.Option(["--launch_cuda_blocking"], is_flag=True, hidden=True),
    ]


def _refuse_training(given: dict[str, Any]) -> None:
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
