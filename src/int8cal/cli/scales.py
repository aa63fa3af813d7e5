"""``int8cal quantize --scales``: an INT8 model from the ranges in a file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import agreement, console, endings, progress
from int8cal.cli.options import given_words, model_input_words
from int8cal.io.safe_text import short_name
from int8cal.io.summary import counted

if TYPE_CHECKING:
    from int8cal.models.scales import ScalesReport
from int8cal.types import Layout

_LISTED = 10


_TAKEN = frozenset((
    "model", "output", "scales", "exclude", "evaluation", "fold_weights", "inputs", "layout", "overwrite", "as_json",
    "no_agreement", "no_equalize",
))  # fmt: skip
"""Parameters of ``quantize`` that mean something, or change nothing, beside ``--scales``."""
_AGAIN = ("exclude", "evaluation", "fold_weights", "inputs", "layout")
"""Those that a better model from images is given as well."""


def check_alone() -> None:
    """Refuse what only images can serve: the other arguments that the command was given."""
    for word in given_words(*_TAKEN):
        name = word if word.startswith("--") else "FILE"
        raise click.UsageError(
            f"--scales replaces calibration, and makes float32 models for TensorRT: leave out {name}"
        )


def quantize_from_scales(
    model: str,
    scales: str,
    output: str,
    *,
    exclude: tuple[str, ...],
    evaluation: str | None,
    fold_weights: bool,
    input_name: str | None,
    constants: dict[str, list[float]],
    layout: Layout | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make the INT8 model and say what became of the ranges."""
    from int8cal.models import scales as work
    from int8cal.models.onnx_file import refuse_other_formats

    refuse_other_formats(model)
    report = work.quantize_from_scales(
        model,
        scales,
        output,
        exclude=exclude,
        fold_weights=fold_weights,
        input_name=input_name,
        layout=layout,
        constants=constants,
        evaluation=evaluation,
        overwrite=overwrite,
        progress=progress.on_stderr(),
    )
    if as_json:
        console.print_json({"quantize": _facts(report, output, scales)})
    else:
        console.print_lines(_lines(report, output, scales))
        again = endings.quoted("CALIBRATION.tensor", *given_words(only=_AGAIN))
        endings.quantized(
            model,
            output,
            evaluation,
            calibration=again,
            binding=report.input,
            inputs=model_input_words(),
            verdict=report.verdict,
        )


def _facts(report: ScalesReport, output: str, scales: str) -> dict[str, Any]:
    return {
        "output": output,
        "scales": {"file": scales, "header": report.header},
        "nodes": report.nodes,
        "amax": report.amax,
        "lacking": report.lacking,
        "not_in_model": list(report.not_in_model),
        "unusable": list(report.unusable),
        "without_range": list(report.without_range),
        "left_in_float": dict(report.placement.floated),
        "kept": [{"node": node.name, "operator": node.operator} for node in report.foreign],
        "behind": list(report.behind),
        "opset": {"float": report.opset[0], "int8": report.opset[1]},
        "from_float16": report.from_float16,
        "bytes": {"float": report.float_bytes, "int8": report.int8_bytes},
        "held_out": agreement.as_json(report.held_out) if report.held_out else None,
        "verdict": asdict(report.verdict) if report.verdict else None,
    }


def _lines(report: ScalesReport, output: str, scales: str) -> list[str]:
    opset = "" if report.opset[0] == report.opset[1] else f", opset {report.opset[0]} → {report.opset[1]}"
    sizes = f"{report.int8_bytes / 1e6:.3f} MB (float: {report.float_bytes / 1e6:.3f} MB)"
    lines = [
        f"{output}: {counted(report.nodes, 'node')} in INT8, {sizes}{opset}",
        f"ranges of {counted(len(report.amax), 'tensor')} from {scales} ({report.header})",
    ]
    for words, names in (
        ("in the file, but not in the model (merged layers have no name there)", report.not_in_model),
        ("impossible ranges in the file", report.unusable),
        ("ranges of 0 in the file, which are none", report.without_range),
        ("left in float, for the file has no range for what they read", report.lacking),
        ("kept as they were, not computed here", [f"{node.name} ({node.operator})" for node in report.foreign]),
        ("left in float, because they follow those or lie within", report.behind),
        *report.placement.left_out,
    ):
        if names:
            lines.append(f"{words}: {len(names)}: {_listed(names)}")
    if report.held_out and report.verdict:
        lines += agreement.as_lines(report.held_out, "agreement with float, on the images of --eval")
        return [*lines, f"verdict: {report.verdict.level} ({report.verdict.why})"]
    return [*lines, "agreement and verdict: not measured (--eval FILE measures it)"]


def _listed(names: Collection[str]) -> str:
    shown = [short_name(name) for name in list(names)[:_LISTED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more, see --json" if more else "")
