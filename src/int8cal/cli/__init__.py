"""The command line: the only place that parses options, prints, draws progress or exits."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``int8cal``: run the command, turn its errors into text and an exit code."""
    from int8cal.cli.app import run

    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
