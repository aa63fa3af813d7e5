"""``int8cal demo``: a data set of our own, the main job run on it, and what INT8 makes of the tensorfile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import console, progress
from int8cal.cli.options import json_option, overwrite_option
from int8cal.io.safe_text import shell_word

if TYPE_CHECKING:
    from int8cal.demo.dataset import DemoDataset
    from int8cal.demo.int8 import Prepared

_TENSORFILE = "calibration.tensorfile"

_TEST_ITEMS, _TABLE_ITEMS = 200, 1000
"""Enough to see that INT8 keeps what the float model finds, within a minute; enough to compare methods."""


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
    "--images", type=click.IntRange(8, 100_000), default=64, show_default=True, metavar="N", help="Pictures to draw."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, metavar="S", help="Seed of the pictures."
)
@click.option("--data_only", is_flag=True, help="Stop after the data set and its tensorfile: no INT8 models.")
@click.option(
    "--test_items",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Objects and pictures on which the models are judged.  [default: {_TEST_ITEMS}; {_TABLE_ITEMS} with --table]",
)
@click.option(
    "--table",
    is_flag=True,
    help="Try every method, and calibration data with every usual mistake in it. Takes some ten minutes.",
)
@overwrite_option("Replace DIR if an earlier demo made it; no other folder is replaced.")
@json_option
def demo(
    *,
    output_dir: str,
    images: int,
    seed: int,
    data_only: bool,
    test_items: int | None,
    table: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make a small driving-scene data set, run the main job on it, and see what INT8 makes of calibration data.

    Draws pictures in the form of the KITTI data set, with labels, TFRecords and a DetectNet_v2 experiment spec, and
    makes a tensorfile from the training split. Then a small detector and a small classifier are calibrated, verified,
    quantised and judged, in float and in INT8, on pictures that they have not seen. The latter needs the extra
    [quantize].

    \b
    Examples:
      int8cal demo
      int8cal demo -o streets --images 160 --seed 7 --data_only
      int8cal demo --table
    """
    if table and data_only:
        raise click.UsageError("--table is made of INT8 models, and --data_only makes none")
    from int8cal.cli.tables import run_table
    from int8cal.demo.dataset import make_dataset
    from int8cal.pipeline import make, plan

    items = test_items or (_TABLE_ITEMS if table else _TEST_ITEMS)
    dataset = make_dataset(
        output_dir,
        images=images,
        seed=seed,
        auto_resize=True,
        overwrite=overwrite,
        progress=progress.on_stderr("pictures"),
    )
    folder = Path(output_dir)
    manifest = make(plan(folder / dataset.spec.name), folder / _TENSORFILE, progress=progress.on_stderr())
    if not as_json:
        console.print_table(
            [
                ("pictures", f"{len(dataset.images)} with {dataset.objects} objects, in {folder / 'training'}"),
                ("TFRecords", f"{len(dataset.tfrecords)} files in {folder / 'tfrecords'}"),
                ("spec", folder / dataset.spec.name),
                *run_table(manifest),
            ]
        )
    int8 = None if data_only else _int8(folder / "int8", items, with_mistakes=table, quiet=as_json)
    if as_json:
        console.print_json({"dataset": _facts(folder, dataset), **manifest.to_json(), "int8": int8})
        return
    spec, tensorfile = (shell_word(str(path)) for path in (folder / dataset.spec.name, manifest.path))
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


def _int8(folder: Path, test_items: int, *, with_mistakes: bool, quiet: bool) -> list[dict[str, Any]]:
    """Both networks from pictures to INT8 accuracy, told as it happens; gives the facts."""
    from int8cal.demo.int8 import prepare
    from int8cal.demo.subjects import SUBJECTS
    from int8cal.errors import UnavailableError

    facts: list[dict[str, Any]] = []
    for subject in SUBJECTS:
        prepared = prepare(subject, folder / subject.name, progress.on_stderr)
        verdict = prepared.verification.verdict
        if not quiet:
            console.print_lines(["", f"{subject.name}: {prepared.tensorfile}", f"  verified: {verdict}"])
        judged: dict[str, Any] | None = None
        try:
            judged = _judged(prepared, test_items, with_mistakes=with_mistakes, quiet=quiet)
        except UnavailableError as error:
            console.note(f"no INT8 model of the {subject.name}: {error.message}; {error.hint}")
        facts.append(
            {"network": subject.name, "tensorfile": str(prepared.tensorfile), "verify": verdict, "judged": judged}
        )
    return facts


def _judged(prepared: Prepared, test_items: int, *, with_mistakes: bool, quiet: bool) -> dict[str, Any]:
    from int8cal.demo import table
    from int8cal.models import extras
    from int8cal.types import METHODS

    extras.onnx()
    extras.onnxruntime()  # before the work: what is missing is said at once
    subject = prepared.subject
    test = subject.test_set(test_items, progress.on_stderr(f"{subject.items} to test on"))
    rows = list(
        table.rows(
            prepared,
            test,
            progress.on_stderr,
            methods=("auto", *METHODS) if with_mistakes else ("auto",),
            mistakes=with_mistakes,
        )
    )
    if not quiet:
        cells = table.as_cells(rows)
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        console.print_lines(
            [
                f"  {subject.figure} on {test.items} {subject.items} that it has not seen:",
                *("    " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in cells),
            ]
        )
    return {"figure": subject.figure, "items": test.items, "rows": table.to_json(rows)}
