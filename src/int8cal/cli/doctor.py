"""``int8cal doctor``: the facts that a bug report needs."""

from __future__ import annotations

import click

from int8cal.cli import console
from int8cal.cli.environment import facts


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(*, as_json: bool) -> None:
    """Versions and environment, for bug reports.

    \b
    Examples:
      int8cal doctor
      int8cal doctor --json
    """
    if as_json:
        console.print_json({"doctor": facts()})
    else:
        console.print_table(facts().items())
