"""Standard streams that never surprise: missing ones are /dev/null, and what cannot be written is an error of ours."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

from int8cal.errors import OutputError

_STANDARD = (0, 1, 2)


class StdoutError(OutputError):
    """Standard output takes no more.

    Args:
        error: what the system said.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"cannot be written: {error.strerror}",
            where="standard output",
            hint="Send the output elsewhere, or free some space.",
        )
        self.reader_gone = error.errno == errno.EPIPE
        """The reader of a pipe has seen enough, which is no error of anybody."""


class _Stdout(io.FileIO):
    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            raise StdoutError(error) from error


class _Stderr(io.FileIO):
    """Drops what cannot be written: there is no place to say so."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError:
            return memoryview(content).nbytes


def prepare() -> None:
    """Make standard streams out of whatever the process was started with. For the entry point alone."""
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file that is opened would become this stream
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = _text(_Stdout(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Stderr(2, "w", closefd=False), sys.stderr)


def give_up_stdout() -> None:
    """Send what is left for standard output to nowhere, so that it fails no second time when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _text(file: io.FileIO, like: object) -> io.TextIOWrapper:
    """A text stream on ``file``; names that its encoding lacks are escaped."""
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
