"""``int8cal records``: TFRecords from images and KITTI labels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from int8cal.cli import console, endings
from int8cal.cli.options import json_option
from int8cal.errors import DataError
from int8cal.io.paths import absolute
from int8cal.io.summary import counted

if TYPE_CHECKING:
    from collections.abc import Mapping


_MAX_SEQUENCES_BYTES = 64 << 20


@click.command()
@click.argument("root", metavar="KITTI_DIR")
@click.option("-o", "--output_dir", required=True, metavar="DIR", help="Folder to make for the TFRecords.")
@click.option("--image_dir", default="image_2", show_default=True, metavar="NAME", help="Folder of the images.")
@click.option("--label_dir", default="label_2", show_default=True, metavar="NAME", help="Folder of the labels.")
@click.option("--image_extension", default="png", show_default=True, metavar="EXT", help="Of the images, without dot.")
@click.option(
    "--stem", default="kitti_trainval", show_default=True, metavar="NAME", help="Beginning of the file names."
)
@click.option(
    "--num_partitions", type=click.IntRange(1, 100), default=2, show_default=True, metavar="N",
    help="Folds; of two, the first is for validation.",
)  # fmt: skip
@click.option(
    "--val_split", type=click.FloatRange(0, 100), default=20.0, show_default=True, metavar="P",
    help="Percentage of the images in the first of two folds.",
)  # fmt: skip
@click.option(
    "--num_shards", type=click.IntRange(1, 10_000), default=10, show_default=True, metavar="N", help="Files per fold."
)
@click.option(
    "--sequences", metavar="FILE",
    help="Lines of a sequence and the images in it: each is in one fold as a whole.  [default: images one by one]",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=42, show_default=True, metavar="S", help="Of the partition.")
@json_option
def records(
    *,
    root: str,
    output_dir: str,
    image_dir: str,
    label_dir: str,
    image_extension: str,
    stem: str,
    num_partitions: int,
    val_split: float,
    num_shards: int,
    sequences: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Make TFRecords of a KITTI data set, which DetectNet_v2 and FasterRCNN train on and calibrate from.

    KITTI_DIR holds a folder of images and one of labels. Features and file names are those of NVIDIA's dataset_convert;
    which image is in which file is not: the partition is drawn with --seed.

    \b
    Examples:
      int8cal records kitti/training -o kitti/tfrecords
      int8cal records data -o records --image_dir images --label_dir labels --image_extension jpg
    """
    from int8cal.network_kit.kitti_records import write_records
    from int8cal.samples.folders import PICTURE_SUFFIXES, listed_suffixes

    done = write_records(
        root,
        output_dir,
        image_dir=image_dir,
        label_dir=label_dir,
        extension=image_extension,
        stem=stem,
        folds=num_partitions,
        validation=val_split,
        shards=num_shards,
        sequences=_sequences(sequences) if sequences else None,
        seed=seed,
    )
    _tell_empty_folds(done.frames, val_split)
    if pictures := {one: count for one, count in done.left_out.items() if one.lower() in PICTURE_SUFFIXES}:
        console.note(
            f"warning: images not named *.{image_extension} are left out: {listed_suffixes(pictures)}. Convert them, "
            "or make records of them in another folder with --image_extension"
        )
    if as_json:
        facts = {"folder": done.folder, "files": list(done.files), "frames": list(done.frames)}
        more = {"classes": dict(done.classes), "labels_without_image": done.labels_without_image}
        console.print_json({"records": facts | more | {"left_out": dict(done.left_out)}})
        return
    rows: list[tuple[str, object]] = [("records", f"{counted(len(done.files), 'file')} in {done.folder}")]
    rows += [(f"fold {fold}", counted(count, "image")) for fold, count in enumerate(done.frames)]
    rows += [(name, counted(count, "object")) for name, count in done.classes.items()]
    rows.append(("labels without image", done.labels_without_image))
    if done.left_out:
        rows.append((f"files not named *.{image_extension}", listed_suffixes(done.left_out)))
    console.print_table(rows)
    pattern, data = os.path.join(absolute(done.folder), f"{stem}-*"), absolute(root)
    spec = "spec.txt" if not os.path.lexists("spec.txt") else "new_spec.txt"
    written = f'image_extension: "{image_extension}"'
    edit = endings.quoted("sed", "-i", f's/image_extension: "png"/{written}/', spec)  # the template says png
    endings.print_next(
        f'In the spec: tfrecords_path: "{pattern}", image_directory_path: "{data}", {written}.',
        f"int8cal spec new detectnet_v2 -o {spec}",
        *([] if image_extension == "png" else [edit]),
        f"int8cal plan -e {spec} --map '/PATH/TO/TFRECORDS/NAME-*' {endings.quoted(pattern)} "
        f"--map /PATH/TO/DATA {endings.quoted(data)}",
    )


def _tell_empty_folds(frames: tuple[int, ...], val_split: float) -> None:
    """Say of a partition that splits nothing what to type for one that does."""
    if len(frames) == 1:
        console.note(
            "one fold has all images, and none are kept apart for validation; --num_partitions 2 --val_split 20 does"
        )
        return
    if all(frames) or (len(frames) == 2 and val_split == 0):  # which asks for no validation
        return
    empty = frames.index(0)
    share = f"{val_split:g} % of {sum(frames)} images are for validation" if len(frames) == 2 else "too few images"
    advice = "--val_split 20 takes a fifth" if len(frames) == 2 else f"give --num_partitions {min(2, sum(frames))}"
    console.note(f"warning: fold {empty} has no images ({share}): {advice}")


def _sequences(path: str) -> Mapping[str, str]:
    """Image → sequence, of a text file.

    Raises:
        DataError: it cannot be read, or an image is in two sequences.
    """
    from int8cal.samples.paths import path_text, read_text_file

    found: dict[str, str] = {}
    hint = "Write a line per sequence: NAME IMAGE…"
    text = read_text_file(path, "file of sequences", _MAX_SEQUENCES_BYTES, hint=hint, too_long=hint)
    for number, line in enumerate(text.splitlines(), 1):
        name, *images = line.split() or [""]
        for image in images:
            if found.setdefault(image, name) != name:
                raise DataError(
                    f"the image {path_text(image)} is in two sequences", where=f"{path_text(path)}:{number}"
                )
    return found
