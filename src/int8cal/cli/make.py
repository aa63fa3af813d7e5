"""``int8cal NETWORK calibration_tensorfile`` and ``int8cal NETWORK plan``: the main job and its dry run."""

from __future__ import annotations

import sys
from contextlib import contextmanager, redirect_stdout, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import console, endings, progress
from int8cal.cli.options import (
    Command,
    LauncherCommand,
    SuggestingGroup,
    decorated,
    given_words,
    json_option,
    map_option,
    mapped_spec,
    overwrite_option,
)
from int8cal.cli.process import keep_freed_memory, told_truly
from int8cal.cli.tables import plan_table, run_table
from int8cal.engine import ENGINE_HELP
from int8cal.errors import DataError, UsageError
from int8cal.types import COMPRESSIONS, ON_BAD_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from int8cal.network_kit.network import Network
    from int8cal.plans import Plan

_spec = click.option(
    "-e",
    "--experiment_spec_file",
    "--experiment_spec",
    "spec",
    required=True,
    metavar="SPEC",
    help="Training experiment spec (protobuf text, or YAML).",
)

_images_of = decorated(
    click.option(
        "--use_validation_set", is_flag=True, help="Take the samples from the validation split, not the training one."
    ),
    click.option(
        "--cal_image_dir",
        metavar="DIR",
        help="Take images from this folder, chosen at random, in place of the spec's data.",
    ),
    click.option("--recursive", is_flag=True, help="With --cal_image_dir: from the folders below it, too."),
)

_reading = decorated(
    map_option,
    click.option(
        "--batch_size",
        type=int,
        metavar="B",
        help="Images per batch.  [default: the spec's; of YAML its cal_batch_size, else 1]",
    ),
    click.option("--allow_unknown_fields", is_flag=True, help="Unknown spec fields are warnings, not errors."),
    click.option("--strict", is_flag=True, help="Legacy spec fields are errors, not warnings."),
    click.option("--strict_network", is_flag=True, help="A spec of another network is an error."),
)

console_options = decorated(click.option("-v", "--verbose", is_flag=True, help="Say more on stderr."), json_option)

output_options = decorated(
    click.option(
        "-o", "--output_path", "--output", "out", required=True, metavar="FILE", help="The tensorfile to make."
    ),
    overwrite_option("Replace an existing tensorfile; nothing else is replaced."),
    click.option(
        "--on_bad_image",
        type=click.Choice(ON_BAD_IMAGE),
        default="fail",
        show_default=True,
        help="What to do about an image that cannot be used; skip needs --max_skipped.",
    ),
    click.option(
        "--max_skipped", type=int, default=0, metavar="N", help="With --on_bad_image skip: how many may be left out."
    ),
    click.option(
        "--workers", type=int, metavar="N", help="Images worked on at a time.  [default: the usable processors]"
    ),
    click.option(
        "--compression",
        type=click.Choice(tuple(COMPRESSIONS)),
        default="fast",
        show_default=True,
        help="; ".join(f"{name}: {words}" for name, words in COMPRESSIONS.items()) + ".",
    ),
    click.option(
        "--scratch_dir",
        metavar="DIR",
        help="Write here first, then copy to FILE: for slow or network targets.  [default: beside FILE]",
    ),
    click.option(
        "--shards",
        type=int,
        metavar="N",
        help="Write N part files beside FILE, which any reader opens as one file.  [default: one file]",
    ),
    click.option(
        "--resume", is_flag=True, help="Keep finished images, and go on from those of an interrupted run of this plan."
    ),
    click.option(
        "--engine",
        default="native",
        show_default=True,
        metavar="NAME",
        help=ENGINE_HELP,
    ),
    click.option(
        "--ray_address", metavar="ADDR", help="With --engine ray: the cluster.  [default: RAY_ADDRESS, or none]"
    ),
    click.option("--log_file", metavar="FILE", help="Also log to this file; appended to."),
)

