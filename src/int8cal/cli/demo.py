"""``int8cal demo``: a data set of our own, and the main job run on it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from int8cal.cli import console, progress

if TYPE_CHECKING:
    from int8cal.demo.dataset import DemoDataset

_TENSORFILE = "calibration.tensorfile"


@click.command()
@click.option(
    "-o",
    "--output_dir",
    default="int8cal-demo",
    show_default=True,
    metavar="DIR",
    help="Folder to make; must not exist, or be empty.",
)
@click.option(
    "--images", type=click.IntRange(min=8), default=64, show_default=True, metavar="N", help="Pictures to draw."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, metavar="S", help="Seed of the pictures."
)
@click.option("--overwrite", is_flag=True, help="Replace DIR if an earlier demo made it; no other folder is replaced.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def demo(*, output_dir: str, images: int, seed: int, overwrite: bool, as_json: bool) -> None:
    """Make a small driving-scene data set and run the main job on it.

    Draws pictures in the form of the KITTI data set, with labels, TFRecords and a DetectNet_v2 experiment spec, and
    makes a tensorfile from the training split.

    \b
    Examples:
      int8cal demo
      int8cal demo -o streets --images 160 --seed 7
    """
    from int8cal.cli.make import summary
    from int8cal.demo.dataset import make_dataset
    from int8cal.pipeline import make, plan

    dataset = make_dataset(
        output_dir, images=images, seed=seed, overwrite=overwrite, progress=progress.on_stderr("pictures")
    )
    folder = Path(output_dir)
    manifest = make(plan(folder / dataset.spec.name), folder / _TENSORFILE, progress=progress.on_stderr())
    if as_json:
        console.print_json({"dataset": _facts(folder, dataset), **manifest.to_json()})
        return
    console.print_table(
        [
            ("pictures", f"{len(dataset.images)} with {dataset.objects} objects, in {folder / 'training'}"),
            ("TFRecords", f"{len(dataset.tfrecords)} files in {folder / 'tfrecords'}"),
            ("spec", folder / dataset.spec.name),
            *summary(manifest),
        ]
    )
    spec, tensorfile = (shlex.quote(str(path)) for path in (folder / dataset.spec.name, manifest.path))
    console.print_lines(
        [
            "",
            "Look at it:",
            f"  int8cal inspect {tensorfile}",
            "The same by hand:",
            f"  int8cal detectnet_v2 calibration_tensorfile -e {spec} -o again.tensorfile",
        ]
    )


def _facts(folder: Path, dataset: DemoDataset) -> dict[str, object]:
    return {
        "folder": str(folder),
        "spec": str(folder / dataset.spec.name),
        "pictures": len(dataset.images),
        "objects": dataset.objects,
    }
