"""``int8cal inspect``: what is in a tensorfile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import console, endings
from int8cal.cli.options import json_option
from int8cal.io.summary import counted

if TYPE_CHECKING:
    from int8cal.tensorfile import TensorFile


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--quick", is_flag=True, help="Leave out what needs reading all batches: value range and means.")
@click.option(
    "--deepstream", is_flag=True, help="Print only the keys of DeepStream's nvinfer that follow from the manifest."
)
@json_option
def inspect(*, file: str, quick: bool, deepstream: bool, as_json: bool) -> None:
    """Shape, batches, dtype, values, size, filters and manifest of a tensorfile, ours or NVIDIA's.

    \b
    Examples:
      int8cal inspect calibration.tensor
      int8cal inspect calibration.tensor --quick --json
      int8cal inspect calibration.tensor --deepstream
    """
    if deepstream:
        from int8cal.tensorfile import TensorFile

        with TensorFile(file) as tensorfile:
            _print_nvinfer_keys(tensorfile, as_json=as_json)
        return
    from int8cal.check.inspection import inspect as inspected

    found = inspected(file, quick=quick)
    if as_json:
        console.print_json({"tensorfile": found.to_json(), "manifest": found.manifest})
    else:
        console.print_table(_table(found.to_json(), found.manifest))
        endings.print_next("", f"int8cal verify {endings.quoted(file)}")


def _print_nvinfer_keys(tensorfile: TensorFile, *, as_json: bool) -> None:
    from int8cal.tensorrt.deepstream import nvinfer_keys, other_padding

    keys = nvinfer_keys(tensorfile.manifest, tensorfile.shape[1:])
    for finding in other_padding(tensorfile.manifest, tensorfile.shape[1:]):
        console.note(f"{finding.level}: {finding.message}. {finding.hint}")
    if as_json:
        console.print_json({"nvinfer": keys})
    else:
        console.print_lines(["[property]", *(f"{key}={value}" for key, value in keys.items())])


def _table(facts: dict[str, Any], manifest: dict[str, Any] | None) -> list[tuple[str, object]]:
    shape = " x ".join(map(str, facts["shape"]))
    rows: list[tuple[str, object]] = [
        ("tensorfile", facts["path"]),
        ("batches", f"{facts['batches']} of shape {shape} ({counted(facts['images'], 'image')})"),
        ("stored as", f"{facts['dtype']}, filters: {', '.join(facts['filters']) or 'none'}"),
        ("size", f"{facts['bytes'] / 1e6:,.1f} MB, {facts['ratio']:.1%} of the raw values"),
    ]
    for number, channel in enumerate(facts.get("channels", [])):
        rows.append(
            (f"channel {number}", "min {min:.6g}  max {max:.6g}  mean {mean:.6g}  std {std:.6g}".format(**channel))
        )
    from int8cal.tensorfile.layout import split_text  # late: HDF5

    if manifest is None:
        rows.append(("manifest", "none: not made by int8cal"))
        return rows
    arithmetic = _mapping(manifest.get("arithmetic"))
    checksums = "of each image, of manifest and sample table" if facts["checksums"] else "none"
    rows += [
        ("format", f"version {facts['format_version']}, checksums: {checksums}"),
        ("made by", f"int8cal {manifest.get('int8cal')}"),
        ("network", manifest.get("network")),
        ("split", f"{split_text(manifest)}, seed {manifest.get('seed')}"),
        ("arithmetic", f"{arithmetic.get('name')} ({arithmetic.get('evidence')})"),
        ("options", ", ".join(f"{name}={value}" for name, value in _mapping(arithmetic.get("options")).items())),
        ("skipped", manifest.get("skipped")),
        ("plan", manifest.get("plan_sha256")),
        ("spec", manifest.get("spec_sha256")),
    ]
    return rows


def _mapping(value: object) -> dict[str, Any]:
    """A group of the manifest; an empty one where it holds something else, which verify judges."""
    return value if isinstance(value, dict) else {}
