"""``int8cal quantize``: a Q/DQ INT8 model and a calibration cache from a tensorfile."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import agreement, console, endings, progress
from int8cal.cli.images import places_of_images, preprocessing_options
from int8cal.cli.make import leaving_out_told
from int8cal.cli.options import given_words, json_option, model_input_options, model_input_words, overwrite_option
from int8cal.cli.process import share_freed_memory
from int8cal.cli.scales import check_alone, quantize_from_scales
from int8cal.cli.sources import Images, of_images
from int8cal.cli.tables import dataset_rows
from int8cal.errors import UsageError
from int8cal.io.safe_text import printable
from int8cal.io.summary import counted
from int8cal.types import METHODS, PRECISIONS, TARGETS

if TYPE_CHECKING:
    from int8cal.models.quantize import QuantizeReport
    from int8cal.tensorfile.batches import BatchesLike
    from int8cal.types import Layout, MethodChoice, Precision, Target


@click.command()
@click.argument("model", metavar="MODEL.onnx")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("-o", "--output", metavar="OUT.onnx", help="INT8 model to write.")
@click.option(
    "--reproduce",
    metavar="OUT.onnx",
    help="Make this INT8 model again from FILE (images: with the same preprocessing), and say whether it is the same.",
)
@click.option(
    "--method",
    type=click.Choice(["auto", *METHODS]),
    default="auto",
    show_default=True,
    help="How the range of each activation is chosen; auto tries all on held-out images and takes the best.",
)
@click.option(
    "--percentile",
    type=float,
    metavar="P",
    help="Share of values in percent that the range holds, for --method percentile.  [default: 99.99]",
)
@click.option(
    "--scales",
    metavar="CAL",
    help="In place of FILE: ranges that exist already, a TensorRT cache or TAO's JSON with tensor_scales.",
)
@click.option("--trt_cache", metavar="CAL.bin", help="Also write a calibration cache for TensorRT 10 or older.")
@click.option("--trt_version", metavar="X.Y.Z", help="TensorRT release that will read the cache, e.g. 10.3.0.")
@click.option("--deepstream", metavar="CONFIG.txt", help="Also write nvinfer's configuration: float model and cache.")
@click.option("--exclude", multiple=True, metavar="NODE", help="Node (or pattern such as 'head/*') that stays float.")
@click.option(
    "--min_agreement",
    type=float,
    metavar="DB",
    help="Leave as few layers in float as bring the worst output to this SQNR; tries many models.",
)
@click.option(
    "--eval",
    "evaluation",
    metavar="FILE2",
    help="Held-out images to measure agreement on: a tensorfile, .npz or .npy; a folder, a list or a COCO file where "
    "FILE is one of these.",
)
@click.option("--no_agreement", is_flag=True, help="Do not measure agreement on the calibration file itself.")
@click.option("--fold_weights", is_flag=True, help="Store weights as INT8 (smaller file) instead of float with Q/DQ.")
@click.option(
    "--no_equalize",
    is_flag=True,
    help="For TensorRT: no Mul in front of depthwise convolutions to even out channels.",
)
@click.option(
    "--bias_correction/--no_bias_correction",
    default=None,
    help="Take the mean error of each INT8 convolution off its bias.  [default: with --method auto, where it helps]",
)
@click.option("--keep", metavar="FILE", help="Of images from a folder: also write the tensorfile.")
@places_of_images
@preprocessing_options
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    default="tensorrt",
    show_default=True,
    help="Engine that runs OUT.onnx; onnxruntime is for OpenVINO, too.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="fp32",
    show_default=True,
    help="Of the float part; inputs and outputs are float32.",
)
@click.option("--full_range_weights", is_flag=True, help="8-bit weights for onnxruntime; else 7 (x86 without VNNI).")
@click.option("--force", is_flag=True, help="Go on although the float model does not come alive on the images.")
@model_input_options
@overwrite_option("Replace an existing ONNX model, tensorfile of --keep, cache, and configuration that was not edited.")
@json_option
def quantize(
    *,
    model: str,
    file: str | None,
    output: str | None,
    method: MethodChoice,
    percentile: float | None,
    scales: str | None,
    trt_cache: str | None,
    trt_version: str | None,
    deepstream: str | None,
    reproduce: str | None,
    exclude: tuple[str, ...],
    min_agreement: float | None,
    evaluation: str | None,
    no_agreement: bool,
    fold_weights: bool,
    no_equalize: bool,
    bias_correction: bool | None,
    keep: str | None,
    recursive: bool,
    image_dir: str | None,
    target: Target,
    precision: Precision,
    full_range_weights: bool,
    force: bool,
    input_name: str | None,
    constants: dict[str, list[float]],
    layout: Layout | None,
    overwrite: bool,
    as_json: bool,
    **stated: Any,
) -> None:
    """Make an INT8 model (Q/DQ ONNX) of MODEL.onnx, calibrated with the images in FILE. CPU only.

    FILE is a tensorfile; arrays (.npz or .npy, float32, N x C x H x W); or a folder, a list (.txt) or a COCO file
    (.json) of images, with the preprocessing that the model was trained with: --preset, --preprocess or the numbers.

    Which output is for what:

    \b
      TensorRT 11, ModelOpt           OUT.onnx
      TensorRT 8 and 10, TAO Deploy   the float model and --trt_cache CAL.bin (--trt_version of that release)
      DeepStream up to 9.x, JetPack   the same (they are on TensorRT 8 or 10), with --deepstream CONFIG.txt
      Triton                          as its TensorRT, or OUT.onnx of --target onnxruntime in its ONNX Runtime backend
      ONNX Runtime, OpenVINO          OUT.onnx of --target onnxruntime

    \b
    Examples:
      int8cal quantize model.onnx calibration.tensor -o model.int8.onnx
      int8cal quantize model.onnx calibration.tensor -o model.int8.onnx --eval validation.tensor
      int8cal quantize model.onnx calibration.tensor -o model.int8.onnx --trt_cache cal.bin --trt_version 10.3.0
      int8cal quantize model.onnx photos -o model.int8.onnx --preset imagenet
      int8cal quantize model.onnx --scales cal.bin -o model.int8.onnx
    """
    from int8cal.models import quantize as work
    from int8cal.models.onnx_file import refuse_engine_name, refuse_other_formats
    from int8cal.models.ranges import DEFAULT_PERCENTILE

    if reproduce is not None:
        if file is None or output or scales or keep:
            raise click.UsageError("--reproduce takes MODEL.onnx and FILE, and writes nothing")
        others = given_words(*_OF_REPRODUCE, *stated)
        if others or constants:
            word = others[0] if others else "values of --input"
            raise click.UsageError(f"--reproduce does as the record in {printable(reproduce)} says; leave out {word}")
        with ExitStack() as files:
            sources = Images(files, model, stated, input_name, layout, recursive=recursive, image_dir=image_dir)
            _reproduce(model, sources.opened(file), reproduce, input_name=input_name, as_json=as_json)
        return
    if output is None:
        raise click.UsageError("Missing option '-o' / '--output'.")
    refuse_engine_name(output)
    if scales is not None:
        check_alone()
        quantize_from_scales(
            model,
            scales,
            output,
            exclude=exclude,
            evaluation=evaluation,
            fold_weights=fold_weights,
            input_name=input_name,
            constants=constants,
            layout=layout,
            overwrite=overwrite,
            as_json=as_json,
        )
        return
    if file is None:
        raise click.UsageError("FILE is missing: the images to calibrate with (or --scales with ranges)")
    if percentile is not None and method != "percentile":
        raise click.UsageError("--percentile is for --method percentile")
    refuse_other_formats(model)  # before FILE is opened: who swaps the two is to be told so
    share_freed_memory()
    if evaluation and of_images(evaluation) and not of_images(file):
        raise UsageError(
            f"--eval takes images where FILE is such, too, with the same preprocessing; {printable(file)} is not",
            where=printable(evaluation),
            hint="Make a tensorfile of them, preprocessed as FILE is: "
            f"{endings.quoted('int8cal', 'images', evaluation, '-o', 'EVAL.tensor')} …, then --eval EVAL.tensor.",
        )
    with ExitStack() as files:
        sources = Images(files, model, stated, input_name, layout, recursive=recursive, image_dir=image_dir)
        if of_images(file) and not (evaluation and of_images(evaluation)):  # else: of which of them is the image?
            files.enter_context(leaving_out_told(by=lambda: f"{sources.command(file)} "))
        images = sources.opened(file, keep=keep, overwrite=overwrite)
        held_out = sources.opened(evaluation) if evaluation and of_images(evaluation) else evaluation
        report = work.quantize(
            model,
            images,
            output,
            method=method,
            percentile=DEFAULT_PERCENTILE if percentile is None else percentile,
            exclude=exclude,
            min_agreement=min_agreement,
            say=console.note,
            fold_weights=fold_weights,
            target=target,
            precision=precision,
            full_range_weights=full_range_weights,
            equalize=not no_equalize,
            bias_correction=bias_correction,
            trt_cache=trt_cache,
            trt_version=trt_version,
            deepstream=deepstream,
            input_name=input_name,
            constants=constants,
            layout=layout,
            evaluation=held_out,
            agreement=not no_agreement,
            force=force,
            overwrite=overwrite,
            progress=progress.on_stderr(),
        )
    for finding in report.findings:
        if finding.level != "note":
            console.note(f"{finding.level}: {finding.message}. {finding.hint}")
    if report.verdict and report.verdict.level == "poor":
        console.note(f"warning: the INT8 model is poor. {_WHAT_TO_TRY}")
    if as_json:
        more = {"deepstream": deepstream, "keep": keep, "dataset": sources.datasets.get(file)}
        console.print_json({"quantize": {**_facts(report, output, trt_cache), **more}})
    else:
        beside = [f"{name}: {count}" for name, count in dataset_rows(sources.datasets.get(file, {})) if count]
        lines = _lines(report, output, trt_cache, trt_version)
        beside += [f"{keep}: tensorfile of these images"] if keep else []
        beside += [f"{deepstream}: configuration of DeepStream's nvinfer"] if deepstream else []
        console.print_lines([*lines[:2], *beside, *lines[2:]])
        endings.quantized(
            model,
            output,
            evaluation,
            binding=report.input,
            inputs=model_input_words(),
            verdict=report.verdict,
            search=report.search,
            target=target,
            trt_cache=trt_cache,
            calibrated_with=report.images,
            calibration=endings.quoted(file, *given_words(*_NOT_AGAIN)),
            images=endings.quoted(*sources.words()) or None,
        )


_NOT_AGAIN = (
    "model", "file", "output", "keep", "method", "percentile", "min_agreement", "trt_cache", "trt_version",
    "deepstream", "overwrite",
)  # fmt: skip
"""Parameters that another run for a better model is not given."""


_OF_REPRODUCE = ("model", "file", "reproduce", "recursive", "image_dir", "inputs", "layout", "as_json")
"""Parameters that mean something beside ``--reproduce``, but for the preprocessing."""


def _reproduce(model: str, images: BatchesLike, made: str, *, input_name: str | None, as_json: bool) -> None:
    from int8cal.errors import UseError
    from int8cal.models.recipe import reproduce

    done = reproduce(model, images, made, input_name=input_name, progress=progress.on_stderr())
    if as_json:
        console.print_json({"reproduce": {"same": done.is_same, "differences": list(done.differences)}})
        if not done.is_same:
            raise click.exceptions.Exit(UseError.exit_code)
        return
    console.print_lines([f"{made}: {'the same' if done.is_same else 'not the same'}", *done.differences])
    if not done.is_same:
        raise UseError("another model came out", where=made, hint="What differs stands in the output.")


_WHAT_TO_TRY = (
    "Try another --method, leave the worst layers in float (--exclude NODE), calibrate with more images, and look "
    "whether they are preprocessed as in training (int8cal verify FILE -e SPEC, or --images DIR)."
)


def _facts(report: QuantizeReport, output: str, trt_cache: str | None) -> dict[str, Any]:
    return {
        "output": output,
        "trt_cache": trt_cache,
        "method": report.method,
        "percentile": report.percentile if report.method == "percentile" else None,
        "choice": _choice(report),
        "search": _search(report),
        "verdict": asdict(report.verdict) if report.verdict else None,
        "findings": [finding.to_json() for finding in report.findings],
        "input": {"name": report.input.name, "layout": report.input.layout},
        "images": report.images,
        "bias_correction": report.bias_correction,
        "nodes": report.nodes,
        "excluded": list(report.excluded),
        "placement": {
            "rules": {rule: list(nodes) for rule, nodes in report.placement.did.items()},
            "left_in_float": dict(report.placement.floated),
            "reads_int8": {node: list(at) for node, at in report.placement.reads.items()},
            "equalized": list(report.equalized),
            "one_scale": [sorted(group) for group in report.placement.shared],
        },
        "kept": [
            {"node": node.name, "operator": node.operator, "computed_for_calibration": node.computed}
            for node in report.foreign
        ],
        "kept_float32": list(report.kept_float32),
        "behind": list(report.behind),
        "opset": {"float": report.opset[0], "int8": report.opset[1]},
        "from_float16": report.from_float16,
        "bytes": {"float": report.float_bytes, "int8": report.int8_bytes},
        "amax": report.amax,
        "inactive": list(report.inactive),
        "not_finite": list(report.not_finite),
        "listed_in_float": list(report.listed_in_float) if trt_cache else None,
        "unlisted": list(report.unlisted) if trt_cache else None,
        "in_sample": agreement.as_json(report.in_sample) if report.in_sample else None,
        "held_out": agreement.as_json(report.held_out) if report.held_out else None,
        "shared_images": report.shared_images,
    }


def _choice(report: QuantizeReport) -> dict[str, Any] | None:
    choice = report.choice
    if choice is None:
        return None
    return {
        "scores_db": choice.scores,
        "images": choice.images,
        "tried_on_images": choice.tried,
        "held_out": choice.held_out,
        "biases_db": dict(zip(("as_they_are", "corrected"), choice.biases, strict=True)) if choice.biases else None,
    }


def _search(report: QuantizeReport) -> dict[str, Any] | None:
    found = report.search
    if found is None:
        return None
    return {
        "wanted_db": found.wanted,
        "reached_db": found.reached,
        "in_float": list(found.layers),
        "models_tried": found.runs,
        "layers_precision": found.layers_precision,
        "layer_device_precision": found.layer_device_precision,
    }


def _lines(report: QuantizeReport, output: str, trt_cache: str | None, trt_version: str | None) -> list[str]:
    how = f"percentile {report.percentile:g}" if report.method == "percentile" else report.method
    opset = "" if report.opset[0] == report.opset[1] else f", opset {report.opset[0]} → {report.opset[1]}"
    sizes = f"{report.int8_bytes / 1e6:.3f} MB (float: {report.float_bytes / 1e6:.3f} MB)"
    images = counted(report.images, "image")
    lines = [
        f"{output}: {counted(report.nodes, 'node')} in INT8, {sizes}{opset}",
        f"ranges by {how} from {images} into {report.input.name!r} ({report.input.layout.upper()})",
    ]
    if report.int8_bytes > report.float_bytes:
        lines.append(
            "larger than float: weights stay float32 beside their Q/DQ, as TensorRT's documentation asks for "
            "(engines are small all the same); --fold_weights stores them as INT8"
            if report.placement.target == "tensorrt"
            else "larger than float: few weights are INT8, and there are scales beside them"
        )
    if report.choice:
        tried = report.choice.tried
        scores = ", ".join(
            f"{method} {score:.1f}" + (f" (on {tried[method]})" if tried[method] != tried[report.method] else "")
            for method, score in report.choice.scores.items()
        )
        which = "held out" if report.choice.held_out else "of the calibration: too few to hold some out"
        on = f"{counted(report.choice.images, 'image')} {which}"
        lines.append(
            f"{report.method} chosen by the worst output on {on}, dB: {scores}"
            if report.choice.agreement.judged
            else f"{report.method} taken without a measurement: no output could be compared"
        )
    if report.bias_correction:
        choice = report.choice
        shown = ""
        if choice and choice.biases:
            on = f"the first {choice.agreement.images} of these images" if choice.corrects_biases else "these images"
            shown = f": {choice.biases[0]:.1f} → {choice.biases[1]:.1f} dB on {on}"
        lines.append(f"biases of convolutions corrected{shown} (--no_bias_correction: as they are)")
    if report.equalized:
        count = counted(len(report.equalized), "depthwise convolution")
        lines.append(f"channels brought to one range by a Mul in front of {count} (--no_equalize: without)")
    if report.kept_float32:
        lines.append(
            f"left in float32, for values that do not fit into float16: {counted(len(report.kept_float32), 'node')} "
            "(see --json)"
        )
    if report.search:
        search = report.search
        how = f"for {search.wanted:g} dB, reached {search.reached:.1f} dB, {counted(search.runs, 'model')} tried"
        lines.append(f"{counted(len(search.layers), 'layer')} in float {how}")
        if search.layers:
            lines += [f"  {search.exclude_arguments}", f"  layer-device-precision={search.layer_device_precision}"]
    if trt_cache:
        lines.append(f"{trt_cache}: calibration cache, to use with the float model and TensorRT {trt_version} only")
        if report.listed_in_float:
            count = counted(len(report.listed_in_float), "tensor")
            lines.append(
                f"listed there, float in {output}: {count}. TensorRT may make them INT8, which no figure below shows"
            )
        if report.unlisted:
            unseen = any(not node.computed for node in report.foreign) or "within" in report.placement.floated.values()
            more = " or not computed here" if unseen else ""
            lines.append(
                f"not listed there: {counted(len(report.unlisted), 'tensor')} merged into others{more} (see --json)"
            )
    if report.excluded:
        lines.append(f"left in float: {', '.join(report.excluded)}")
    lines += [f"{words}: {', '.join(names)}" for words, names in report.placement.left_out]
    if report.from_float16:
        lines.append(
            "the model holds 16-bit floats: the INT8 model has float32 in their place, its inputs and outputs included"
        )
    for computed, how in ((False, "not computed here"), (True, "computed for calibration by our own formulas")):
        nodes = [f"{node.name} ({node.operator})" for node in report.foreign if node.computed is computed]
        if nodes:
            lines.append(f"kept as they were, {how}: {', '.join(nodes)}")
    if report.behind:
        lines.append(f"left in float, because they follow those or lie within: {', '.join(report.behind)}")
    if report.not_finite and trt_cache:
        lines.append(f"infinite on these images, not in the cache: {', '.join(report.not_finite)}")
    if report.inactive:
        lines.append(f"always 0 (or as good as that) on these images, range unknown: {', '.join(report.inactive)}")
    if report.in_sample:
        lines += agreement.as_lines(report.in_sample, "agreement with float, in-sample (images used to calibrate)")
    if report.held_out:
        lines += agreement.as_lines(report.held_out, f"agreement with float, {_seen(report)}")
    if report.verdict:
        lines.append(f"verdict: {report.verdict.level} ({report.verdict.why})")
    return lines


def _seen(report: QuantizeReport) -> str:
    """What the images of ``--eval`` are: held-out ones, if none was used to calibrate."""
    if not report.shared_images:
        return "held-out"
    return f"NOT held-out ({counted(report.shared_images, 'image')} of the file of --eval used to calibrate)"
