"""Kernels alone, as C programs: under sanitizers, and for another processor."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.extended

IMAGES = 20_000
"""A million take three minutes; that was done by hand, see the head of the program."""


SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PLAIN = "-U__SSE2__"
"""What other architectures compile."""


def built(repository: Path, folder: Path, name: str, *options: str) -> Path:
    program, kernels = folder / "driver", repository / "src" / "int8cal" / "native"
    others = {"encode": [kernels / "encode.c"], "registers": kernels.glob("*.c")}
    sources = [Path(__file__).with_name(f"{name}_driver.c"), *others.get(name, ())]
    command = ["cc", "-g", "-std=c11", f"-I{kernels}", *options, *sources, "-lz", "-lm", "-o", program]
    subprocess.run(command, check=True)
    return program


def ran(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_small_images_under_sanitizers_read_back(repository: Path, tmp_path: Path) -> None:
    assert f"{IMAGES} images" in ran(built(repository, tmp_path, "encode", *SANITIZERS), IMAGES, 7)


def test_the_way_without_vector_instructions_writes_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    streams = []
    for name, options in (("sse2", ()), ("plain", (PLAIN,))):
        folder = tmp_path / name
        folder.mkdir()
        streams.append(ran(built(repository, folder, "encode", "-O3", *options), 3000, 9))
    assert streams[0] == streams[1]


@pytest.mark.parametrize("options", [(), (PLAIN,)], ids=["sse2", "plain"])
def test_antialiased_images_under_sanitizers_are_the_sums(
    repository: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert f"{IMAGES} images" in ran(built(repository, tmp_path, "antialias", *SANITIZERS, *options), IMAGES, 7)


def test_values_under_sanitizers_are_put_together_and_counted(repository: Path, tmp_path: Path) -> None:
    assert f"{IMAGES} arrays" in ran(built(repository, tmp_path, "values", *SANITIZERS), IMAGES, 7)


@pytest.mark.parametrize("options", [(), (PLAIN,)], ids=["sse2", "plain"])
def test_png_pixel_data_under_sanitizers_are_those_of_zlib(
    repository: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert f"{IMAGES} streams" in ran(built(repository, tmp_path, "png", *SANITIZERS, *options), IMAGES, 7)


def test_kernels_empty_the_registers_that_others_left_in_use(repository: Path, tmp_path: Path) -> None:
    assert ran(built(repository, tmp_path, "registers", "-O2")) in ("8 kernels\n", "this processor cannot tell\n")
