"""``int8cal report``: one HTML page to look at."""

from __future__ import annotations

from typing import Any

import click

from int8cal.cli import console, endings, progress
from int8cal.cli.options import claim_of, claim_options, json_option, overwrite_option


@click.command()
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", required=True, metavar="OUT.html", help="The page to write.")
@claim_options
@click.option(
    "--pictures", type=click.IntRange(1, 500), default=48, show_default=True, metavar="N", help="Pictures to show."
)
@overwrite_option("Replace an existing page; nothing else is replaced.")
@json_option
def report(*, file: str, output: str, pictures: int, overwrite: bool, as_json: bool, **claim: Any) -> None:
    """Make one self-contained HTML page about a tensorfile: pictures, values, findings, manifest, what to do next.

    With -e the images are proved to be the spec's own, boxes are drawn around labelled objects, and brightness and
    classes are compared with the whole split. The page loads nothing from the network and runs no script.

    \b
    Examples:
      int8cal report calibration.tensor -o calibration.html
      int8cal report calibration.tensor -o calibration.html -e spec.txt
    """
    from int8cal.report.build import write_report

    found = write_report(
        file,
        output,
        claim=claim_of(file, **claim),
        pictures=pictures,
        overwrite=overwrite,
        progress=progress.on_stderr(),
    )
    if as_json:
        console.print_json({"report": output, "verification": found.to_json()})
    else:
        console.print_table([("report", output), ("findings", found.verdict)])
        endings.print_next(f"Open {output} in a browser: it is one file, and asks the network for nothing.")
