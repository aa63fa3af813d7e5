"""A tensorfile in the forms that other quantisers read. Streaming: one batch is in memory, whatever the file's size."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from int8cal.errors import UsageError
from int8cal.exports.readers import Rebatched
from int8cal.io.arguments import checked_arguments
from int8cal.io.file_kinds import NPY, NPZ, POLYGRAPHY_SCRIPT
from int8cal.io.files import OutputFile
from int8cal.io.folders import new_folder
from int8cal.io.paths import absolute, output_errors
from int8cal.io.progress import watched
from int8cal.io.safe_text import short_repr
from int8cal.io.space import require_free_space
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.batches import BatchesLike, opened
from int8cal.tensorfile.checksums import IMAGE_BYTES, image_checksum
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.layout import PARTS, SAMPLE_FIELDS_1, SampleRow
from int8cal.tensorfile.shards import TensorFileOutput
from int8cal.tensorfile.writer import TensorFileWriter
from int8cal.types import Batches, BatchNCHW_f32, Format, Layout, Progress

_WITH_BATCHES = frozenset({"polygraphy", "tensorfile"})
_WITH_NAME = ("npz", "polygraphy")
_LONGEST_NAME = 250
"""Bytes of a name that becomes one of a file."""
DEFAULT_NAME = "input_1"
INPUT_LIST = "input_list.txt"
TAKEN_BY: Mapping[Format, str] = {
    "npz": "python -m modelopt.onnx.quantization --onnx_path MODEL.onnx --calibration_data_path {file}",
    "npy": "int8cal quantize MODEL.onnx {file} -o MODEL.int8.onnx",
    "raw": f"cd {{file}} && qnn-onnx-converter --input_network /PATH/TO/MODEL.onnx --input_list {INPUT_LIST}",
    "polygraphy": "polygraphy convert MODEL.onnx --int8 --data-loader-script {file} -o MODEL.engine",
    "tensorfile": "int8cal verify {file}",
}
"""How another program takes what was written, ``{file}``; the names in `INPUT_LIST` are those within its folder."""
_RAW_NAMES = re.compile(rf"\d{{8,}}\.raw|{re.escape(INPUT_LIST)}")

_POLYGRAPHY_SCRIPT = '''\
"""Polygraphy data loader made by int8cal: polygraphy … --data-loader-script this_file.py"""

import os

from int8cal import TensorFile, readers


def load_data():
    file = TensorFile(os.path.join(os.path.dirname(os.path.abspath(__file__)), {path}))
    return readers.polygraphy({batches}, {name})
'''

_KINDS = {"npz": NPZ, "npy": NPY, "polygraphy": POLYGRAPHY_SCRIPT}
"""What ``--overwrite`` may replace, by format."""


@dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    Attributes:
        path: file or folder.
        format: one of `FORMATS`.
        shape: of one batch where the format keeps batches, else of the whole array; in the layout asked for.
        images: how many are in it.
        dropped: how many at the end were left out, as allowed by ``drop_remainder``.
    """

    path: str
    format: Format
    shape: tuple[int, ...]
    images: int
    dropped: int = 0