_MAKE_HELP = """Make an INT8 calibration tensorfile from the data of an experiment spec.

    The images are decoded and preprocessed as NVIDIA's own tool does it, and written in its order; the summary says how
    well that is known. FILE has its name when it is complete, or does not exist; FILE.json holds the run's record.

    \b
    Examples:
      int8cal {prefix}calibration_tensorfile -e spec.txt -o calibration.tensor -m 10
      int8cal {prefix}calibration_tensorfile -e spec.txt -o val.tensor --use_validation_set
      int8cal {prefix}calibration_tensorfile -e spec.txt -o c.tensor -m 50 --on_bad_image skip --max_skipped 3
"""

_PLAN_HELP = """Show what a run would do: samples, batches, shape, bytes, missing files. Decodes and writes nothing.

    \b
    Examples:
      int8cal {prefix}plan -e spec.txt -m 10
      int8cal {prefix}plan -e spec.txt --use_validation_set --json
"""


def network_group(name: str) -> click.Group | None:
    """The commands of one network; None when there is no such network."""
    from int8cal import networks
    from int8cal.errors import UsageError

    try:
        network = networks.get(name)
    except UsageError:
        return None
    return _NetworkGroup(
        name,
        commands={
            "calibration_tensorfile": _make_command(network, name),
            "plan": _plan_command(network, name),
        },
        help=f"{network.title}.",
        short_help=network.title,
    )


_OF_NVIDIA = {
    "dataset_convert": "int8cal records KITTI_DIR -o DIR makes TFRecords",
    "export": "int8cal export FILE --to FORMAT writes a tensorfile in other forms; models are exported by tao",
    "gen_trt_engine": "trtexec builds engines; int8cal quantize MODEL.onnx FILE -o OUT.onnx makes the INT8 model",
}
"""Commands of TAO that have no network of ours behind them, and what does their work."""


class _NetworkGroup(SuggestingGroup):
    """The commands of a network, which knows those of int8cal and of TAO that people look for here."""

    def unknown_command(self, given: str, ctx: click.Context) -> str:
        from int8cal.cli.app import COMMANDS

        name = given.replace("-", "_")
        if name in _OF_NVIDIA:
            return f"{self.name} has no command {given!r}: {_OF_NVIDIA[name]}"
        if name in COMMANDS:
            return f"{given!r} is for every network alike; did you mean: int8cal {name} …"
        if name in ("train", "evaluate", "prune", "inference", "retrain"):
            return f"{self.name} has no command {given!r}: that is done by NVIDIA's tao"
        return super().unknown_command(given, ctx)


def _spec_and_choice(network: Network | None) -> Callable[[Command], Command]:
    """What decides the samples, with the network's own defaults, and the options that only this network has."""
    decorators: list[Callable[[Command], Command]] = [
        _spec,
        click.option(
            "-m",
            "--max_batches",
            type=int,
            metavar="N",
            help=f"Batches to make; -1: all full ones.  [default: {_default_batches(network)}]",
        ),
        _images_of,
        click.option(
            "--seed", type=int, metavar="S", help=f"Seed of the sample order.  [default: {_default_seed(network)}]"
        ),
        _reading,
        console_options,
    ]
    if network is None or len(network.splits) > 2:
        decorators += _of_yaml(network)
    decorators += [
        click.option(
            f"--{option.name}",
            type=click.Choice(option.choices),
            help=f"{option.help}  [default: {option.default}]",
        )
        for option in (network.options if network else ())
    ]
    return decorated(*decorators)


def _of_yaml(network: Network | None) -> list[Callable[[Command], Command]]:
    """What specs in YAML have beside the others: more splits, and overrides."""
    choices = click.Choice(network.splits) if network else click.STRING
    first = network.splits[0] if network else "that of the network"
    return [
        click.option(
            "--split", type=choices, metavar=None if network else "SPLIT", help=f"Which images.  [default: {first}]"
        ),
        click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]..."),
    ]


def _default_batches(network: Network | None) -> str:
    if network is None:
        return "of YAML the spec's cal_batches; else that of NVIDIA's command for the network, or -1"
    default = str(network.default_max_batches)
    return f"the spec's cal_batches, else {default}" if network.spec_batches else default


