"""``int8cal verify``: is a tensorfile sound, does it make sense, and is it what the spec asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from int8cal.cli import console, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from int8cal.check.rebuild import Origin
    from int8cal.check.verify import Verification


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "-e",
    "--experiment_spec_file",
    "--experiment_spec",
    "spec",
    metavar="SPEC",
    help="Make the images again from this spec and its data, and compare every bit.",
)
@click.option("--use_validation_set", is_flag=True, help="With -e: the file is of the validation split.")
@click.option(
    "--seed", type=int, metavar="S", help="With -e: seed of the sample order.  [default: the manifest's, the spec's]"
)
@click.option("--any_order", is_flag=True, help="With -e: accept the images in any order.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(
    *,
    file: str,
    spec: str | None,
    use_validation_set: bool,
    seed: int | None,
    any_order: bool,
    as_json: bool,
) -> None:
    """Check a tensorfile, ours or NVIDIA's: structure, values, and whether they make sense.

    Findings are errors (do not use the file), warnings (look first) and notes. The exit code is 6 when there is an
    error.

    \b
    Examples:
      int8cal verify calibration.tensor
      int8cal verify calibration.tensor -e spec.txt
      int8cal verify from-tao.tensor -e spec.txt --any_order --json
    """
    from int8cal.check.verify import verify as verify_file

    if spec is None and (use_validation_set or any_order or seed is not None):
        raise click.UsageError("--use_validation_set, --seed and --any_order are for -e SPEC")
    origin = _origin(spec, use_validation_set=use_validation_set, seed=seed, any_order=any_order) if spec else None
    found = verify_file(file, origin=origin, progress=progress.on_stderr())
    if as_json:
        console.print_json({"verification": found.to_json()})
        if not found.sound:
            raise click.exceptions.Exit(6)
    else:
        console.print_lines(_lines(found))
        found.require_sound()


def _origin(spec: str, *, use_validation_set: bool, seed: int | None, any_order: bool) -> Origin:
    from int8cal.check.rebuild import Origin
    from int8cal.pipeline import read_spec

    read = read_spec(spec)
    for warning in read.warnings:
        console.note(f"warning: {warning}")
    return Origin(read, split="validation" if use_validation_set else None, seed=seed, any_order=any_order)


def _lines(found: Verification) -> Iterator[str]:
    shape = " x ".join(map(str, found.shape))
    yield f"{found.path}: {found.batches} batches of {shape}"
    for finding in found.findings:
        yield f"{finding.level:<7}  {finding.message} [{finding.code}]"
        yield f"         {finding.hint}"
    yield ", ".join(_counted(found.count(level), level) for level in ("error", "warning", "note"))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
