"""``int8cal doctor``: the facts about an installation that a bug report needs."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

import click

from int8cal import __version__
from int8cal.cli import console
from int8cal.cli.options import json_option

_OPTIONAL = ("onnx", "onnxruntime", "jinja2", "mlflow-skinny", "ray")


@click.command()
@json_option
def doctor(*, as_json: bool) -> None:
    """Versions and environment, for bug reports.

    \b
    Examples:
      int8cal doctor
      int8cal doctor --json
    """
    if as_json:
        console.print_json({"doctor": facts()})
    else:
        console.print_table(facts().items())


def facts() -> dict[str, str]:
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
