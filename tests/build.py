"""Small data made on the spot: records, TFRecord files and PNG files, sound or damaged on purpose."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from int8cal.samples.tfrecord import Example, frame_record

BOX = tuple(f"target/coordinates_{edge}" for edge in ("x1", "x2", "y1", "y2"))
LABELS = ("target/object_class", *BOX)


def record(
    frame_id: str | bytes | None = "png/000000",
    height: int | None = 60,
    width: int | None = 80,
    labels: Sequence[str] = LABELS,
) -> bytes:
    """A serialised tf.train.Example as the KITTI converter writes it; None leaves a feature out. No objects."""
    example = Example()
    features = example.features.feature
    if frame_id is not None:
        name = frame_id.encode() if isinstance(frame_id, str) else frame_id
        features["frame/id"].bytes_list.value.append(name)
    for feature, value in (("frame/height", height), ("frame/width", width)):
        if value is not None:
            features[feature].int64_list.value.append(value)
    for label in labels:
        (features[label].bytes_list if label == "target/object_class" else features[label].float_list).SetInParent()
    return example.SerializeToString()


def write_records(path: Path, payloads: Iterable[bytes]) -> Path:
    """A TFRecord file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(frame_record, payloads)))
    return path


def zeros_deflated(mebibytes: int) -> bytes:
    """A zlib stream of so many MiB of zeros, at least two, put together from one deflated MiB."""
    deflate = zlib.compressobj(9)
    first, again = (deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    adler = (mebibytes << 20) % 65521 << 16 | 1
    return first + again * (mebibytes - 1) + b"\x03\x00" + struct.pack(">I", adler)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, bit_depth: int, colour_type: int) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0))


def png_file(
    rows: np.ndarray, *, width: int, bit_depth: int = 8, colour_type: int = 2, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG of unfiltered rows.

    Args:
        rows: height × bytes per row, uint8, packed as PNG packs them.
        width: in pixels.
        bit_depth: bits per channel.
        colour_type: as in the PNG specification.
        before: chunks between the header and the pixels.
        after: chunks between the pixels and the end.
    """
    raw = np.insert(rows, 0, 0, axis=1).tobytes()
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            png_header(width, len(rows), bit_depth, colour_type),
            before,
            png_chunk(b"IDAT", zlib.compress(raw)),
            after,
            png_chunk(b"IEND", b""),
        )
    )
