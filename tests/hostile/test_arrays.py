"""Arrays for ``int8cal quantize`` that NumPy or zipfile cannot take: each is that file's error, at a bounded cost."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from int8cal.demo.evaluate import CLASSIFIER


def header(text: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text.encode() + body


def of_shape(shape: str) -> bytes:
    return header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n", bytes(64))


def archive(change: Callable[[bytearray, int], None] | None = None, **members: bytes) -> bytes:
    """A zip archive, of which something is changed behind the place of its directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("_", "."), data)
    data = bytearray(buffer.getvalue())
    if change:
        change(data, data.index(b"PK\x01\x02"))
    return bytes(data)


def field(local: int, central: int, value: int) -> Callable[[bytearray, int], None]:
    """Sets two bytes of the entry, in both its places."""

    def change(data: bytearray, directory: int) -> None:
        data[local : local + 2] = value.to_bytes(2, "little")
        data[directory + central : directory + central + 2] = value.to_bytes(2, "little")

    return change


SOUND = of_shape("(1, 1, 4, 4)")
FILES = {
    "negative.npy": of_shape("(-4, 3, 2, 2)"),
    "truth.npy": of_shape("(True, 1, 4, 4)"),
    "overflow.npy": of_shape("(4611686018427387904, 3, 64, 64)"),
    "brackets.npy": header("[" * 3000 + "\n"),
    "minus.npy": header("-" * 9500 + "1\n"),
    "empty.npy": b"",
    "text.npz": archive(a_txt=b"hello"),
    "encrypted.npz": archive(field(6, 8, 1), a_npy=SOUND),
    "method.npz": archive(field(8, 10, 99), a_npy=SOUND),
    "version.npz": archive(field(4, 6, 255), a_npy=SOUND),
}


@pytest.mark.parametrize("name", FILES)
def test_what_cannot_be_read_is_the_files_error(run_cli: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    done = run_cli("quantize", str(CLASSIFIER), name, "-o", "o.onnx")
    assert done.code == 7, done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert name in done.stderr
    assert not (tmp_path / "o.onnx").exists()


def test_an_archive_that_inflates_to_far_more_than_it_takes(run_process: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((100, 3, 416, 416), np.float32))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", buffer.getvalue())
    done = run_process("quantize", str(CLASSIFIER), "bomb.npz", "-o", "o.onnx")
    assert done.code == 7
    assert "inflates to" in done.stderr
