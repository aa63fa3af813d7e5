"""``int8cal export``: a tensorfile in the forms that other quantisers read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from int8cal.cli import console, endings, progress
from int8cal.cli.options import json_option, overwrite_option
from int8cal.io.summary import counted
from int8cal.types import FORMATS, LAYOUTS

if TYPE_CHECKING:
    from int8cal.types import Format, Layout


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--to",
    required=True,
    type=click.Choice(tuple(FORMATS)),
    help="; ".join(f"{name}: {words}" for name, words in FORMATS.items()) + ".",
)
@click.option("-o", "--output", required=True, metavar="OUT", help="File to write; with --to raw a folder to make.")
@click.option("--name", metavar="NAME", help="The model's input, for npz and polygraphy.  [default: input_1]")
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="nchw",
    show_default=True,
    help="Order of dimensions in npz, npy and raw.",
)
@click.option(
    "--rebatch",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images per batch, for polygraphy, tensorfile.  [default: as FILE has them]",
)
@click.option("--drop_remainder", is_flag=True, help="Leave out the last images if they do not fill a batch.")
@overwrite_option("Replace OUT if it is a file of the format; never a folder.")
@json_option
def export(
    *,
    file: str,
    to: Format,
    output: str,
    name: str | None,
    layout: Layout,
    rebatch: int | None,
    drop_remainder: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the batches of the tensorfile FILE in another form.

    TAO Deploy silently uses only the first images of each batch when it is asked for smaller batches than the file has:
    --to tensorfile --rebatch N makes a file with the right ones.

    \b
    Examples:
      int8cal export calibration.tensor --to npz -o calibration.npz --name input_1
      int8cal export calibration.tensor --to raw --layout nhwc -o calibration_raw
      int8cal export calibration.tensor --to tensorfile --rebatch 8 -o calibration_8.tensor
    """
    from int8cal.exports import formats as work
    from int8cal.tensorfile import TensorFile

    with TensorFile(file) as tensorfile:
        done = work.export(
            tensorfile,
            output,
            to,
            name=name,
            layout=layout,
            rebatch=rebatch,
            drop_remainder=drop_remainder,
            overwrite=overwrite,
            progress=progress.on_stderr(),
        )
    if as_json:
        facts = {"output": done.path, "format": done.format, "shape": list(done.shape)}
        console.print_json({"export": facts | {"images": done.images, "dropped": done.dropped}})
        return
    lines = [f"{done.path}: {counted(done.images, 'image')}, {done.format}, {' x '.join(map(str, done.shape))}"]
    if done.dropped:
        lines.append(f"left out at the end, too few for a batch of {rebatch}: {counted(done.dropped, 'image')}")
    console.print_lines(lines)
    endings.exported(done.path, done.format, layout)
