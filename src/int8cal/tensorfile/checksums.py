"""Checksums that tell a damaged tensorfile from a sound one.

XXH3-128 takes 0.24 ms for an image of 960×544, where SHA-256 takes 3.4. It notices damage. It does not protect
against somebody who forges a file, since anybody can make the checksums of a forged one.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import xxhash

from int8cal.tensorfile.layout import RECORD_CHECKSUM
from int8cal.types import ImageCHW_f32

IMAGE_BYTES = 16
"""Bytes of the checksum of an image."""

NO_DIGEST = "0" * 32
"""Stands in the manifest while its checksum is computed."""
_STATED = re.compile(rb'"%s":"([0-9a-f]{32})"' % RECORD_CHECKSUM.encode())


def image_checksum(image: ImageCHW_f32) -> bytes:
    """XXH3-128 over the values of an image as little-endian float32 in C order, 16 bytes."""
    return xxhash.xxh3_128_digest(np.ascontiguousarray(image, "<f4").data)


def digest_of(image: ImageCHW_f32) -> bytes:
    """16 bytes that stand for the bits of an image, for which nobody can make two images."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def record_with_checksum(text: str, table: np.ndarray[Any, np.dtype[np.void]] | None) -> str:
    """A manifest's text in which the place of the record's checksum, 32 zeros, is filled in.

    Args:
        text: JSON that holds `RECORD_CHECKSUM` with 32 zeros, written without spaces.
        table: the sample table beside it, packed; None when there is none.
    """
    digest = _record_digest(text.encode("ascii"), table)
    return text.replace(f'"{RECORD_CHECKSUM}":"{NO_DIGEST}"', f'"{RECORD_CHECKSUM}":"{digest}"')


def record_is_intact(text: bytes, table: np.ndarray[Any, np.dtype[np.void]] | None) -> bool:
    """Whether a manifest's text, and the sample table beside it, are those that `record_with_checksum` saw."""
    stated = _STATED.findall(text)
    if len(stated) != 1:
        return False
    return bool(stated[0].decode() == _record_digest(text.replace(stated[0], NO_DIGEST.encode()), table))


def _record_digest(text: bytes, table: np.ndarray[Any, np.dtype[np.void]] | None) -> str:
    digest = xxhash.xxh3_128(text)
    if table is not None:
        digest.update(table.tobytes())
    return digest.hexdigest()
