"""``int8cal images``: calibration data of images and stated preprocessing, without a TAO spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import console
from int8cal.cli.make import console_options, make_and_tell, output_options, tell_plan, warn_of_data
from int8cal.cli.options import decorated, given_words

if TYPE_CHECKING:
    from int8cal.origins.images.preprocessing import Preprocessing
    from int8cal.plans import Plan

preprocessing_options = decorated(
    click.option("--preset", metavar="NAME", help="imagenet, clip, ultralytics, yolox, tf or caffe."),
    click.option("--preprocess", metavar="FILE", help="A preprocess.yaml with the numbers below as keys."),
    click.option(
        "--size",
        metavar="HxW",
        help="Height and width of the model's input.  [required without --preset or --preprocess]",
    ),
    click.option(
        "--resize",
        metavar="HOW",
        help="stretch; letterbox, filled with --pad; short_side[:N], then a centre crop; crop, without scaling.  "
        "[required without --preset or --preprocess]",
    ),
    click.option(
        "--interpolation", metavar="FILTER", help="nearest, bilinear, bicubic or lanczos.  [default: bilinear]"
    ),
    click.option("--pad", type=int, metavar="LEVEL", help="Level 0..255 around a letterboxed image, which needs it."),
    click.option("--anchor", metavar="WHERE", help="Of a letterbox: centre or top_left.  [default: centre]"),
    click.option("--rounding", metavar="HOW", help="Of a letterboxed size: nearest or down.  [default: nearest]"),
    click.option(
        "--order",
        metavar="CHANNELS",
        help="rgb, bgr or gray; a preset's mean and std turn with it.  [default: rgb, or as the preset says]",
    ),
    click.option(
        "--scale",
        metavar="S",
        help="Factor of the levels 0..255: 1/255, 1/127.5, 1 or another number.  [required without --preset or "
        "--preprocess]",
    ),
    click.option(
        "--mean", metavar="M[,M,M]", help="Subtracted after scaling, in the order of the result.  [default: 0]"
    ),
    click.option("--std", metavar="S[,S,S]", help="Divided by after that.  [default: 1]"),
    click.option("--library", metavar="NAME", help="What decodes and resizes: pillow or opencv.  [default: pillow]"),
    click.option(
        "--exif/--no_exif",
        default=None,
        help="Turn images as their EXIF orientation says.  [default: no, or as the preset says]",
    ),
)
"""The options that state a preprocessing; the command passes them on to `preprocessing_of`."""

places_of_images = decorated(
    click.option(
        "--recursive", is_flag=True, help="Of a folder of images: from the folders below it, too, but for hidden ones."
    ),
    click.option(
        "--image_dir", metavar="DIR", help="Where the names in a list or COCO file start.  [default: beside it]"
    ),
)
"""The options that say where images lie, for a command whose argument is a folder, a list or a COCO file."""

_NUMBERS = (
    "size", "resize", "interpolation", "pad", "anchor", "rounding", "order", "scale", "mean", "std", "library", "exif",
)  # fmt: skip


def preprocessing_of(*, preset: str | None, preprocess: str | None, **numbers: Any) -> Preprocessing:
    """What the options state.

    Raises:
        UsageError: nothing, too little, or what cannot be.
        SpecError: the file cannot be read.
    """
    from int8cal.origins.images.origin import read_preprocessing
    from int8cal.origins.images.stated import stated

    if preprocess is None:
        return stated(preset, numbers)
    given = [name for name in _NUMBERS if numbers.get(name) is not None]
    if preset is not None or given:
        raise click.UsageError(f"--preprocess FILE says everything: leave --{given[0] if given else 'preset'} out")
    return read_preprocessing(preprocess)


def warn_of_unit(preprocessing: Preprocessing) -> None:
    """Say before anything is decoded that the numbers alone cannot be right."""
    if doubt := preprocessing.doubt():
        console.note(f"warning: {doubt}")


@click.command()
@click.argument("source", metavar="DIR")
@preprocessing_options
@click.option(
    "-m",
    "--max_batches",
    type=int,
    default=-1,
    show_default=True,
    metavar="N",
    help="Batches to make; -1: all full ones.",
)
@click.option("--batch_size", type=int, default=1, show_default=True, metavar="B", help="Images per batch.")
@click.option("--seed", type=int, default=42, show_default=True, metavar="S", help="Seed of the order.")
@places_of_images
@click.option("--dry_run", is_flag=True, help="Show what would be made; decode and write nothing.")
@output_options
@console_options
def images(*, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Make a tensorfile of images for any model, preprocessed as you state it. No TAO spec is needed.

    DIR is a folder of images, a text file with one path per line, or a COCO file (.json).

    \b
    Examples:
      int8cal images photos -o calibration.tensor --preset imagenet
      int8cal images photos -o c.tensor --preset ultralytics --size 416x416 -m 64 --batch_size 8
      int8cal images photos -o c.tensor --size 224x224 --resize stretch --scale 1/255 --mean 0.5 --std 0.5
    """
    if dry_run:
        choice = {name: options[name] for name in _CHOICE}
        tell_plan(_planned(**choice), "images", *given_words("dry_run", "as_json", "verbose"), as_json=as_json)
        return
    make_and_tell(_planned, as_json=as_json, **options)


_CHOICE = ("source", "preset", "preprocess", *_NUMBERS, "max_batches", "batch_size", "seed", "recursive", "image_dir")


def _planned(
    *,
    source: str,
    max_batches: int,
    batch_size: int,
    seed: int,
    recursive: bool,
    image_dir: str | None,
    **stated: Any,
) -> Plan:
    from int8cal.origins.images.origin import ImagesOrigin
    from int8cal.pipeline import plan

    preprocessing = preprocessing_of(**stated)
    warn_of_unit(preprocessing)
    origin = ImagesOrigin(source, preprocessing, recursive, image_dir)
    planned = plan(origin, max_batches=max_batches, batch_size=batch_size, seed=seed)
    warn_of_data(planned)
    return planned
