"""``int8cal component``: what Azure ML, Kubeflow and docker call. One option per input of the component."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import console, endings, progress
from int8cal.cli.make import leaving_out_told
from int8cal.cli.options import POSSIBLY_EMPTY, Command, decorated, json_option
from int8cal.component.inputs import INPUTS, OUTPUT_DESCRIPTION, OUTPUT_DIR, ComponentInput
from int8cal.component.values import MAX_INPUT_BYTES, read_lines
from int8cal.errors import SpecError, UsageError
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.paths import read_once, refuse_missing_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from int8cal.component.run import Outcome

_WRITER_SECONDS = 10.0
"""How long a named pipe may have no writer."""


def _option(name: str, text: str, metavar: str, **facts: Any) -> Callable[[Command], Command]:
    # Every value is text here: what ND, 10.0 and True mean is decided in one place for all hosts. Taken as often as it
    # is given, so that a second one is an error instead of the winner.
    return click.option(f"--{name}", name, type=POSSIBLY_EMPTY, multiple=True, metavar=metavar, help=text, **facts)


def _input_option(item: ComponentInput) -> Callable[[Command], Command]:
    if item.type == "boolean":  # the option alone says yes
        return _option(item.name, _help(item), "[VALUE]", is_flag=False, flag_value="true")
    return _option(item.name, _help(item), "DIR" if item.type == "uri_folder" else "VALUE")


def _help(item: ComponentInput) -> str:
    if item.required:
        return f"{item.description}  [required]"
    return item.description if item.default is None else f"{item.description}  [default: {item.default}]"


_input_options = decorated(*(_input_option(item) for item in INPUTS))


@click.command()
@_input_options
@_option(OUTPUT_DIR, f"{OUTPUT_DESCRIPTION}  [required]", "DIR")
@click.option(
    "--inputs_from",
    metavar="FILE",
    help="Read lines of name=value from FILE; -: from standard input. No quoting: a value is the rest of its line.",
)
@click.option(
    "--original_inputs", is_flag=True, help="Take the 22 inputs of the component that this one replaces, and no other."
)
@json_option
def component(*, inputs_from: str | None, original_inputs: bool, as_json: bool, **options: tuple[str, ...]) -> None:
    """Put a run's paths into a spec and make the tensorfile: the Azure ML, Kubeflow and docker entry.

    ND and an empty value mean "not given". Running again over the same output finds the finished result.

    \b
    Examples:
      int8cal component --model_app_name streets --original_specs specs --specs_file spec.txt \\
        --training_data_dir data --specfile_reference_training_data_dir /workspace/data \\
        --training_tf_records_dir data --specfile_reference_training_tf_records_dir /workspace/data \\
        --output_dir out
      int8cal component --inputs_from inputs.txt
    """
    console.configure_logging(verbose=True)
    from int8cal.component.request import parse
    from int8cal.component.run import run

    request = parse(_texts(options, inputs_from), original_only=original_inputs)
    with leaving_out_told(request.max_skipped, request.engine):
        outcome = run(request, progress=progress.on_stderr())
    if as_json:
        console.print_json(outcome.to_json())
    else:
        is_ours = _spec_is_ours(outcome)
        console.print_table(_table(outcome, is_ours=is_ours))
        endings.made(outcome.manifest, _source(outcome, is_ours=is_ours))


def _spec_is_ours(outcome: Outcome) -> bool:
    """Whether the updated spec that lies there has the paths of this job, not those of an earlier one."""
    from int8cal.spec.reading import read_bytes

    try:
        return read_bytes(outcome.request.updated_spec) == outcome.updated.document.to_bytes()
    except SpecError:
        return True  # it was written a moment ago; whoever reads it hears what is wrong


def _source(outcome: Outcome, *, is_ours: bool) -> str:
    """What ``verify`` needs to make the images again."""
    from int8cal.spec.update import begins

    if is_ours:
        return endings.quoted("-e", outcome.request.updated_spec)
    replaced = [change.old or "" for change in outcome.updated.changes]
    places = [place for place in outcome.request.run_paths if any(begins(place.reference, old) for old in replaced)]
    places.sort(key=lambda place: place.mapping.role.startswith(outcome.request.split))  # its own counts, the last
    words = ["-e", outcome.request.spec_path]
    for reference, path in {place.reference: place.path for place in places}.items():
        words += ["--map", reference, path]
    return endings.quoted(*words)


def _texts(options: dict[str, tuple[str, ...]], inputs_from: str | None) -> dict[str, str]:
    """Input name → text, from options and file together."""
    texts = read_lines(_read(inputs_from), _file_name(inputs_from)) if inputs_from else {}
    for name, values in options.items():
        if len(values) + (name in texts) > 1:
            raise UsageError(
                f"input {name} is given twice", hint="Give it once: as an option, or in the file of --inputs_from."
            )
        if values:
            texts[name] = values[0]
    return texts


def _read(path: str) -> str:
    try:
        if path == "-":
            content = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        else:
            content = read_once(path, MAX_INPUT_BYTES, writer_seconds=_WRITER_SECONDS)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise_if_lacking(error, _file_name(path))
        refuse_missing_address(path)
        reason = getattr(error, "strerror", None) or error
        hint = "Give --inputs_from a file with lines of name=value, or - for standard input."
        raise UsageError(f"cannot be read: {reason}", where=_file_name(path), hint=hint) from error
    return content.decode("utf-8", "surrogateescape")


def _file_name(path: str | None) -> str:
    return "standard input" if path in (None, "-") else str(path)


def _table(outcome: Outcome, *, is_ours: bool) -> list[tuple[str, object]]:
    from int8cal.cli.tables import run_table

    rows = run_table(outcome.manifest)
    if outcome.manifest.reused:
        rows.insert(0, ("already there", "the finished result of this request; no work was done"))
    if outcome.page:
        rows.append(("report", outcome.page))
    stays = "" if is_ours else " belongs to an earlier job and stays as it is; this job used these values:"
    rows.append(("updated spec", f"{outcome.request.updated_spec}{stays}"))
    rows += [
        (f"  line {change.line}", f"{change.field}: {change.old} -> {change.new}") for change in outcome.updated.changes
    ]
    return rows