def _default_seed(network: Network | None) -> str:
    if network is None:
        return "the spec's random_seed where NVIDIA's command heeds it, else 42"
    from int8cal.network_kit.network import default_seed  # late: it needs NumPy

    return str(default_seed(None)) if network.seed is default_seed else "the spec's own"


def _make_command(network: Network | None = None, name: str | None = None) -> click.Command:
    """The main job, for one network by one of its names, or for that of the spec."""
    cls = LauncherCommand if network else _AnyNetworkCommand

    @click.command("calibration_tensorfile", cls=cls, help=_help(_MAKE_HELP, name))
    @_spec_and_choice(network)
    @output_options
    def command(**options: Any) -> None:
        make_and_tell(lambda **choice: _planned(name, **choice), **options)

    return command


def make_and_tell(
    planned: Callable[..., Plan],
    *,
    out: str,
    overwrite: bool,
    on_bad_image: str,
    max_skipped: int,
    workers: int | None,
    compression: str,
    scratch_dir: str | None,
    shards: int | None,
    resume: bool,
    engine: str,
    ray_address: str | None,
    log_file: str | None,
    as_json: bool,
    verbose: bool,
    mapped: tuple[tuple[str, str], ...] = (),
    **choice: Any,
) -> None:
    """Make the tensorfile of a plan, and say what came out.

    ``planned`` turns what is left of the options into the plan, once logging is set up; the others are those of
    `output_options` and `console_options`.
    """
    # The output of NVIDIA's own command is part of the log.
    console.configure_logging(verbose=verbose or engine == "tao", log_file=log_file)
    engine = _addressed(engine, ray_address)
    from int8cal.pipeline import make

    keep_freed_memory()
    plan = planned(**choice, mapped=mapped) if mapped else planned(**choice)
    with told_truly(out, resume=resume):
        with redirect_stdout(sys.stderr), leaving_out_told(max_skipped, engine):  # Ray prints to stdout
            manifest = make(
                plan,
                out,
                engine=engine,
                overwrite=overwrite,
                on_bad_image=on_bad_image,  # type: ignore[arg-type]  # click checked the choice
                max_skipped=max_skipped,
                workers=workers,
                compression=compression,  # type: ignore[arg-type]  # click checked the choice
                shards=shards,
                resume=resume,
                scratch_dir=scratch_dir,
                progress=progress.on_stderr(),
            )
        if as_json:
            console.print_json(manifest.to_json())
        else:
            console.print_table(run_table(manifest))
            endings.made(manifest, endings.source_options(plan, mapped))


@contextmanager
def leaving_out_told(max_skipped: int = 0, engine: str = "native", *, by: Callable[[], str] = str) -> Iterator[None]:
    """Add to the hint of an error how to leave its images out: for commands that have the options, and no others.

    Args:
        max_skipped: what the user gave; where images are left out already, the engine says how many.
        engine: what the user gave; that of NVIDIA leaves none out.
        by: gives the command that has the options, where it is another one, with a space behind it.
    """
    try:
        yield
    except DataError as error:
        if error.bad_images and not max_skipped and engine != "tao":
            which = "it" if error.bad_images == 1 else "them"
            told = f"{by()}--on_bad_image skip --max_skipped {error.bad_images} leaves {which} out."
            error.hint = f"{error.hint} {told}" if error.hint else told
        raise


def tell_plan(plan: Plan, *makes: str, as_json: bool) -> None:
    """Print what a run would do, and the words that make it: ``makes``.

    Raises:
        MissingDataError: images are missing; with ``as_json`` the list of them is the output, and the code is the same.
    """
    missing = plan.missing_error()
    if as_json:
        console.print_json({"plan": plan.to_json()})
        if missing:
            raise click.exceptions.Exit(missing.exit_code)
        return
    console.print_table(plan_table(plan))
    if missing:
        with leaving_out_told(by=lambda: "calibration_tensorfile " if makes[0] != "images" else ""):
            raise missing
    endings.planned(*makes)


