"""The bytes of a spec, from a file or a pipe, read exactly once.

A pipe cannot be read a second time, so that whoever needs a spec twice (to find its network, then to parse it) passes
the bytes on. ``-e /dev/stdin`` and ``-e <(command)`` work as files do. A named pipe that no program opens for writing
would block for ever; it is refused after `WRITER_SECONDS`. Once there is a writer, however slow, it is read to its end.
"""

from __future__ import annotations

import errno
import re
from typing import NamedTuple

from int8cal.errors import SpecError
from int8cal.io.file_kinds import HDF5_SIGNATURE, ONNX_BEGINNING
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.paths import NoWriterError, near_names, read_once, refuse_missing_address
from int8cal.io.safe_text import printable

MAX_BYTES = 16 * 1024 * 1024
WRITER_SECONDS = 5.0
"""How long a pipe may have no writer."""


_NOT_SPECS = (
    (ONNX_BEGINNING, "an ONNX model", "A model goes to: int8cal quantize MODEL.onnx FILE -o OUT.onnx"),
    (re.escape(HDF5_SIGNATURE), "an HDF5 file", "A tensorfile is checked by: int8cal verify FILE -e SPEC"),
)


class Wanted(NamedTuple):
    """What a file should be, for messages: its short name, its whole name, and what it says."""

    name: str
    title: str
    content: str


SPEC = Wanted("spec", "the training spec", "the training configuration")
PREPROCESSING = Wanted("preprocessing file", "the file of --preprocess", "size, resize, scale, mean and std")


def read_bytes(path: str, wanted: Wanted = SPEC) -> bytes:
    """Read a spec file, or another small text, at most `MAX_BYTES` of it.

    Raises:
        SpecError: the file is not there, cannot be read or is too large, or a pipe has no writer.
        UsageError: the path is the address of a remote file.
    """
    try:
        data = read_once(path, MAX_BYTES, writer_seconds=WRITER_SECONDS)
    except NoWriterError as error:
        raise SpecError(
            f"this is {error.strerror}",
            where=printable(path),
            hint=f"Start the program that writes the {wanted.name}, or give a file.",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise_if_lacking(error, printable(path))
        refuse_missing_address(path)
        raise _unreadable(path, error, wanted) from None
    for beginning, what, goes in _NOT_SPECS:
        if re.match(beginning, data, re.DOTALL):
            raise SpecError(
                f"this is {what}, not a {wanted.name}",
                where=printable(path),
                hint=f"Give {wanted.title}. {goes}",
            )
    if len(data) > MAX_BYTES:
        raise SpecError(
            f"the file is larger than {MAX_BYTES // 1024 // 1024} MB, which no {wanted.name} is",
            where=printable(path),
            hint=f"Is this the {wanted.name}? Give the text file with {wanted.content}.",
        )
    return data


def _unreadable(path: str, error: OSError | ValueError, wanted: Wanted) -> SpecError:
    file = f"{wanted.name.removesuffix(' file')} file"
    reasons = {
        errno.ENOENT: f"there is no such {file}",
        errno.EISDIR: f"this is a folder, not a {file}",
        errno.EACCES: f"no permission to read the {file}",
    }
    code = error.errno if isinstance(error, OSError) else None
    reason = reasons.get(code or 0) or f"the {file} cannot be read ({getattr(error, 'strerror', None) or error})"
    hint = f"Check the path of {'the experiment spec' if wanted == SPEC else wanted.title}."
    if code == errno.ENOENT:
        hint = near_names(path, hint)
    return SpecError(reason, where=printable(path), hint=hint)
