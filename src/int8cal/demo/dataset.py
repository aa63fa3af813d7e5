"""A whole data set on disk, as it would lie there after NVIDIA's ``dataset_convert``: images, labels, TFRecords, spec.

OUT/training/image_2/000000.png …        pictures
OUT/training/label_2/000000.txt …        KITTI labels
OUT/tfrecords/kitti_trainval-fold-…      records: fold 0 validation, fold 1 training
OUT/experiment_spec.txt                  DetectNet_v2 spec that names them
OUT/int8cal-demo.json                    marks the folder as one that may be replaced
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
from imagecodecs import PNG
from PIL import Image

from int8cal.demo.experiment import experiment_spec
from int8cal.demo.kitti import label
from int8cal.demo.scene import draw_scene
from int8cal.errors import OutputExistsError, UsageError
from int8cal.io.folders import new_folder
from int8cal.io.paths import absolute, refuse_address
from int8cal.io.progress import watched
from int8cal.io.threads import map_on_threads
from int8cal.network_kit.kitti_records import example, shard_name, tfrecord
from int8cal.types import ImageHWC_u8, Progress, Size

ImageFormat = Literal["png", "jpg"]

KITTI_SIZE = Size(375, 1242)
NETWORK_SIZE = Size(544, 960)
VALIDATION_SHARE = 0.25

_IMAGES = Path("training", "image_2")
_LABELS = Path("training", "label_2")
_TFRECORDS = Path("tfrecords")
_SPEC = Path("experiment_spec.txt")
_NAME_ANOTHER = "Name another one: -o DIR."
_MARK = Path("int8cal-demo.json")
_NAMES = re.compile("|".join(re.escape(path.parts[0]) for path in (_IMAGES, _TFRECORDS, _SPEC, _MARK)))
_RECORDS_STEM = "kitti_trainval"
_SHARDS = 2
_JPEG_QUALITY = 90
_THREADS = 4


@dataclass(frozen=True)
class DemoDataset:
    """Where the parts of a data set lie.

    Attributes:
        root: its folder.
        spec: the experiment spec.
        images: the pictures, sorted.
        tfrecords: the TFRecord files, sorted.
        objects: number of labelled objects.
    """

    root: Path
    spec: Path
    images: tuple[Path, ...]
    tfrecords: tuple[Path, ...]
    objects: int


def make_dataset(
    folder: str | Path,
    *,
    images: int = 64,
    seed: int = 0,
    image_format: ImageFormat = "png",
    size: tuple[int, int] = KITTI_SIZE,
    network_size: tuple[int, int] = NETWORK_SIZE,
    batch_size: int = 4,
    validation_split: bool = True,
    auto_resize: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DemoDataset:
    """Draw a driving-scene data set. The folder is complete, or it is not there.

    Args:
        folder: created; must not exist, or be empty.
        images: number of pictures, at least 2.
        seed: equal seeds give equal data sets (with the same versions of NumPy and Pillow).
        image_format: PNG, or JPEG of quality 90.
        size: height and width of the pictures.
        network_size: height and width of the network's input, multiples of 16.
        batch_size: images per batch in the spec.
        validation_split: keep a quarter of the pictures for validation; False: the training split has all.
        auto_resize: the spec asks for resizing instead of padding and cropping.
        overwrite: replace a folder that an earlier call made; no other folder is ever replaced.
        progress: told how many pictures are drawn.

    Raises:
        UsageError: a number makes no sense.
        OutputExistsError: the folder is taken.
        OutputError: the folder cannot be written.
    """
    picture_size, network = Size(*size), Size(*network_size)
    if images < 2:
        raise UsageError(f"A demo data set has at least 2 images, not {images}.")
    if not 0 <= seed < 1 << 32:
        raise UsageError(f"Seed {seed} is not an unsigned 32-bit number.")
    if network.height % 16 or network.width % 16 or min(network) < 16:
        raise UsageError(f"The network's input must be a multiple of 16 in both directions, not {network}.")
    refuse_address(os.fspath(folder))
    target = Path(absolute(os.fspath(folder)))
    _refuse_taken(target, overwrite=overwrite)
    with new_folder(str(target), holding=_NAMES, replacing=True) as work:
        draft = Path(work)
        (draft / _IMAGES).mkdir(parents=True)
        (draft / _LABELS).mkdir()
        draw = partial(_write_frame, draft, seed, image_format, picture_size)
        frames = _in_order(draw, images, progress)
        _write_tfrecords(draft / _TFRECORDS, frames, seed, validation_split=validation_split)
        text = experiment_spec(
            tfrecords=str(target / _TFRECORDS / f"{_RECORDS_STEM}-*"),
            image_directory=str(target / _IMAGES.parent),
            image_extension=image_format,
            network_size=network,
            batch_size=batch_size,
            seed=seed,
            validation_fold=0 if validation_split else None,
            auto_resize=auto_resize,
        )
        (draft / _SPEC).write_text(text, encoding="utf-8")
        (draft / _MARK).write_text(json.dumps({"images": images, "seed": seed}) + "\n", encoding="utf-8")
        _refuse_taken(target, overwrite=overwrite)
        if target.exists():
            shutil.rmtree(target)
    return DemoDataset(
        root=target,
        spec=target / _SPEC,
        images=tuple(sorted((target / _IMAGES).iterdir())),
        tfrecords=tuple(sorted((target / _TFRECORDS).iterdir())),
        objects=sum(frame.objects for frame in frames),
    )


@dataclass(frozen=True)
class _Frame:
    record: bytes
    objects: int


def _refuse_taken(target: Path, *, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        made = (target / _MARK).is_file()
        hint = "Name another one, or add --overwrite to replace what an earlier demo made." if made else _NAME_ANOTHER
        raise OutputExistsError("The folder is already there.", where=str(target), hint=hint)
    if not (target / _MARK).is_file():
        raise OutputExistsError(
            "The folder was not made by int8cal demo, so it is not replaced.",
            where=str(target),
            hint=_NAME_ANOTHER,
        )


def _in_order(draw: Callable[[int], _Frame], images: int, progress: Progress | None) -> list[_Frame]:
    frames = []
    with (
        watched(progress, images, "drawing") as advance,
        closing(map_on_threads(draw, range(images), _THREADS)) as drawn,
    ):
        for frame in drawn:
            frames.append(frame)
            advance(1)
    return frames


def _write_frame(root: Path, seed: int, image_format: ImageFormat, size: Size, index: int) -> _Frame:
    """Draw picture ``index`` and write it with its labels. Its random numbers depend on seed and index alone."""
    scene = draw_scene(np.random.default_rng((seed, index)), size)
    labels = [label(thing, scene.camera.eye) for thing in scene.objects]
    stem = f"{index:06d}"
    _save(scene.image, root / _IMAGES / f"{stem}.{image_format}")
    lines = "".join(f"{item.line()}\n" for item in labels)
    (root / _LABELS / f"{stem}.txt").write_text(lines, encoding="ascii")
    return _Frame(example(f"{_IMAGES.name}/{stem}", size, labels), len(labels))


def _save(image: ImageHWC_u8, path: Path) -> None:
    if path.suffix == ".png":  # noisy pictures: one filter and short matches are as small as all, seven times as fast
        encoded = imagecodecs.png_encode(image, level=1, strategy=PNG.STRATEGY.RLE, filter=PNG.FILTER.AVG)
        path.write_bytes(encoded)
    else:
        Image.fromarray(image).save(path, quality=_JPEG_QUALITY)


def _write_tfrecords(folder: Path, frames: Sequence[_Frame], seed: int, *, validation_split: bool) -> None:
    """Partition the frames at random into two folds of some shards, as ``dataset_convert`` does."""
    folder.mkdir()
    order = np.random.default_rng(seed).permutation(len(frames))
    border = max(1, round(VALIDATION_SHARE * len(frames))) if validation_split else 0
    folds = (order[:border], order[border:])
    for fold, members in enumerate(folds):
        for shard, part in enumerate(np.array_split(members, _SHARDS)):
            name = shard_name(_RECORDS_STEM, fold, len(folds), shard, _SHARDS)
            (folder / name).write_bytes(tfrecord(frames[index].record for index in part))