def _addressed(engine: str, ray_address: str | None) -> str:
    """The engine by name, or by name and address."""
    if ray_address is None:
        return engine
    if engine != "ray":
        raise UsageError(f"an address is for --engine ray, not for {engine}", hint="Add --engine ray.")
    return f"ray://{ray_address}"


class _AnyNetworkCommand(LauncherCommand):
    """Knows where the options are that only some networks have."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from int8cal import networks

        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-")
            having = [
                network.name
                for network in networks.all_networks()
                if name in (option.name for option in network.options)
            ]
            if not having:
                raise
            own = _network_of(words)
            told = f"--{name} is an option of {' and '.join(having)}"
            if own is None or own in having:
                told += f": name the network: int8cal {own or 'NETWORK'} {self.name} …"
            else:
                told += f", and the spec is of {own}"
            raise click.UsageError(told, ctx) from error


def _network_of(words: list[str]) -> str | None:
    """The network of the spec on a command line; None where there is none, or it cannot be read."""
    from int8cal.errors import Int8calError
    from int8cal.origins.experiment import read_spec

    for option, value in pairwise(words):
        if option in ("-e", "--experiment_spec_file", "--experiment_spec"):
            with suppress(Int8calError):
                return read_spec(value).name
    return None


def _plan_command(network: Network | None = None, name: str | None = None) -> click.Command:
    @click.command("plan", cls=click.Command if network else _AnyNetworkCommand, help=_help(_PLAN_HELP, name))
    @_spec_and_choice(network)
    def command(*, as_json: bool, verbose: bool, **choice: Any) -> None:
        console.configure_logging(verbose=verbose)
        plan = _planned(name, **choice)
        others = given_words("spec", "as_json", "verbose")
        makes = (plan.origin.name, "calibration_tensorfile", "-e", choice["spec"], "-o", "FILE", *others)
        tell_plan(plan, *makes, as_json=as_json)

    return command


def _planned(
    network: str | None,
    *,
    spec: str,
    max_batches: int | None,
    use_validation_set: bool,
    seed: int | None,
    batch_size: int | None,
    cal_image_dir: str | None,
    recursive: bool,
    allow_unknown_fields: bool,
    strict: bool,
    strict_network: bool,
    mapped: tuple[tuple[str, str], ...] = (),
    split: str | None = None,
    overrides: tuple[str, ...] = (),
    **options: str | None,
) -> Plan:
    from int8cal.origins.experiment import read_spec
    from int8cal.pipeline import plan

    if split and use_validation_set:
        raise click.UsageError("--use_validation_set is --split val: give one of them")
    read = read_spec(
        spec,
        network,
        allow_unknown_fields=allow_unknown_fields,
        strict=strict,
        strict_network=strict_network,
        overrides=overrides,
        for_folder=cal_image_dir is not None,
    )
    read = mapped_spec(read, mapped)
    for warning in read.warnings:
        console.note(f"warning: {warning}")
    planned = plan(
        read,
        split="validation" if use_validation_set else split,
        max_batches=max_batches,
        seed=seed,
        batch_size=batch_size,
        cal_image_dir=cal_image_dir,
        recursive=recursive,
        options={name: value for name, value in options.items() if value is not None},
    )
    warn_of_data(planned)
    return planned


def warn_of_data(planned: Plan) -> None:
    """Say before anything is decoded what is odd about the data."""
    for warning in planned.dataset.warnings:
        console.note(f"warning: {warning}")


def _help(template: str, network: str | None) -> str:
    return template.format(prefix=f"{network} " if network else "")


any_network = _make_command()
plan_any_network = _plan_command()


class _Networks(SuggestingGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        from int8cal import networks

        return sorted(networks.names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return network_group(cmd_name)


@click.group(cls=_Networks)
def model() -> None:
    """``int8cal model NETWORK …``: the spelling of TAO 5, the same as ``int8cal NETWORK …``."""
