"""``int8cal verify``: is a tensorfile sound, does it make sense, and is it what its source makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import console, endings, progress
from int8cal.cli.options import claim_of, claim_options, json_option, model_input_options, model_input_words
from int8cal.errors import TensorFileError
from int8cal.io.summary import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from int8cal.check.verify import Verification
    from int8cal.types import Layout


@click.command()
@click.argument("file", metavar="FILE")
@claim_options
@click.option(
    "--model", metavar="M.onnx", help="Float model: run it on a few of the images, and see that its outputs are alive."
)
@model_input_options
@json_option
def verify(
    *,
    file: str,
    model: str | None,
    input_name: str | None,
    constants: dict[str, list[float]],
    layout: Layout | None,
    as_json: bool,
    **claim: Any,
) -> None:
    """Check a tensorfile, ours or NVIDIA's: structure, values, and whether they make sense.

    Findings are errors (do not use the file), warnings (look first) and notes. The exit code is 6 when there is an
    error.

    \b
    Examples:
      int8cal verify calibration.tensor
      int8cal verify calibration.tensor -e spec.txt
      int8cal verify calibration.tensor --model model.onnx
      int8cal verify from-tao.tensor -e spec.txt --any_order --json
    """
    from int8cal.check.verify import verify as verify_file

    found = verify_file(
        file,
        claim=claim_of(file, **claim),
        model=model,
        input_name=input_name,
        constants=constants,
        layout=layout,
        progress=progress.on_stderr(),
    )
    if as_json:
        console.print_json({"verification": found.to_json()})
        if not found.sound:
            raise click.exceptions.Exit(TensorFileError.exit_code)
    else:
        console.print_lines(_lines(found))
        if not found.sound:
            hint = "The findings in the output say what is wrong with it, and what to do."
            raise TensorFileError(f"do not use this file: {found.verdict}", where=found.path, hint=hint)
        endings.verified(found, model, inputs=model_input_words(), made_of=_source_options(file))


def _source_options(file: str) -> str:
    """What ``verify`` needs to make the images again, in words that stand for it."""
    from int8cal.origins.images.origin import NAME
    from int8cal.tensorfile import TensorFile
    from int8cal.tensorfile.layout import is_of_folder

    with TensorFile(file) as opened:
        manifest = opened.manifest or {}
    if manifest.get("network") == NAME:
        return "--images DIR"
    return "-e SPEC --cal_image_dir DIR" if is_of_folder(manifest) else "-e SPEC"


def _lines(found: Verification) -> Iterator[str]:
    shape = " x ".join(map(str, found.shape))
    yield f"{found.path}: {counted(found.batches, 'batch')} of {shape}"
    for finding in found.findings:
        yield f"{finding.level:<7}  {finding.message} [{finding.code}]"
        yield f"         {finding.hint}"
    yield found.verdict
