"""The tensorfile format on one page. Both the writer and the reader take every name and limit from here.

A tensorfile is an HDF5 file (superblock 0, old-style groups: what ``libver="earliest"`` writes)::

    /                                   attributes: count  int64 scalar, number of batches
                                                    shape  int64[4], (B, C, H, W) of every batch; absent without batches
                                                    int8cal  JSON text, the manifest (files of int8cal only)
    /_tensorfile_array_key__<n>         group of batch n = 0, 1, … (two underscores before the number)
        _tensorfile_array_key_          float32 little-endian (B, C, H, W)
    /int8cal_samples                    one row per sample, see `SAMPLE_FIELDS` (files of int8cal only)

Readers of NVIDIA's tools look groups up by name and see neither the manifest nor the sample table. Each image is one
chunk (1, C, H, W), shuffled and deflated, so that chunks can be compressed on threads and written as they are.

Checksums (since format version 2): the sample table holds one of each image's array, the manifest one of itself and the
table; see `int8cal.tensorfile.checksums`. What a part holds is in the sample table of its head.

A tensorfile may be spread over several files: then the groups of this one, the head, are external links to groups of
its siblings, which its manifest declares (`Part`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from int8cal.io.file_kinds import TENSORFILE_DATASET

if TYPE_CHECKING:
    import numpy as np

GROUP_PREFIX = "_tensorfile_array_key__"
DATASET = TENSORFILE_DATASET
FORMAT_VERSION = 2
"""``schema`` of the manifest. 1: the sample table has no column ``xxh3_128``, the manifest no ``record_xxh3_128``."""

COUNT = "count"
SHAPE = "shape"
MANIFEST = "int8cal"
SAMPLES = "int8cal_samples"
RECORD_CHECKSUM = "record_xxh3_128"
"""Key of the manifest with the checksum of manifest and sample table, 32 hexadecimal digits."""
TEXT_WIDTHS = "sample_text_bytes"
"""Key of the manifest with the bytes of each text column of the sample table: the table's own bytes do not tell where
one column ends. Files that were made before it was there are read without."""
PARTS = "parts"
"""Key of the manifest under which a head file declares its parts, each with the fields of `Part`."""

DATA_SET, FOLDER, FOLDER_RECURSIVE = "data set", "folder", "folder, recursive"
"""Where a manifest says (``images``) that the images came from."""

MAX_PARTS = 100
"""Most part files of one tensorfile: all of them must be declared in the manifest."""

MAX_BATCH_BYTES = 1 << 31
"""Largest batch that is written or read, in bytes of float32: 2 GiB. Keeps hostile files from taking memory."""

MAX_MANIFEST_BYTES = 60_000
"""Largest manifest: HDF5 keeps an attribute in the object header, which holds at most 64 KiB."""

MAX_SAMPLES_BYTES = 1 << 30
"""Largest sample table that is read, uncompressed."""

MAX_SAMPLES_EXPANSION = 64
"""How many times larger than the whole file the sample table may be: a third of each row are hashes, which no
compression makes smaller."""

MAX_SEED = (1 << 32) - 1
"""Largest seed of a sample order: the reference's generators take unsigned 32-bit numbers."""

SKIPPED = -1
"""``batch`` of a sample that was left out."""


class Part(NamedTuple):
    """What the manifest of a head file says about one of its parts, in the order of the batches."""

    name: str
    """Name of the file, a sibling of the head."""
    batches: int
    """How many batches it holds, numbered from 0 in the file itself."""
    sha256: str
    """SHA-256 of the whole file, hexadecimal."""


class SampleRow(NamedTuple):
    """One row of the sample table: where a sample went, and where it came from."""

    batch: int
    """Batch that holds the sample; -1 when it was skipped."""
    position: int
    """Position in the batch; -1 when it was skipped."""
    source: int
    """Index of the data source in the spec."""
    frame_id: bytes
    """Name of the sample in its source, UTF-8 (other bytes as they were)."""
    record_file: bytes
    """Base name of the TFRecord file; empty without one."""
    record_offset: int
    """Byte offset of the record in that file; -1 without a TFRecord."""
    record_crc: int
    """Masked CRC-32C of the record's payload; 0 without a TFRecord."""
    height: int
    """Height of the decoded image in pixels; 0 when it was skipped."""
    width: int
    """Width of the decoded image in pixels; 0 when it was skipped."""
    encoded_bytes: int
    """Size of the encoded image in bytes; 0 when it was skipped."""
    sha256: bytes
    """SHA-256 of the encoded image, 32 bytes; zeros when it was skipped."""
    xxh3_128: bytes
    """XXH3-128 of the image's array in the file, 16 bytes; zeros when it was skipped. Absent in format version 1."""


SAMPLE_FIELDS: tuple[tuple[str, str], ...] = (
    ("batch", "<i4"),
    ("position", "<i4"),
    ("source", "<i4"),
    ("frame_id", "S"),  # text is as long as the longest one
    ("record_file", "S"),
    ("record_offset", "<i8"),
    ("record_crc", "<u4"),
    ("height", "<i4"),
    ("width", "<i4"),
    ("encoded_bytes", "<i8"),
    ("sha256", "V32"),
    ("xxh3_128", "V16"),
)
"""Columns of the sample table with their NumPy types, in the order of `SampleRow`."""

SAMPLE_FIELDS_1 = SAMPLE_FIELDS[:-1]
"""Those of format version 1."""


def text_widths(table: np.dtype[Any]) -> dict[str, int]:
    """Bytes of each text column of a sample table, by its dtype."""
    return {name: table[name].itemsize for name, kind in SAMPLE_FIELDS if kind == "S"}


def is_of_folder(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest says that the images came from a folder, and so from no split of a data set."""
    return manifest.get("images") in (FOLDER, FOLDER_RECURSIVE)


def is_run(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is the record of a run; else the file was copied from one without a manifest."""
    return "network" in manifest or "rebatched" not in manifest


def is_seed(value: object) -> TypeGuard[int]:
    """Whether a run can have this seed: an unsigned 32-bit number."""
    return type(value) is int and 0 <= value <= MAX_SEED


def split_text(manifest: Mapping[str, Any]) -> str:
    """Where a manifest says that the images came from, in words for people."""
    if is_of_folder(manifest):
        return "none: images of a folder"
    return "none" if manifest.get("split") is None else str(manifest["split"])


def group_name(batch: int) -> str:
    """Name of the group of a batch."""
    return f"{GROUP_PREFIX}{batch}"
