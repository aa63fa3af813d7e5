"""A decoder in another Python, whose libraries are those of the references: asked over pipes, image after image."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

WORKERS = Path(__file__).parent / "workers"


class OtherPython:
    """A worker of `workers` that is running.

    Args:
        python: interpreter that runs it.
        worker: name of its file.
    """

    def __init__(self, python: str, worker: str) -> None:
        self._process = subprocess.Popen(
            [python, WORKERS / worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def decode(self, encoded: bytes, channels: int = 3, *, fast_dct: bool = False) -> tuple[str, bytes]:
        """The worker's first line and what follows it."""
        self._process.stdin.write(struct.pack("<IBB", len(encoded), channels, fast_dct) + encoded)
        self._process.stdin.flush()
        (length,) = struct.unpack("<I", self._process.stdout.read(4))
        line, _, rest = self._process.stdout.read(length).partition(b"\n")
        return line.decode(errors="replace"), rest
