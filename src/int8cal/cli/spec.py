"""``int8cal spec``: show, check and rewrite experiment specs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import console
from int8cal.cli.options import Command, json_option, overwrite_option
from int8cal.io.safe_text import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from int8cal.spec.prototext.check import Finding
    from int8cal.spec.prototext.spec import Spec
    from int8cal.spec.prototext.update import Change, Update

_network = click.option(
    "--network", metavar="NAME", help="Read it as a spec of this network.  [default: found from it]"
)
_allow_unknown = click.option(
    "--allow_unknown_fields", is_flag=True, help="Unknown fields are warnings instead of errors."
)


@click.group()
def spec() -> None:
    """Show, check and rewrite experiment specs (protobuf text) of TAO networks.

    \b
    Examples:
      int8cal spec show spec.txt
      int8cal spec check spec.txt --strict
      int8cal spec update spec.txt -o new.txt --training_data /home/me/data /mnt/data
    """


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
    from int8cal.spec.prototext.show import as_dict, as_text

    read = _read(path, network, allow_unknown_fields=allow_unknown_fields)
    if as_json:
        console.print_json(as_dict(read))
        return
    _note_warnings(read)
    console.print_lines(as_text(read).split("\n"))


@spec.command()
@click.argument("path", metavar="SPEC")
@_network
@_allow_unknown
@click.option("--strict", is_flag=True, help="Fields of older TAO versions are errors.")
@json_option
def check(*, path: str, network: str | None, allow_unknown_fields: bool, strict: bool, as_json: bool) -> None:
    """Is the spec one that TAO accepts? Every finding is printed with its line and column; exit code 3 if there is one.

    \b
    Examples:
      int8cal spec check spec.txt
      int8cal spec check spec.txt --strict --json
    """
    from int8cal.errors import SpecError
    from int8cal.spec.prototext.find import describe_root

    read = _read(path, network, allow_unknown_fields=allow_unknown_fields, strict=strict)
    findings = _findings(read)
    if as_json:
        listed = [
            {"where": one.where, "field": one.field or None, "message": one.message, "hint": one.hint}
            for one in findings
        ]
        facts = {"file": path, "message": describe_root(read.root), "sound": not findings}
        console.print_json({**facts, "findings": listed, "warnings": list(read.warnings)})
    else:
        _note_warnings(read)
        console.print_lines(". ".join(filter(None, (f"{one.where}: {one.message}", one.hint))) for one in findings)
        console.print_lines([f"{path}: {describe_root(read.root)}: {_verdict(len(findings))}"])
    if findings:
        click.get_current_context().exit(SpecError.exit_code)


def _findings(read: Spec) -> list[Finding]:
    """What a run would refuse: a form that is outdated; else all that the tables find; else the network's own check."""
    from int8cal import networks
    from int8cal.spec.prototext.check import check as check_tables

    network = networks.find(read)
    if network is None:
        return list(check_tables(read))
    return _refusal(network.refuse_outdated, read) or list(check_tables(read)) or _refusal(network.check, read)


def _refusal(check: Callable[[Spec], None], read: Spec) -> list[Finding]:
    from int8cal.errors import SpecError
    from int8cal.spec.prototext.check import Finding

    try:
        check(read)
    except SpecError as error:
        return [Finding(error.where or read.path, "", error.message, error.hint)]
    return []


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
    Each option may be given several times.

    \b
    Examples:
      int8cal spec update spec.txt -o new.txt --training_data /home/me/data /mnt/data
      int8cal spec update spec.txt --dry_run --map /home/me /mnt/me --num_epochs 40
    """
    from int8cal.errors import UsageError
    from int8cal.io.files import write_file
    from int8cal.spec.prototext.find import SPEC
    from int8cal.spec.prototext.update import Substitution, update_spec

    if out is None and not dry_run:
        raise UsageError("no output is named", hint="Add -o FILE, or --dry_run to see what would change.")
    pairs = [(None if role == "map" else role, pair) for role, given in references.items() for pair in given]
    substitutions = [Substitution(role, reference, target) for role, (reference, target) in pairs]
    read = _read(path, network, allow_unknown_fields=True)
    result = update_spec(read, _path_roles(read), substitutions, num_epochs=num_epochs)
    notes = [f"{warning}; it stays in the file" for warning in read.warnings]
    notes += [
        f"{path.path} begins with the reference, and stays: --{path.role} REF PATH would change it"
        for path in result.forgotten
    ]
    if out is not None and not dry_run:
        write_file(out, result.spec.text.to_bytes(), overwrite=overwrite, inputs=(path,), replaces=SPEC)
    _report_update(result, notes, out, dry_run=dry_run, as_json=as_json)


def _report_update(result: Update, notes: list[str], out: str | None, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        written = None if dry_run else out
        edits = [_edit_facts(one) for one in result.changes]
        console.print_json({"written": written, "edits": edits, "warnings": notes})
        return
    for note in notes:
        console.note(note)
    if dry_run:
        console.print_lines(result.diff().split("\n"))
    else:
        console.print_lines(_edit_line(one) for one in result.changes)
        console.note(f"wrote {out} with {len(result.changes)} edits")


def _edit_line(change: Change) -> str:
    old = "(not there)" if change.old is None else shortened(change.old)
    return f"{change.field}: {old} -> {shortened(change.new)}"


def _edit_facts(change: Change) -> dict[str, Any]:
    return {"field": change.field, "line": change.line, "old": change.old, "new": change.new}


def _read(path: str, network: str | None, *, allow_unknown_fields: bool = False, strict: bool = False) -> Spec:
    from int8cal import networks
    from int8cal.networks.reading import read_and_parse

    console.configure_logging()
    asked = networks.get(network) if network else None
    return read_and_parse(path, asked, as_asked=True, allow_unknown_fields=allow_unknown_fields, strict=strict)


def _path_roles(read: Spec) -> Mapping[str, str]:
    """The table of the network whose training spec it is; specs of other kinds have that of their package."""
    from int8cal import networks
    from int8cal.networks import path_roles

    package = read.root.rpartition(".")[0]
    if package in path_roles.ALL:
        return path_roles.ALL[package]
    return networks.of_spec(read).path_roles


def _note_warnings(read: Spec) -> None:
    for warning in read.warnings:
        console.note(warning)
