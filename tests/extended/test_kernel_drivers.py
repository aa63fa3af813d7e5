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


def built(repository: Path, folder: Path, name: str, *options: str, compiler: str = "cc") -> Path:
    program, kernels = folder / "driver", repository / "src" / "int8cal" / "native"
    others = {"encode": [kernels / "encode.c"], "registers": kernels.glob("*.c")}
    sources = [Path(__file__).with_name(f"{name}_driver.c"), *others.get(name, ())]
    libraries = ["-lm"] if "-DNO_ZLIB" in options else ["-lz", "-lm"]
    command = [compiler, "-g", "-std=c11", f"-I{kernels}", *options, *sources, *libraries, "-o", program]
    subprocess.run(command, check=True)
    return program


def ran(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_small_images_under_sanitizers_read_back(repository: Path, tmp_path: Path) -> None:
    assert f"{IMAGES} images" in ran(built(repository, tmp_path, "encode", *SANITIZERS), IMAGES, 7)


SAME = (3000, 9)
"""Number of images, and seed."""


def encoder(repository: Path, folder: Path, *options: str, compiler: str = "cc") -> Path:
    folder.mkdir()
    return built(repository, folder, "encode", "-O3", "-ffp-contract=off", *options, compiler=compiler)


def test_streams_are_the_same_without_vector_instructions_and_on_aarch64(repository: Path, tmp_path: Path) -> None:
    usual = ran(encoder(repository, tmp_path / "usual"), *SAME)
    assert "streams" in usual
    assert ran(encoder(repository, tmp_path / "plain", PLAIN), *SAME) == usual
    other = encoder(repository, tmp_path / "aarch64", "-static", "-DNO_ZLIB", compiler="aarch64-linux-gnu-gcc")
    assert ran("qemu-aarch64", other, *SAME) == usual


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
