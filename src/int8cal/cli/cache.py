"""``int8cal cache``: TensorRT calibration caches, read and written without TensorRT."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from int8cal.cli import console, endings
from int8cal.cli.options import json_option, overwrite_option
from int8cal.errors import UseError
from int8cal.io.safe_text import printable, short_name
from int8cal.io.summary import counted

if TYPE_CHECKING:
    from int8cal.tensorrt.cache import CalibrationCache


@click.group()
def cache() -> None:
    """Show, convert and compare INT8 calibration caches of TensorRT 10 and older.

    \b
    Examples:
      int8cal cache show cal.bin
      int8cal cache convert cal.bin cal.json
      int8cal cache convert cal.bin cal_10.bin --trt_version 10.3.0
      int8cal cache diff old.bin new.bin
    """


@cache.command()
@click.argument("file", metavar="CACHE")
@json_option
def show(*, file: str, as_json: bool) -> None:
    """Version, algorithm and the range of every tensor.

    \b
    Examples:
      int8cal cache show cal.bin
    """
    from int8cal.tensorrt.cache import read_cache, to_json

    content = read_cache(file)
    if as_json:
        more = {"header": content.header, "no_reader": content.no_reader, "unusable": list(content.unusable)}
        console.print_json({"cache": {**to_json(content), **more}})
        return
    rows: list[tuple[str, object]] = [
        ("header", content.header),
        ("for", _readers(content)),
        ("tensors", len(content.amax)),
    ]
    unusable = content.unusable
    ranges = {name: _range(amax, impossible=name in unusable) for name, amax in content.amax.items()}
    ranges |= dict.fromkeys(content.without_range, "no range")
    rows += [(short_name(name), text) for name, text in ranges.items()]
    console.print_table(rows)
    if unusable:
        count = "1 tensor has" if len(unusable) == 1 else f"{len(unusable)} tensors have"
        console.note(f"warning: {count} an impossible range: {', '.join(map(short_name, unusable))}")
    _tell_uses(content, file)


_GOOD_FOR_NOTHING = "has no range of any tensor, and is good for nothing"


def _range(amax: float, *, impossible: bool) -> str:
    return f"impossible: {amax:.6g}" if impossible else f"±{amax:.6g}"


def _tell_uses(content: CalibrationCache, path: str) -> None:
    """What a cache is good for: TensorRT of its release reads the text; of the ranges, a Q/DQ model can be made."""
    if not content.has_ranges:
        console.note(f"warning: {printable(path)} {_GOOD_FOR_NOTHING}")
        return
    commands = [f"int8cal quantize MODEL.onnx --scales {endings.quoted(path)} -o MODEL.int8.onnx"]
    if path.endswith(".json"):
        version = " --trt_version X.Y.Z" if content.no_reader else ""
        commands.insert(0, f"int8cal cache convert {endings.quoted(path)} -o CAL.bin{version}")
    elif not content.no_reader:
        commands.insert(0, endings.trtexec_with_cache("MODEL.onnx", path))
    endings.print_next(
        "The ranges belong to one float model. TensorRT 11 takes them only inside a Q/DQ model.", *commands
    )


def _readers(content: CalibrationCache) -> str:
    if content.no_reader:
        hint = "; int8cal cache convert --trt_version X.Y.Z writes another header" if content.first_line else ""
        return f"no TensorRT: {content.no_reader}{hint}"
    return f"TensorRT {content.release} only; other versions ignore it without a word"


@cache.command()
@click.argument("source", metavar="CACHE")
@click.argument("output", metavar="[OUT]", required=False)
@click.option("-o", "--output", "named", metavar="OUT", help="The file to write; the same as OUT.")
@click.option("--trt_version", metavar="X.Y.Z", help="Header for this TensorRT release instead of the one in CACHE.")
@overwrite_option("Replace OUT if it is a calibration cache; nothing else is replaced.")
@json_option
def convert(
    *, source: str, output: str | None, named: str | None, trt_version: str | None, overwrite: bool, as_json: bool
) -> None:
    """Between the text of TensorRT and JSON (a name ending in .json); or to the header of another TensorRT release.

    Ranges made for one release serve another as well as the layers are fused alike, which nobody promises: the header
    is changed only when --trt_version asks for it.

    \b
    Examples:
      int8cal cache convert cal.bin cal.json
      int8cal cache convert cal.json -o cal.bin
      int8cal cache convert cal_8.bin cal_10.bin --trt_version 10.3.0
    """
    from dataclasses import replace

    from int8cal.io.file_kinds import CALIBRATION_CACHE
    from int8cal.io.files import write_file
    from int8cal.tensorrt.cache import dumps, dumps_json, read_cache, version_number

    if (output is None) == (named is None):
        raise click.UsageError("give the file to write once: OUT or -o OUT")
    output = output or named or ""
    content = read_cache(source)
    if trt_version is not None:
        content = replace(content, version=version_number(trt_version), first_line=None)
    unusable = content.unusable
    content = replace(content, amax={name: amax for name, amax in content.amax.items() if name not in unusable})
    keeps_all = output.endswith(".json")
    left_out = () if keeps_all else content.without_scale
    if len(content.amax) == len(left_out):
        raise UseError(
            "no tensor has a range that a cache can hold",
            where=printable(source),
            hint=f"Look at them: {endings.quoted('int8cal', 'cache', 'show', source)}",
        )
    text = dumps_json(content) if keeps_all else dumps(content)
    write_file(output, text.encode(), overwrite=overwrite, inputs=(source,), replaces=CALIBRATION_CACHE)
    if as_json:
        facts = {"output": output, "header": content.header, "tensors": len(content.amax) - len(left_out)}
        console.print_json({"cache": {**facts, "left_out": list(left_out), "unusable": list(unusable)}})
        return
    console.print_lines([f"{output}: {content.header}, {counted(len(content.amax) - len(left_out), 'tensor')}"])
    if left_out:
        console.print_lines([f"left out, their scale is 0, which is none: {', '.join(map(short_name, left_out))}"])
    if unusable:
        console.print_lines([f"left out, their range is impossible: {', '.join(map(short_name, unusable))}"])
    _tell_uses(content, output)


@cache.command()
@click.argument("first", metavar="CACHE1")
@click.argument("second", metavar="CACHE2")
@click.option(
    "--tolerance",
    type=float,
    default=1e-6,
    show_default=True,
    metavar="T",
    help="Relative difference that is none: 0 <= T < 1.",
)
@json_option
def diff(*, first: str, second: str, tolerance: float, as_json: bool) -> None:
    """What differs between two caches: headers, tensors, ranges.

    \b
    Examples:
      int8cal cache diff old.bin new.bin
    """
    from int8cal.tensorrt.cache import diff as compare
    from int8cal.tensorrt.cache import read_cache

    contents = read_cache(first), read_cache(second)
    found = compare(*contents, tolerance)
    if as_json:
        facts = {
            "equal": found.equal,
            "headers": list(found.headers),
            "only_first": list(found.only_first),
            "only_second": list(found.only_second),
            "changed": {name: list(pair) for name, pair in found.changed.items()},
            "same": found.same,
        }
        console.print_json({"diff": facts})
        return
    lines = [f"header: {found.headers[0]} and {found.headers[1]}"] if found.headers[0] != found.headers[1] else []
    lines += [f"only in {first}: {short_name(name)}" for name in found.only_first]
    lines += [f"only in {second}: {short_name(name)}" for name in found.only_second]
    lines += [f"{short_name(name)}: {_change(*pair)}" for name, pair in found.changed.items()]
    console.print_lines([*lines, f"the same in both: {counted(found.same, 'tensor')}"])
    if found.equal:
        endings.print_next("Both tell TensorRT the same.")
        return
    without = [file for file, content in zip((first, second), contents, strict=True) if not content.has_ranges]
    for file in without:
        console.note(f"warning: {printable(file)} {_GOOD_FOR_NOTHING}")
    if without:
        return
    tries = (
        f"int8cal quantize MODEL.onnx --scales {endings.quoted(file)} -o {number}.int8.onnx --eval VALIDATION.tensor"
        for number, file in enumerate((first, second), 1)
    )
    endings.print_next("Compare both with the float model on images.", *tries)


def _change(old: float, new: float) -> str:
    return f"±{old:.6g} and ±{new:.6g}" + (f" ({new / old - 1:+.2%})" if old and math.isfinite(old + new) else "")
