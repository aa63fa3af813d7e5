"""``int8cal compare``: how far apart the outputs of two models are."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from int8cal.cli import agreement, console, endings, progress
from int8cal.cli.options import json_option, model_input_options, model_input_words, overwrite_option
from int8cal.io.safe_text import printable

if TYPE_CHECKING:
    from int8cal.types import Layout


@click.command()
@click.argument("reference", metavar="FLOAT.onnx")
@click.argument("other", metavar="INT8.onnx")
@click.argument("file", metavar="FILE")
@click.option("--max_images", type=click.IntRange(min=1), help="Stop after this many images.  [default: all]")
@model_input_options
@click.option("--html", metavar="PAGE.html", help="Also draw it: a self-contained page.")
@overwrite_option("Replace an existing page; nothing else is replaced.")
@json_option
def compare(
    *,
    reference: str,
    other: str,
    file: str,
    max_images: int | None,
    input_name: str | None,
    constants: dict[str, list[float]],
    layout: Layout | None,
    html: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Run FLOAT.onnx and INT8.onnx on the images in the tensorfile FILE and compare outputs and layers.

    SQNR is the signal to quantisation noise ratio; top-1 is how often two classifiers choose the same class. Use images
    that calibration has not seen.

    \b
    Examples:
      int8cal compare model.onnx model.int8.onnx validation.tensor
      int8cal compare model.onnx model.int8.onnx validation.tensor --html compare.html
    """
    from int8cal.errors import UseError
    from int8cal.models import compare as work
    from int8cal.models.onnx_file import refuse_other_formats
    from int8cal.report.comparison import page_of
    from int8cal.report.web_page import page_output

    if overwrite and not html:
        raise click.UsageError("--overwrite is for the page of --html, which is not asked for")
    for model in (reference, other):
        refuse_other_formats(model)  # before FILE is opened: who swaps them is to be told so
    with ExitStack() as files:
        inputs = (reference, other, file)
        page = html and files.enter_context(page_output(html, overwrite=overwrite, inputs=inputs))
        result = work.compare(
            reference,
            other,
            file,
            input_name=input_name,
            constants=constants,
            layout=layout,
            max_images=max_images,
            progress=progress.on_stderr(),
        )
        if page:
            page.write(page_of(result, title=f"{other} against {reference}"))
            page.commit()
    if not result.is_quantised:
        console.note(f"warning: {printable(other)}: {work.NOT_QUANTISED}")
    verdict = result.verdict
    is_measured = verdict.level != "not measured" or verdict.reason == work.NOT_QUANTISED
    if as_json:
        facts = {
            "bytes": {"float": result.float_bytes, "int8": result.int8_bytes},
            "is_quantised": result.is_quantised,
            "verdict": asdict(verdict),
            "not_computed": [{"node": n.name, "operator": n.operator} for n in result.foreign if not n.computed],
        }
        console.print_json({"compare": facts | agreement.as_json(result.agreement)})
        if not is_measured:
            raise click.exceptions.Exit(UseError.exit_code)
    else:
        sizes = f"{result.float_bytes / 1e6:.3f} MB and {result.int8_bytes / 1e6:.3f} MB"
        lines = agreement.as_lines(result.agreement, f"{reference} and {other} ({sizes})")
        foreign = [f"{node.name} ({node.operator})" for node in result.foreign if not node.computed]
        if foreign:
            lines.append(f"not computed here, compared by what goes in: {', '.join(foreign)}")
        console.print_lines(lines)
        if not is_measured:
            name = f"output {verdict.output!r}: " if verdict.output else ""
            raise UseError(
                f"nothing can be told of the INT8 model: {name}{verdict.reason}",
                where=reference,
                hint="Compare a model with the INT8 model made of it, on images on which the float model works: "
                f"{endings.quoted('int8cal', 'verify', file, '--model', reference)} looks at both.",
            )
        held_out = ["--eval", file, *model_input_words()]
        endings.compared(reference, other, result.input, verdict, *held_out)
