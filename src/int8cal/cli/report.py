"""``int8cal report``: one HTML page to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import console, endings, progress
from int8cal.cli.options import (
    claim_of,
    claim_options,
    json_option,
    model_input_options,
    model_input_words,
    overwrite_option,
)

if TYPE_CHECKING:
    from int8cal.types import Layout


@click.command()
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", required=True, metavar="OUT.html", help="The page to write.")
@claim_options
@click.option("--model", metavar="M.onnx", help="Float model: also run it on a few of the images.")
@click.option("--int8", metavar="Q.onnx", help="With --model: INT8 model made of it, to compare with it on the images.")
@model_input_options
@click.option(
    "--pictures", type=click.IntRange(1, 500), default=48, show_default=True, metavar="N", help="Pictures to show."
)
@overwrite_option("Replace an existing page; nothing else is replaced.")
@json_option
def report(
    *,
    file: str,
    output: str,
    model: str | None,
    int8: str | None,
    input_name: str | None,
    constants: dict[str, list[float]],
    layout: Layout | None,
    pictures: int,
    overwrite: bool,
    as_json: bool,
    **claim: Any,
) -> None:
    """Make one self-contained HTML page about a tensorfile: pictures, values, findings, manifest, what to do next.

    With -e the images are proved to be the spec's own, boxes are drawn around labelled objects, and brightness and
    classes are compared with the whole split. With --model and --int8 the page also has the verdict on the INT8 model,
    the agreement of each output and layer, and the ranges of the activations. The page loads nothing from the network
    and runs no script.

    \b
    Examples:
      int8cal report calibration.tensor -o calibration.html
      int8cal report calibration.tensor -o calibration.html -e spec.txt
      int8cal report calibration.tensor -o calibration.html --model model.onnx --int8 model.int8.onnx
    """
    from int8cal.report.build import write_report

    if int8 is not None and model is None:
        raise click.UsageError("--int8 Q.onnx is for --model M.onnx")
    found = write_report(
        file,
        output,
        claim=claim_of(file, **claim),
        model=model,
        int8=int8,
        input_name=input_name,
        layout=layout,
        constants=constants or None,
        pictures=pictures,
        overwrite=overwrite,
        progress=progress.on_stderr(),
    )
    if as_json:
        console.print_json({"report": output, "verification": found.to_json()})
    else:
        console.print_table([("report", output), ("findings", found.verdict)])
        binding = None
        for finding in found.findings:
            if finding.code == "int8-not-quantised":
                console.note(f"{finding.level}: {finding.message}. {finding.hint}")
                int8 = None  # no engine for it
        if int8 and found.sound:
            from int8cal.models.wants import input_for

            binding = input_for(int8, found.shape, input_name=input_name, layout=layout, constants=constants or None)
        file = endings.quoted(file)
        endings.print_next(
            f"Open {output} in a browser: it is one file, and asks the network for nothing.",
            f"int8cal verify {file}"
            if not found.sound
            else endings.trtexec(int8, binding)
            if int8
            else endings.calibrating(model, file, model_input_words()),
        )
