"""``int8cal doctor``: the facts about an installation that a bug report needs, and what is wrong with it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Final

import click

from int8cal import __version__, native
from int8cal.cli import console, endings
from int8cal.cli.options import json_option
from int8cal.engine import ENGINES
from int8cal.errors import UnavailableError

_EXTRAS: Final = {
    "quantize": (("onnx", "onnxruntime"), "quantize, compare and verify --model"),
    "report": (("jinja2",), "report and compare --html"),
    "opencv": (("opencv-python-headless",), "presets of int8cal images that OpenCV's loaders use"),
    **{name: ((entry.package,), f"--engine {name}") for name, entry in ENGINES.items() if entry.package},
    "mlflow": (("mlflow-skinny",), "logging to MLflow"),
}
_OPTIONAL = tuple(package for packages, _ in _EXTRAS.values() for package in packages)

TESTED_MAJORS: Final = {
    "click": {8}, "google-crc32c": {1}, "h5py": {3}, "ijson": {3}, "imagecodecs": {2026}, "isal": {1}, "jinja2": {3},
    "lmdb": {3}, "mlflow-skinny": {3}, "numpy": {2}, "onnx": {1}, "onnxruntime": {1}, "opencv-python-headless": {5},
    "pillow": {13}, "protobuf": {6, 7}, "pyyaml": {6}, "ray": {2}, "simplejpeg": {1}, "tqdm": {4}, "xxhash": {4},
}  # fmt: skip
"""Major versions that the tests run with: others may do, and were never tried together. Names in lower case."""

_PYTHONS = ((3, 11), (3, 14))
_LITTLE_MEMORY = 1 << 30
_LITTLE_DISK = 2 << 30


@click.command()
@click.option(
    "--output_dir", default=".", show_default=True, metavar="DIR", help="Folder of results: its disk and file locks."
)
@json_option
def doctor(*, output_dir: str, as_json: bool) -> None:
    """Versions and environment, for bug reports, and what is wrong with them. Exit code 8 if there is a problem.

    \b
    Examples:
      int8cal doctor
      int8cal doctor --output_dir /mnt/results --json
    """
    judged = list(judgements(output_dir))
    problems = sum(level == "problem" for level, _ in judged)
    if as_json:
        console.print_json({"doctor": facts(), "judgements": [{"level": one, "text": text} for one, text in judged]})
    else:
        console.print_table(facts().items())
        console.print_lines(["", *(f"{level:<8} {text}" for level, text in judged)])
        if problems:
            console.print_lines([f"{problems} to mend before int8cal can be relied on here"])
        else:
            console.print_lines(["nothing stands in the way of int8cal here"])
            endings.print_next("", "int8cal demo")
    if problems:
        raise click.exceptions.Exit(UnavailableError.exit_code)


def judgements(output_dir: str) -> Iterator[tuple[str, str]]:
    """What is missing or doubtful, each with its level: ``problem``, ``warning`` or ``note``."""
    yield from _of_python()
    yield from _of_packages()
    yield from _of_extras()
    yield from _of_kernels()
    yield from _of_machine()
    yield from _of_folder(output_dir)


def _of_python() -> Iterator[tuple[str, str]]:
    version = sys.version_info[:2]
    if not _PYTHONS[0] <= version <= _PYTHONS[1]:
        yield "warning", f"Python {version[0]}.{version[1]} was never tested: use 3.11 to 3.14"
    if sys.platform != "linux":
        yield "warning", f"{platform.system()} was never tested: Linux on x86-64 and aarch64 is"


def _of_packages() -> Iterator[tuple[str, str]]:
    for name in (*_required(), *_OPTIONAL):
        version = _version(name)
        tested = TESTED_MAJORS.get(name.lower())
        major = re.match(r"\d+", version)
        if version == "not installed" and name not in _OPTIONAL:
            yield "problem", f"{name} is missing, and int8cal needs it"
        elif tested and major and int(major[0]) not in tested:
            listed = " and ".join(f"{one}.x" for one in sorted(tested))
            yield "warning", f"{name} {version} was never tested with this int8cal: {listed} was"


def _of_extras() -> Iterator[tuple[str, str]]:
    from int8cal.io.optional import install_hint

    for extra, (packages, use) in _EXTRAS.items():
        missing = [name for name in packages if _version(name) == "not installed"]
        if missing:
            yield "note", f"not installed: {', '.join(missing)}, for {use}. {install_hint(extra)}"


def _of_kernels() -> Iterator[tuple[str, str]]:
    if os.environ.get(native.SWITCH) == "0":
        yield "note", f"{native.SWITCH}=0: the kernels in C are not used, and runs take longer"
    elif not native.library():
        yield (
            "note",
            (
                "there are no kernels in C, and runs take longer: the results are the same. Install a C compiler, then "
                "int8cal anew, or take the wheel for this platform"
            ),
        )


def _of_machine() -> Iterator[tuple[str, str]]:
    from int8cal.io.threads import usable_cores

    cores, all_cores = usable_cores(), os.cpu_count() or 1
    if cores < all_cores:
        yield "note", f"{cores} of {all_cores} processors may be used here (affinity, or the container's quota)"
    memory = _usable_memory()
    if memory is not None:
        level = "warning" if memory < _LITTLE_MEMORY else "note"
        yield level, f"{memory / (1 << 30):.1f} GiB of memory are free"


def _of_folder(folder: str) -> Iterator[tuple[str, str]]:
    from int8cal.errors import Int8calError
    from int8cal.io.locks import Lock, hidden_name

    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield "problem", f"{folder} cannot hold results: {error.strerror}"
        return
    level = "warning" if free < _LITTLE_DISK else "note"
    yield level, f"{free / (1 << 30):.1f} GiB are free in {folder}"
    try:
        lock = Lock(os.path.join(folder, hidden_name("int8cal-doctor", "lock")))
        lock.take()
        exclusive = lock.exclusive
        lock.release()
    except (OSError, Int8calError) as error:
        yield "problem", f"{folder} cannot be written to: {getattr(error, 'strerror', None) or error}"
        return
    if not exclusive:
        yield "warning", f"{folder} is on a file system without file locks: let no two runs write the same file"


def _usable_memory() -> int | None:
    """Bytes that may be taken: of the machine, or what the container's limit leaves; None where neither is told."""
    found = []
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found += [int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:")]
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit:
            text = limit.read().strip()
        with open("/sys/fs/cgroup/memory.current", encoding="ascii") as used:
            if text.isdecimal():
                found.append(max(0, int(text) - int(used.read())))
    except (OSError, ValueError, IndexError):
        pass
    return min(found, default=None)


def facts() -> dict[str, Any]:
    """Versions of int8cal, of what it stands on and of the machine; paths and names of the user are not among them."""
    import h5py
    from isal import isal_zlib

    from int8cal.io.threads import usable_cores

    return {
        "int8cal": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "architecture": platform.machine(),
        "usable cores": str(usable_cores()),
        "byte order": sys.byteorder,
        **{name: _version(name) for name in _required()},
        **{name: _version(name) for name in _OPTIONAL},
        "encoder": native.encoder(),
        "HDF5": h5py.version.hdf5_version,
        "ISA-L": str(getattr(isal_zlib, "ISAL_VERSION", "bundled with isal")),
    }


def _required() -> list[str]:
    requirements = metadata.requires("int8cal") or []
    names = (
        requirement.split(";")[0].split("<")[0].split(">")[0].split("=")[0].strip() for requirement in requirements
    )
    return sorted({name for name, text in zip(names, requirements, strict=True) if "extra ==" not in text})


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
