"""Optional dependencies, imported when they are needed and not before."""

from __future__ import annotations

import importlib
import os
import sys
from importlib import metadata
from types import ModuleType

from int8cal.errors import UnavailableError
from int8cal.io.lacks import lack_of
from int8cal.io.safe_text import shell_word


def need(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: dotted name, e.g. ``onnxruntime.quantization``.
        extra: the extra of int8cal that installs it.

    Raises:
        UnavailableError: it is not installed; the hint is the line that installs it here.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if lack := lack_of(error):
            raise lack from error
        raise UnavailableError(
            f"the Python package {module.partition('.')[0]!r} is needed and cannot be imported ({error})",
            hint=install_hint(extra),
        ) from error


def install_hint(extra: str) -> str:
    """How *this* installation gets an extra, as a sentence: int8cal itself is on no package index."""
    packages = " ".join(f"'{package}'" if set(package) & set("<>=![ ") else package for package in packages_of(extra))
    return f"Install what the extra [{extra}] stands for: {install_line(packages)}"


def install_line(packages: str) -> str:
    """The command by which *this* installation gets packages, given as words of a shell."""
    where = sys.prefix.replace(os.sep, "/")
    if "/pipx/venvs/" in where:
        return f"pipx inject int8cal {packages}"
    if "/uv/tools/" in where or _installer() == "uv":
        return f"uv pip install --python {shell_word(sys.executable)} {packages}"
    return f"{shell_word(sys.executable)} -m pip install {packages}"


def packages_of(extra: str) -> list[str]:
    """The requirements of an extra, as pip takes them; its name where the installation does not say."""
    try:
        requirements = metadata.requires("int8cal") or []
    except metadata.PackageNotFoundError:
        requirements = []
    found = []
    for requirement in requirements:
        package, _, marker = requirement.partition(";")
        if marker.strip().replace("'", '"').endswith(f'extra == "{extra}"'):
            found.append(package.strip().replace(" ", ""))
    return found or [extra]


def _installer() -> str:
    try:
        return (metadata.distribution("int8cal").read_text("INSTALLER") or "").strip()
    except metadata.PackageNotFoundError:
        return ""
