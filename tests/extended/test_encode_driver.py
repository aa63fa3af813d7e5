"""The encoder alone, as a C program: under sanitizers, and for another processor."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.extended

IMAGES = 20_000
"""A million take three minutes; that was done by hand, see the head of the program."""


def built(repository: Path, folder: Path, *options: str, compiler: str = "cc") -> Path:
    program = folder / "driver"
    sources = (Path(__file__).with_name("encode_driver.c"), repository / "src" / "int8cal" / "native" / "encode.c")
    subprocess.run([compiler, "-g", "-std=c11", *options[:-1], *sources, options[-1], "-o", program], check=True)
    return program


def ran(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_small_images_under_sanitizers_read_back(repository: Path, tmp_path: Path) -> None:
    sanitizers = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert f"{IMAGES} images" in ran(built(repository, tmp_path, *sanitizers, "-lz"), IMAGES, 7)


def test_the_way_without_vector_instructions_writes_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    """-U__SSE2__ is what other architectures compile."""
    streams = []
    for name, options in (("sse2", ()), ("plain", ("-U__SSE2__",))):
        folder = tmp_path / name
        folder.mkdir()
        streams.append(ran(built(repository, folder, "-O3", *options, "-lz"), 3000, 9))
    assert streams[0] == streams[1]