@checked_arguments(rebatch=1)
def export(
    batches: BatchesLike,
    out: str | os.PathLike[str],
    to: Format,
    *,
    name: str | None = None,
    layout: Layout = "nchw",
    rebatch: int | None = None,
    drop_remainder: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write batches in another form.

    Args:
        batches: a tensorfile or its path, `int8cal.Plan.batches`, or what else `int8cal.tensorfile.batches.opened`
            takes; for ``polygraphy`` a tensorfile.
        out: file to write; for ``raw`` a folder to make.
        to: ``npz``: one array of all images under ``name`` (ModelOpt). ``npy``: the same without name. ``raw``: a file
            of float32 values per image with ``input_list.txt`` (SNPE, QNN and alike; the list holds plain names: run
            the tool inside the folder). ``polygraphy``: a data loader script that reads the tensorfile where it lies.
            ``tensorfile``: a new tensorfile, for another batch size; one of batches that are in none has no manifest.
        name: the model's input, for ``npz`` and ``polygraphy``; None: ``input_1``.
        layout: order of dimensions in npz, npy and raw.
        rebatch: images per batch, for ``polygraphy`` and ``tensorfile``.
        drop_remainder: leave out the last images when their number does not fill a batch.
        overwrite: replace an existing file of this format (never a folder).
        progress: told about each batch.

    Raises:
        UsageError: options that do not fit together, or images that do not fill the last batch.
        OutputError: the result cannot be written, or exists already.
        TensorFileError: the tensorfile is unsound.
    """
    _check_options(to, name, layout, rebatch, drop_remainder=drop_remainder, overwrite=overwrite)
    name = DEFAULT_NAME if name is None else name
    path = os.fspath(out)
    with opened(batches) as original:
        source = original if rebatch is None else Rebatched(original, rebatch, drop_remainder=drop_remainder)
        if to == "raw":
            return _raw(source, path, layout, progress)
        if to == "tensorfile":
            tensorfile = TensorFileOutput(path, overwrite=overwrite, inputs=original.paths)
            return _tensorfile(original, source, tensorfile, progress)
        output = OutputFile(path, overwrite=overwrite, inputs=original.paths, replaces=_KINDS[to])
        if to == "polygraphy":
            return _polygraphy(original, source, output, name, rebatch)
        return _array(source, output, to, name, layout, progress)


def _check_options(
    to: str, name: str | None, layout: str, rebatch: int | None, *, drop_remainder: bool, overwrite: bool
) -> None:
    if name is not None:
        _check_name(to, name)
    if rebatch is not None and to not in _WITH_BATCHES:
        raise UsageError(f"{to} holds single images: there is nothing to re-batch", hint="Leave --rebatch out.")
    if rebatch is None and drop_remainder:
        raise UsageError("images are left over only when batches change", hint="Add --rebatch N.")
    if layout != "nchw" and to in _WITH_BATCHES:
        raise UsageError(f"{to} holds batches as they are, NCHW", hint="Use npz, npy or raw for NHWC.")
    if overwrite and to == "raw":
        raise UsageError("a folder is never overwritten", hint="Delete it first, or choose another name.")


def _check_name(to: str, name: str) -> None:
    if to not in _WITH_NAME:
        raise UsageError(f"{to} has no place for the name of an input", hint=f"--name is for {', '.join(_WITH_NAME)}.")
    leaves = name.startswith("/") or ".." in name.split("/")
    wrong = not name or leaves or "\\" in name or not name.isprintable() or len(name.encode()) > _LONGEST_NAME
    if to == "npz" and wrong:
        raise UsageError(
            f"{short_repr(name)} cannot be the name of an array in an npz file: unpacked, it would lie elsewhere",
            hint="Choose a plain name, and map it to the model's input where the file is read.",
        )


def _laid_out(source: Batches, layout: Layout, progress: Progress | None) -> Iterator[BatchNCHW_f32]:
    """Batches as little-endian float32 in the wanted order of dimensions, C-contiguous."""
    with watched(progress, source.image_count, "writing") as advance:
        for batch in source:
            images = len(batch)
            laid_out = np.ascontiguousarray(batch if layout == "nchw" else batch.transpose(0, 2, 3, 1), "<f4")
            del batch  # not kept while the next one is read
            yield laid_out
            del laid_out
            advance(images)


def _image_shape(source: Batches, layout: Layout) -> tuple[int, int, int]:
    _, channels, height, width = source.shape
    return (channels, height, width) if layout == "nchw" else (height, width, channels)


def _bytes(source: Batches) -> int:
    return source.image_count * int(np.prod(source.shape[1:])) * 4


def _array(
    source: Batches, output: OutputFile, to: Format, name: str, layout: Layout, progress: Progress | None
) -> Exported:
    path, shape = output.path, (source.image_count, *_image_shape(source, layout))
    with output:
        require_free_space(os.path.dirname(absolute(path)), _bytes(source))
        with (
            output_errors(path, "cannot be written", hint="Check free space, quota and permissions."),
            open(output.scratch, "wb") as file,
        ):
            if to == "npy":
                _write_npy(file, shape, _laid_out(source, layout, progress))
            else:
                with (
                    zipfile.ZipFile(file, "w") as archive,
                    archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member,
                ):
                    _write_npy(member, shape, _laid_out(source, layout, progress))
        output.commit()
    return Exported(path, to, shape, source.image_count)


def _write_npy(file: IO[bytes], shape: tuple[int, ...], batches: Iterator[BatchNCHW_f32]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    for batch in batches:
        file.write(batch.data)
        del batch  # not kept while the next one is read


def _raw(source: Batches, path: str, layout: Layout, progress: Progress | None) -> Exported:
    shape = _image_shape(source, layout)
    with (
        new_folder(path, holding=_RAW_NAMES) as folder,
        output_errors(path, "cannot be written", hint="Check free space, quota and permissions."),
    ):
        require_free_space(folder, _bytes(source))
        names: list[str] = []
        for batch in _laid_out(source, layout, progress):
            for image in batch:
                names.append(f"{len(names):08d}.raw")
                with open(os.path.join(folder, names[-1]), "wb") as file:  # `tofile` loses why it failed
                    file.write(image.data)
        with open(os.path.join(folder, INPUT_LIST), "w", encoding="ascii", newline="\n") as listing:
            listing.writelines(f"{name}\n" for name in names)
    return Exported(path, "raw", shape, source.image_count)


def _polygraphy(file: Batches, source: Batches, output: OutputFile, name: str, rebatch: int | None) -> Exported:
    if not isinstance(file, TensorFile):
        raise UsageError(
            "the script for Polygraphy reads a tensorfile", hint="Make one first: int8cal.make(plan, path)."
        )
    dropped = source.dropped if isinstance(source, Rebatched) else 0
    drop = ", drop_remainder=True" if dropped else ""
    script = _POLYGRAPHY_SCRIPT.format(
        path=ascii(os.path.relpath(file.path, os.path.dirname(absolute(output.path)))),
        batches=f"readers.rebatch(file, {rebatch}{drop})" if rebatch else "file",
        name=ascii(name),
    )
    with output:
        output.write(script.encode())
        output.commit()
    return Exported(output.path, "polygraphy", source.shape, source.image_count, dropped)


def _tensorfile(file: Batches, source: Batches, output: OutputFile, progress: Progress | None) -> Exported:
    if source.image_count % source.shape[0]:
        raise UsageError(
            f"the last batch has fewer images than {source.shape[0]}: a tensorfile holds batches of one size",
            hint="Give rebatch a divisor of the number of images, or drop_remainder=True with it.",
        )
    compression = Compression.named("fast")
    with output:
        output.require_space(int(_bytes(source) * compression.typical_ratio))
        with TensorFileWriter(output.scratch, source.shape, compression, name=output.path) as writer:
            checksums = []
            for batch in _laid_out(source, "nchw", progress):
                for image in batch:
                    writer.append(compression.encode(image))
                    checksums.append(image_checksum(image))
            record = (
                (_manifest(file, source, compression), _samples(file, source, checksums))
                if isinstance(file, TensorFile)
                else (None, [])
            )
            writer.finish(*record)
        output.commit()
    dropped = source.dropped if isinstance(source, Rebatched) else 0
    return Exported(output.path, "tensorfile", source.shape, source.image_count, dropped)


def _manifest(file: TensorFile, source: Batches, compression: Compression) -> dict[str, Any] | None:
    """The manifest of the original, if it has one, with the new batches and chunks and a note of what was done."""
    if file.manifest is None:
        return None
    return {
        **{key: value for key, value in file.manifest.items() if key != PARTS},
        "batches": len(source),
        "batch_size": source.shape[0],
        "compression": compression.name,
        "image_shape": list(source.shape[1:]),
        "rebatched": {
            "batches": len(file),
            "batch_size": file.shape[0],
            "dropped": file.image_count - source.image_count,
        },
    }


def _samples(file: TensorFile, source: Batches, checksums: Sequence[bytes]) -> list[SampleRow]:
    """The sample table with the new places and checksums; rows of images that were left out go."""
    if file.samples is None:
        return []
    rows = []
    for row in file.samples.tolist():
        sample = SampleRow(*(*row[: len(SAMPLE_FIELDS_1)], bytes(IMAGE_BYTES)))
        place = sample.batch * file.shape[0] + sample.position
        if sample.batch >= 0 and place >= source.image_count:
            continue
        if sample.batch >= 0:
            batch, position = divmod(place, source.shape[0])
            sample = sample._replace(batch=batch, position=position, xxh3_128=checksums[place])
        rows.append(sample)
    return rows
