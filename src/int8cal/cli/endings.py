"""What a command says when it is done: what its result is good for, and the next command to type."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from int8cal.cli import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from int8cal.manifest import Manifest
    from int8cal.plans import Plan

FEW_IMAGES = 100
"""Fewer images than this are said to be few: advice from practice is 100 to 1000."""


def print_next(meaning: str, *commands: str) -> None:
    """One sentence about the result, and what to type now."""
    console.print_lines(["", *filter(None, [meaning])])
    if commands:
        console.print_lines(["Next:", *(f"  {command}" for command in commands)])


def quoted(*words: str) -> str:
    """Words as a command line, as a shell takes it."""
    return " ".join(map(shlex.quote, words))


def source_options(plan: Plan, mapped: Sequence[tuple[str, str]] = ()) -> str:
    """What ``verify`` and ``report`` need to make the images of a plan again."""
    if plan.origin.name == "images":
        return quoted("--images", plan.origin.path)
    words = ["-e", plan.origin.path]
    for old, new in mapped:
        words += ["--map", old, new]
    for override in plan.origin.overrides:
        words += ["--override", override]
    if plan.folder:
        words += ["--cal_image_dir", plan.folder.path]
    return quoted(*words)


def made(manifest: Manifest, plan: Plan, mapped: Sequence[tuple[str, str]]) -> None:
    """After a run."""
    images = manifest.batches * manifest.shape[0]
    few = f" {images} images are few: 100 to 1000 are usual (-m N batches)." if images < FEW_IMAGES else ""
    file, source = quoted(manifest.path), source_options(plan, mapped)
    print_next(
        f"{manifest.path} holds {images} images as the network is fed them, for INT8 calibration.{few}",
        f"int8cal verify {file} {source}",
        f"int8cal quantize MODEL.onnx {file} -o MODEL.int8.onnx",
    )


def planned(plan: Plan, given: Sequence[str]) -> None:
    """After a dry run: the same words make the file.

    Args:
        plan: what was shown.
        given: the options as they were given, the spec first.
    """
    if plan.origin.name == "images":
        print_next("Nothing was decoded or written.", "the same command without --dry_run")
        return
    line = quoted("int8cal", plan.origin.name, "calibration_tensorfile", *given[:2], "-o", "FILE", *given[2:])
    print_next("Nothing was decoded or written.", line)


def exported(path: str, form: str) -> None:
    """After an export: how the other tool takes it."""
    file = quoted(path)
    uses = {
        "npz": f"python -m modelopt.onnx.quantization --onnx_path MODEL.onnx --calibration_data_path {file}",
        "polygraphy": f"polygraphy convert MODEL.onnx --int8 --data-loader-script {file} -o MODEL.engine",
        "tensorfile": f"int8cal verify {file}",
    }
    print_next("", *filter(None, [uses.get(form)]))


def quantized(model: str, output: str, held_out: str | None) -> None:
    """After quantize."""
    engine = f"{os.path.splitext(output)[0]}.engine"
    lines = [f"trtexec {quoted(f'--onnx={output}', f'--saveEngine={engine}')}"]
    if not held_out:
        lines.insert(0, f"int8cal compare {quoted(model, output)} VALIDATION.tensor")
    print_next("Images that calibration has not seen decide whether the INT8 model is good.", *lines)
