"""``int8cal verify``: is a tensorfile sound, does it make sense, and is it what the spec asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from int8cal.cli import console, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from int8cal.check.verify import Verification


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(*, file: str, as_json: bool) -> None:
    """Check a tensorfile, ours or NVIDIA's: structure, values, and whether they make sense.

    Findings are errors (do not use the file), warnings (look first) and notes. The exit code is 6 when there is an
    error.

    \b
    Examples:
      int8cal verify calibration.tensor
      int8cal verify calibration.tensor --json
    """
    from int8cal.check.verify import verify as verify_file

    found = verify_file(file, progress=progress.on_stderr())
    if as_json:
        console.print_json({"verification": found.to_json()})
        if not found.sound:
            raise click.exceptions.Exit(6)
    else:
        console.print_lines(_lines(found))
        found.require_sound()


def _lines(found: Verification) -> Iterator[str]:
    shape = " x ".join(map(str, found.shape))
    yield f"{found.path}: {found.batches} batches of {shape}"
    for finding in found.findings:
        yield f"{finding.level:<7}  {finding.message} [{finding.code}]"
        yield f"         {finding.hint}"
    yield ", ".join(_counted(found.count(level), level) for level in ("error", "warning", "note"))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
