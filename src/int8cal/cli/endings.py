"""What a command says when it is done: what its result is good for, and the next command to type."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from int8cal.cli import console
from int8cal.io.safe_text import shell_word
from int8cal.io.summary import counted
from int8cal.types import USUAL_IMAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from int8cal.check.verify import Verification
    from int8cal.manifest import Manifest
    from int8cal.models.binding import InputBinding
    from int8cal.models.search import Search
    from int8cal.models.verdict import Verdict
    from int8cal.plans import Plan
    from int8cal.types import Format, Layout

_FEW = " That is few: 100 to 1000 are usual"


def print_next(meaning: str, *commands: str) -> None:
    """One sentence about the result, and what to type now."""
    console.print_lines(["", *filter(None, [meaning])])
    if commands:
        console.print_lines(["Next:", *(f"  {command}" for command in commands)])


def note_next(*words: str) -> None:
    """What to type now, for a person at a terminal: the result itself is likely to go into a file."""
    if console.on_terminal():
        console.note(f"next: {quoted('int8cal', *words)}")


def quoted(*words: str) -> str:
    """Words as a command line, as a shell takes it."""
    return " ".join(map(shell_word, words))


def source_options(plan: Plan, mapped: Sequence[tuple[str, str]] = ()) -> str:
    """What ``verify`` and ``report`` need to make the images of a plan again."""
    if plan.origin.name == "images":
        image_dir = getattr(plan.origin, "image_dir", None)
        return quoted("--images", plan.origin.path, *(["--image_dir", image_dir] if image_dir else []))
    words = ["-e", plan.origin.path]
    for old, new in mapped:
        words += ["--map", old, new]
    for override in plan.origin.overrides:
        words += ["--override", override]
    if plan.folder:
        words += ["--cal_image_dir", plan.folder.path]
    return quoted(*words)


def made(manifest: Manifest, source: str) -> None:
    """After a run.

    Args:
        manifest: of the file that was made.
        source: what ``verify`` needs to make the images again: see `source_options`.
    """
    images = manifest.batches * manifest.shape[0]
    how = "" if manifest.facts["max_batches"] == -1 else " (-m N batches)"  # all are in it
    few = f"{_FEW}{how}." if images < USUAL_IMAGES else ""
    file = quoted(manifest.path)
    print_next(
        f"{manifest.path} holds {counted(images, 'image')} as the network is fed them, for INT8 calibration.{few}",
        f"int8cal verify {file} {source}",
        f"int8cal quantize MODEL.onnx {file} -o MODEL.int8.onnx",
    )


def planned(*words: str) -> None:
    """After a dry run: the words that make the file."""
    print_next("Nothing was decoded or written.", quoted("int8cal", *words))


def exported(path: str, form: Format, layout: Layout) -> None:
    """After an export: how the other tool takes it."""
    from int8cal.exports.formats import TAKEN_BY  # late: NumPy, HDF5

    command = TAKEN_BY[form].format(file=quoted(path))
    # Our own command tells arrays by their name, and takes them NCHW.
    is_taken = form != "npy" or (layout == "nchw" and path.lower().endswith(".npy"))
    print_next(
        "The images are those of the tensorfile, in its order, already preprocessed.", *([command] if is_taken else [])
    )


def verified(found: Verification, model: str | None, *, inputs: Sequence[str], made_of: str) -> None:
    """After `verify` of a file without errors.

    Args:
        found: what it found.
        model: the model that it was shown to.
        inputs: what was said of that model's inputs.
        made_of: the options that name what the file was made of.
    """
    file = quoted(found.path)
    if any(finding.code == "model-quantised" for finding in found.findings):
        model = None  # quantize takes the float model, whose name is not known
    commands = [calibrating(model, file, inputs)]
    if found.plan is None:
        meaning = (
            "The values look right. Only a comparison with the source shows whether they are those of the training."
        )
        commands.insert(0, f"int8cal verify {file} {made_of}")
    else:
        meaning = "The file holds what its source makes."
    warnings = found.count("warning")
    print_next(f"{meaning} Look at the warnings first." if warnings else meaning, *commands)


def quantized(
    model: str,
    output: str,
    held_out: str | None,
    *,
    binding: InputBinding,
    inputs: Sequence[str] = (),
    verdict: Verdict | None = None,
    search: Search | None = None,
    target: str = "tensorrt",
    trt_cache: str | None = None,
    calibrated_with: int | None = None,
    calibration: str = "CALIBRATION.tensor",
    images: str | None = None,
) -> None:
    """After quantize.

    Args:
        model: the float model.
        output: the INT8 model.
        held_out: the images of ``--eval``.
        binding: the models' input.
        inputs: what was said of the models' inputs.
        verdict: on the INT8 model, if there is one.
        search: what was found for ``--min_agreement``.
        target: engine that is to run it.
        trt_cache: the calibration cache that was also written.
        calibrated_with: number of images, where there were any.
        calibration: what it was calibrated with, as words of a command.
        images: options of ``int8cal images`` that state the preprocessing, where there is no tensorfile.
    """
    lines = [] if held_out else [f"int8cal compare {quoted(model, output)} VALIDATION.tensor{_also(inputs)}"]
    if images and lines:
        lines.insert(0, f"int8cal images VALIDATION_DIR -o VALIDATION.tensor {images}")
    if verdict:
        lines += _more_in_float(verdict, model, output, calibration, search)
    if target == "tensorrt":
        lines.append(trtexec(output, binding))
    if trt_cache:
        lines.append(trtexec_with_cache(model, trt_cache, binding))
    told = "ONNX Runtime takes the INT8 model as it is. " if target == "onnxruntime" else ""
    if calibrated_with is not None and calibrated_with < USUAL_IMAGES:
        told += f"{counted(calibrated_with, 'image')} calibrated it.{_FEW}. "
    print_next(f"{told}Images that calibration has not seen decide whether the INT8 model is good.", *lines)


def compared(model: str, output: str, binding: InputBinding | None, verdict: Verdict, *options: str) -> None:
    """After compare: what the figures mean, in the words of ``quantize``, which ``options`` are for as well.

    Nothing is measured where the second model is not quantised: the command makes one that is.
    """
    meaning = {
        "good": "What INT8 changes is small. The accuracy on the task itself has the last word.",
        "look": "Often usable: measure the accuracy of the task itself.",
        "poor": "The INT8 model is not to be relied on.",
        "not measured": "Give the INT8 model that is made of the first one.",
    }[verdict.level]
    if verdict.level == "good":
        commands = [trtexec(output, binding)]
    elif verdict.level == "not measured":
        commands = [calibrating(model, "CALIBRATION.tensor", options)]
    else:
        commands = _more_in_float(verdict, model, output, f"CALIBRATION.tensor {quoted(*options)}")
    print_next(f"verdict: {verdict.level} ({verdict.why}). {meaning}", *commands)


def calibrating(model: str | None, file: str, inputs: Sequence[str]) -> str:
    """How a tensorfile becomes an INT8 model.

    Args:
        model: the float model; None where it is not known.
        file: the tensorfile, quoted.
        inputs: what was said of the model's inputs, see `int8cal.cli.options.model_input_words`.
    """
    return f"int8cal quantize {quoted(model or 'MODEL.onnx')} {file} -o MODEL.int8.onnx{_also(inputs)}"


def _also(words: Sequence[str]) -> str:
    """Further words of a command, if there are any."""
    return f" {quoted(*words)}" if words else ""


def trtexec(model: str, binding: InputBinding | None = None) -> str:
    """How TensorRT 11 takes an INT8 model, whose input is ``binding`` where it is known."""
    return f"trtexec {quoted(f'--onnx={model}', *_shapes(binding), _engine(model))}"


def trtexec_with_cache(model: str, cache: str, binding: InputBinding | None = None) -> str:
    """How TensorRT 10 and older take a float model and a cache."""
    words = (f"--onnx={model}", "--int8", f"--calib={cache}", *_shapes(binding), _engine(model))
    return f"trtexec {quoted(*words)}"


def _shapes(binding: InputBinding | None) -> tuple[str, ...]:
    return (binding.shapes_option,) if binding and binding.shapes_option else ()


def _engine(model: str) -> str:
    return f"--saveEngine={os.path.splitext(model)[0]}.engine"


def _more_in_float(
    verdict: Verdict, model: str, output: str, calibration: str, search: Search | None = None
) -> list[str]:
    """How to make a better model by its SQNR; nothing where it is good, or another figure than that is not.

    Where layers were left in float before, as much more is asked for as the model has less on the images that it is
    judged by than on those that the layers were chosen by: that is beyond what was reached, and makes another model.
    Nothing where what was asked for was out of reach, or how much is missing cannot be told.
    """
    from int8cal.models.verdict import GOOD_DB  # late: NumPy

    if verdict.level not in ("look", "poor") or verdict.worst_db >= GOOD_DB:
        return []
    wanted = GOOD_DB
    if search:
        missing = search.reached - verdict.worst_db
        if search.reached < search.wanted or not math.isfinite(missing):
            return []
        wanted = math.ceil(max(wanted, search.wanted) + max(missing, 0.0))
    better = quoted("-o", f"{os.path.splitext(output)[0]}.better.onnx", "--min_agreement", f"{wanted:g}")
    return [f"int8cal quantize {quoted(model)} {calibration} {better}"]
