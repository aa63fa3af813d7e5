"""``int8cal spec``: show, check and rewrite experiment specs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import console, endings
from int8cal.cli.options import Command, from_here, given_words, json_option, overwrite_option
from int8cal.io.safe_text import shortened
from int8cal.io.summary import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from int8cal.spec.document import SpecDocument
    from int8cal.spec.update import Change, Update

_network = click.option(
    "--network", metavar="NAME", help="Read it as a spec of this network.  [default: found from it]"
)
_allow_unknown = click.option(
    "--allow_unknown_fields", is_flag=True, help="Unknown fields are warnings instead of errors."
)


@click.group()
def spec() -> None:
    """Show, check, rewrite and begin experiment specs (protobuf text, YAML) of TAO networks.

    \b
    Examples:
      int8cal spec new detectnet_v2 -o spec.txt
      int8cal spec show spec.txt
      int8cal spec check spec.txt --strict
      int8cal spec update spec.txt -o new.txt --training_data /home/me/data /mnt/data
    """


@spec.command()
@click.argument("network", metavar="NETWORK")
@click.option("-o", "--output", "out", metavar="FILE", help="Write it here.  [default: print it]")
@overwrite_option("Replace an existing spec; nothing else is replaced.")
def new(*, network: str, out: str | None, overwrite: bool) -> None:
    """A spec to start from: what calibration needs, with comments. It needs the numbers of the training.

    \b
    Examples:
      int8cal spec new detectnet_v2 -o spec.txt
      int8cal spec new rtdetr -o spec.yaml
    """
    from int8cal import networks
    from int8cal.io.files import write_file
    from int8cal.origins.experiment import SPEC

    text = networks.starter(network)
    if out is None:
        console.print_lines(text.decode().rstrip("\n").split("\n"))
        endings.note_next("spec", "new", network, "-o", "FILE")
        return
    write_file(out, text, overwrite=overwrite, replaces=SPEC)
    console.note(f"wrote {out}")
    endings.print_next(
        "Change the paths, and all numbers to those of the training.",
        f"int8cal spec check {endings.quoted(out)}",
        f"int8cal plan -e {endings.quoted(out)}",
    )


@spec.command()
@click.argument("path", metavar="SPEC")
@_network
@_allow_unknown
@json_option
def show(*, path: str, network: str | None, allow_unknown_fields: bool, as_json: bool) -> None:
    """The spec in a normal form: no comments, fields in the order of the definition.

    \b
    Examples:
      int8cal spec show spec.txt
      int8cal spec show spec.txt --json
    """
    read = _read(path, network, allow_unknown_fields=allow_unknown_fields)
    if as_json:
        console.print_json(read.as_dict())
        return
    _note_warnings(read)
    console.print_lines(read.as_text().split("\n"))
    endings.note_next("spec", "check", *_named(network), path)


@spec.command()
@click.argument("path", metavar="SPEC")
@_network
@_allow_unknown
@click.option("--strict", is_flag=True, help="Fields of older TAO versions are errors.")
@json_option
def check(*, path: str, network: str | None, allow_unknown_fields: bool, strict: bool, as_json: bool) -> None:
    """Is the spec one that TAO accepts? Every finding is printed with its line and column; exit code 3 if there is one.

    Of YAML, the sections that decide no pixel are not judged: model, train, wandb, distill and prune.

    \b
    Examples:
      int8cal spec check spec.txt
      int8cal spec check spec.txt --strict --json
    """
    from int8cal import networks
    from int8cal.errors import SpecError
    from int8cal.origins.experiment import refusals

    read = _read(path, network, allow_unknown_fields=allow_unknown_fields, strict=strict)
    findings = refusals(read, networks.find(read))
    if as_json:
        listed = [
            {"where": one.where, "field": one.field or None, "message": one.message, "hint": one.hint}
            for one in findings
        ]
        facts = {"file": path, "message": read.describe(), "sound": not findings}
        console.print_json({**facts, "findings": listed, "warnings": list(read.warnings)})
    else:
        _note_warnings(read)
        console.print_lines(". ".join(filter(None, (f"{one.where}: {one.message}", one.hint))) for one in findings)
        console.print_lines([f"{path}: {read.describe()}: {_verdict(len(findings))}"])
        if findings:
            endings.print_next(
                "Mend them where they stand, then check again.",
                endings.quoted("int8cal", "spec", "check", *_named(network), path),
            )
        elif os.path.isfile(path):  # a pipe cannot be read again
            endings.print_next("plan checks that its data are there.", _plan(network, path))
    if findings:
        click.get_current_context().exit(SpecError.exit_code)


def _verdict(findings: int) -> str:
    return "sound" if not findings else f"{findings} finding{'s' if findings > 1 else ''}"


def _pairs(name: str, text: str) -> Callable[[Command], Command]:
    return click.option(f"--{name}", nargs=2, multiple=True, metavar="REF PATH", help=text)


@spec.command()
@click.argument("path", metavar="SPEC")
@click.option("-o", "--output", "out", metavar="FILE", help="The spec to write; not needed with --dry_run.")
@_pairs("training_data", "Training images (and labels): REF in the spec becomes PATH.")
@_pairs("training_tfrecords", "Training TFRecords.")
@_pairs("validation_data", "Validation images (and labels).")
@_pairs("validation_tfrecords", "Validation TFRecords.")
@_pairs("base_model", "Pretrained, pruned or resumed model.")
@_pairs("map", "Any of these.")
@click.option("--num_epochs", type=int, metavar="N", help="Set the number of epochs.")
@click.option("--dry_run", is_flag=True, help="Print what would change, as a diff; write nothing.")
@overwrite_option("Replace an existing spec, but never SPEC itself; nothing else is replaced.")
@_network
@json_option
def update(
    *,
    path: str,
    out: str | None,
    num_epochs: int | None,
    dry_run: bool,
    overwrite: bool,
    network: str | None,
    as_json: bool,
    **references: tuple[tuple[str, str], ...],
) -> None:
    """Put run-time paths in place of those in the spec, by the role of the field. All else stays byte for byte.

    REF is the beginning of paths as written in the spec, in whole components; the longest one that fits is replaced.
    Each option may be given several times. With --map, a relative new path for an absolute one starts from the working
    directory, as it does in a run.

    \b
    Examples:
      int8cal spec update spec.txt -o new.txt --training_data /home/me/data /mnt/data
      int8cal spec update spec.txt --dry_run --map /home/me /mnt/me --num_epochs 40
    """
    from int8cal import networks
    from int8cal.errors import UsageError
    from int8cal.io.files import write_file
    from int8cal.origins.experiment import SPEC
    from int8cal.spec.update import Substitution, update_spec

    if out is None and not dry_run:
        raise UsageError("no output is named", hint="Add -o FILE, or --dry_run to see what would change.")
    pairs = [(None if role == "map" else role, pair) for role, given in references.items() for pair in given]
    pairs = [(role, from_here(*pair) if role is None else pair) for role, pair in pairs]
    substitutions = [Substitution(role, reference, target) for role, (reference, target) in pairs]
    read = _read(path, network, allow_unknown_fields=True)
    network_of = networks.beside(read)
    result = update_spec(
        read,
        network_of.path_roles if network_of else {},
        substitutions,
        num_epochs=num_epochs,
        epochs_field=network_of.epochs_field if network_of else None,
    )
    notes = [f"{warning}; it stays in the file" for warning in read.warnings]
    notes += [
        f"{path.path} begins with the reference, and stays: --{path.role} REF PATH would change it"
        for path in result.forgotten
    ]
    if out is not None and not dry_run:
        write_file(out, result.document.to_bytes(), overwrite=overwrite, inputs=(path,), replaces=SPEC)
    _report_update(result, notes, out, network=network, dry_run=dry_run, as_json=as_json)


def _report_update(
    result: Update, notes: list[str], out: str | None, *, network: str | None, dry_run: bool, as_json: bool
) -> None:
    if as_json:
        written = None if dry_run else out
        edits = [_edit_facts(one) for one in result.changes]
        console.print_json({"written": written, "edits": edits, "warnings": notes})
        return
    for note in notes:
        console.note(note)
    if dry_run:
        console.print_lines(result.diff().split("\n"))
        endings.note_next("spec", "update", *given_words("dry_run", "out"), "-o", out or "FILE")
    else:
        console.print_lines(_edit_line(one) for one in result.changes)
        console.note(f"wrote {out} with {counted(len(result.changes), 'edit')}")
        endings.print_next(
            "All else is as it was, byte for byte. plan checks that the data are there.",
            _plan(network, out or ""),
        )


def _edit_line(change: Change) -> str:
    old = "(not there)" if change.old is None else shortened(change.old)
    return f"{change.field}: {old} -> {shortened(change.new)}"


def _edit_facts(change: Change) -> dict[str, Any]:
    return {"field": change.field, "line": change.line, "old": change.old, "new": change.new}


def _named(network: str | None) -> list[str]:
    return ["--network", network] if network else []


def _plan(network: str | None, path: str) -> str:
    return endings.quoted("int8cal", *([network] if network else []), "plan", "-e", path)


def _read(path: str, network: str | None, *, allow_unknown_fields: bool = False, strict: bool = False) -> SpecDocument:
    from int8cal.origins.experiment import read_document

    return read_document(path, network, as_asked=True, allow_unknown_fields=allow_unknown_fields, strict=strict)


def _note_warnings(read: SpecDocument) -> None:
    for warning in read.warnings:
        console.note(warning)
