"""An INT8 model (Q/DQ ONNX) and a TensorRT calibration cache from a float model and a tensorfile, on the CPU.

The flow: read the model → take what can be computed of it (`float_model`, `computable`) → look whether it comes alive
on the images (`alive`) → prepare it (`graph`) → run the calibration images once (`calibrate`) → decide on the method
and on what stays float (`decide`) → insert Q/DQ (`qdq`) with its thresholds (`ranges`) where it belongs (`placement`)
→ measure how far INT8 is from float (`side_by_side`, `agreement`) → judge that (`verdict`) → put the rest back →
write.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from int8cal.errors import UsageError
from int8cal.io.arguments import checked_arguments
from int8cal.io.file_kinds import CALIBRATION_CACHE, ONNX_MODEL
from int8cal.io.files import OutputFile, commit_together
from int8cal.io.paths import given_path
from int8cal.io.summary import Summarised, counted
from int8cal.models import half
from int8cal.models.agreement import Agreement
from int8cal.models.alive import MIN_FOR_CLASSES, check_alive, some_images
from int8cal.models.bias import images_for_bias
from int8cal.models.binding import Constants, InputBinding
from int8cal.models.calibrate import Calibration, calibrate
from int8cal.models.choose import Choice, held_out_parts, trials_of
from int8cal.models.computable import Foreign
from int8cal.models.decide import Chosen, Judges, decide
from int8cal.models.equalize import SUFFIX, is_uneven
from int8cal.models.float_model import FloatModel
from int8cal.models.graph import all_activations, lost_activations, prepare
from int8cal.models.onnx_file import serialized
from int8cal.models.opset import converted, opset
from int8cal.models.overlap import Digested, check_evaluation, repeated_images, same_images, shared_images
from int8cal.models.placement import Placement
from int8cal.models.qdq import check_quantized
from int8cal.models.ranges import DEFAULT_PERCENTILE
from int8cal.models.recipe import recipe, write_recipe
from int8cal.models.runner import INT8_MODEL, LEAVE_IN_FLOAT, fault_of_model, numeric_outputs, try_out
from int8cal.models.search import Search
from int8cal.models.settings import Settings
from int8cal.models.side_by_side import KnownValues, measure_agreement
from int8cal.models.variants import Variants
from int8cal.models.verdict import Verdict, judge
from int8cal.models.wiring import Wiring
from int8cal.tensorfile.batches import BatchesLike, opened
from int8cal.tensorfile.findings import Finding
from int8cal.tensorrt.cache import CalibrationCache, check_names, dumps, version_number
from int8cal.tensorrt.deepstream import CONFIGURATION, configuration, other_padding
from int8cal.types import Layout, Method, MethodChoice, Precision, Progress, Target

IN_SAMPLE_IMAGES = 64  # enough to see a broken model; a judgement needs held-out images anyway


@dataclass(frozen=True, repr=False)
class QuantizeReport(Summarised):
    """What `quantize` did.

    Attributes:
        method, percentile: how thresholds were chosen.
        choice: how the method was chosen; None when the caller chose it.
        search: which layers were left in float to reach an agreement, and how; None when none was asked for.
        verdict: on the model; None when no agreement was measured.
        findings: what the float model makes of the images, see `int8cal.models.alive`, and what DeepStream makes of
            them otherwise, see `int8cal.tensorrt.deepstream`.
        input: how the images got into the model.
        images: number of calibration images.
        nodes: how many nodes were quantised.
        placement: where Q/DQ stands, and what each rule of the policy did.
        equalized: depthwise convolutions before which channels were brought to one range.
        bias_correction: whether biases were corrected.
        kept_float32: with ``precision="fp16"``: nodes that stay float32 because of the range of their values.
        foreign: nodes that are not computed here, such as TensorRT's plug-ins; they are in the INT8 model as they were.
        behind: names of the weighted nodes behind those or within, which stay float.
        opset: (of the float model, of the INT8 model).
        amax: quantised activation → threshold.
        not_finite: activations that took infinite values (attention masks); no cache lists them.
        inactive: measured activations that were 0, or as good as that, on every image; their scale is arbitrary, and no
            cache lists them.
        listed_in_float: activations that the cache lists and that are float in the INT8 model. TensorRT may compute
            them in INT8, which no agreement shows.
        unlisted: activations of the float model that a cache does not list, because another node computes what theirs
            did (such as a convolution before its BatchNormalization), or because nobody computes them here (behind
            plug-ins, in loops and branches).
        from_float16: whether the model held 16-bit floats, which are float32 in the INT8 model.
        float_bytes, int8_bytes: sizes of the two models, external data included.
        in_sample: agreement on (the first images of) the calibration file itself; None when not measured.
        held_out: agreement on the evaluation file; None without one.
        shared_images: how many of the evaluation images are calibration images too, by their bits or by the encoded
            image that they were made from.
    """

    method: Method
    percentile: float
    choice: Choice | None
    search: Search | None
    verdict: Verdict | None
    findings: tuple[Finding, ...]
    input: InputBinding
    images: int
    nodes: int
    placement: Placement
    equalized: tuple[str, ...]
    bias_correction: bool
    kept_float32: tuple[str, ...]
    foreign: tuple[Foreign, ...]
    behind: tuple[str, ...]
    opset: tuple[int, int]
    amax: dict[str, float]
    not_finite: tuple[str, ...]
    inactive: tuple[str, ...]
    listed_in_float: tuple[str, ...]
    unlisted: tuple[str, ...]
    from_float16: bool
    float_bytes: int
    int8_bytes: int
    in_sample: Agreement | None
    held_out: Agreement | None
    shared_images: int = 0

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        measured = self.held_out or self.in_sample
        shown = measured.summary() if measured else counted(self.images, "image")
        return f"{self.method}, {counted(self.nodes, 'node')}, {shown}"

    def summary_rows(self) -> Iterator[tuple[str, object]]:
        """The few facts that a notebook shows."""
        yield "method", self.method
        yield "calibration images", self.images
        yield "nodes quantised", self.nodes
        yield "size", f"{self.float_bytes / 1e6:,.1f} MB, in INT8 {self.int8_bytes / 1e6:,.1f} MB"
        for title, agreement in (("calibration images", self.in_sample), ("held-out images", self.held_out)):
            for name, figures in agreement.summary_rows() if agreement else ():
                yield f"{name} on {title}", figures

    @property
    def excluded(self) -> tuple[str, ...]:
        """Names of quantisable layers left in float on request."""
        return self.placement.did["excluded"]


@checked_arguments()
def quantize(
    model: str | os.PathLike[str],
    batches: BatchesLike,
    out: str | os.PathLike[str],
    *,
    method: MethodChoice = "auto",
    percentile: float = DEFAULT_PERCENTILE,
    exclude: Sequence[str] = (),
    min_agreement: float | None = None,
    score: Callable[[Any], float] | None = None,
    say: Callable[[str], None] | None = None,
    target: Target = "tensorrt",
    precision: Precision = "fp32",
    fold_weights: bool = False,
    full_range_weights: bool = False,
    equalize: bool = True,
    bias_correction: bool | None = None,
    trt_cache: str | os.PathLike[str] | None = None,
    trt_version: str | None = None,
    deepstream: str | os.PathLike[str] | None = None,
    input_name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
    evaluation: BatchesLike | None = None,
    agreement: bool = True,
    force: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> QuantizeReport:
    """Make an INT8 model from a float model and calibration images.

    Args:
        model: float ONNX file.
        batches: calibration images, NCHW float32, preprocessed as in training: a tensorfile or its path,
            `int8cal.Plan.batches`, or what else `int8cal.tensorfile.batches.opened` takes. An iterator that can be gone
            through once will do where agreement is not measured.
        out: the INT8 model to write.
        method: how each activation's threshold is chosen, see `int8cal.models.ranges`; ``auto`` tries all of them on
            images that are held out for it, see `int8cal.models.choose`.
        percentile: for the method ``percentile``.
        exclude: names or shell patterns of nodes that stay float.
        min_agreement: leave as few layers in float as give the worst output this SQNR in dB on held-out images, see
            `int8cal.models.search`.
        score: judges an INT8 model (``onnx.ModelProto``, the part of it that is computed here) in place of the SQNR;
            finite, larger is better. Not without ``min_agreement``, which is in its unit.
        say: told beforehand how many models will be tried.
        target: the engine that will run the model, see `int8cal.models.placement`.
        precision: of the float part: ``fp16`` makes all float16 that can be, see `int8cal.models.half`; under TensorRT
            11 the types of the model are those of the engine.
        full_range_weights: for ``onnxruntime``: weights of 8 bits instead of 7, which overflow on x86 processors
            without VNNI.
        equalize: bring the channels that depthwise convolutions read to one range, see `int8cal.models.equalize`; not
            for ``onnxruntime``, and never in the cache.
        bias_correction: correct the biases of INT8 convolutions, see `int8cal.models.bias`; None: with the method
            ``auto``, if it helps on the images that are held out, else not. It is no part of the cache.
        fold_weights: store weights as INT8; see `int8cal.models.qdq.insert_qdq`.
        trt_cache: also write a calibration cache for TensorRT 10 or older here; it lists every activation that is left
            once the model is prepared, see `int8cal.models.graph.prepare`.
        trt_version: TensorRT release that will read the cache (``10.3.0``); required with ``trt_cache``.
        deepstream: also write a configuration for DeepStream's nvinfer here, which names the float model and the cache;
            needs ``trt_cache``, and images that say how they were preprocessed.
        input_name: the model's input, to be sure of it.
        layout: layout of that input, where it cannot be told.
        constants: values of the model's other inputs, which take no images.
        evaluation: held-out images of the same preprocessing, to measure agreement on; as ``batches``.
        agreement: measure agreement on the calibration images.
        force: go on although the float model does not come alive on the images, see `int8cal.models.alive`.
        overwrite: replace existing files, ``out`` if it is an ONNX model, ``trt_cache`` if it is a cache, and
            ``deepstream`` if it was written here and not edited since.
        progress: told about each pass over images.

    Raises:
        UsageError: wrong arguments.
        UseError: the model cannot be read or quantised, does not fit the images, or does not come alive on them.
        OutputError: a result cannot be written, or exists already.
        UnavailableError: the extra ``quantize`` is not installed.
    """
    settings = Settings(
        method=method,
        percentile=percentile,
        exclude=tuple(exclude),
        min_agreement=min_agreement,
        score=score,
        target=target,
        precision=precision,
        fold_weights=fold_weights,
        full_range_weights=full_range_weights,
        equalize=equalize,
        bias_correction=bias_correction,
    )
    settings.check()
    version = _cache_version(out, trt_cache, trt_version, deepstream)
    if evaluation is not None and evaluation is batches:
        raise same_images(None)
    with ExitStack() as files:
        searches_here = settings.searches and evaluation is None
        again = agreement or method == "auto" or bool(bias_correction) or searches_here
        images, validation = files.enter_context(opened(batches, again=again)), None
        used = Digested(images)
        inputs = [given_path(model, "a model"), *images.paths]
        if evaluation is not None:
            validation = Digested(files.enter_context(opened(evaluation)))
            check_evaluation(images, validation)
            inputs += validation.paths
        output = partial(OutputFile, overwrite=overwrite, inputs=inputs)
        results = _result_files(files, output, out, trt_cache, deepstream)
        model_file, cache_file, config_file = results
        manifest, config = getattr(images, "manifest", None), ""

        # Look: which part of the model can be computed, whether it comes alive on the images, where Q/DQ stands.
        source = FloatModel.opened(model, files, filter(None, results))
        parts = source.parts
        binding = parts.bind(images.shape, name=input_name, layout=layout, constants=constants)
        findings: tuple[Finding, ...] = ()
        if deepstream is not None and trt_cache is not None:
            chw = images.shape[1:]
            findings = tuple(other_padding(manifest, chw))
            config = configuration(
                manifest, chw, model=model, cache=trt_cache, beside=deepstream, layout=binding.layout
            )
        shown = some_images(images, MIN_FOR_CLASSES)
        findings += check_alive(parts, binding, shown, manifest, force=force)
        few = shown[: binding.batch or 1].copy()
        del shown
        prepared = prepare(converted(parts.model, binding, few, settings.least_opset))
        wiring = Wiring(prepared, binding, images.shape[1:])
        variants = Variants(
            model=prepared,
            wiring=wiring,
            binding=binding,
            images=used,
            target=target,
            excluded=tuple(parts.exclusions(exclude, prepared)),
            fold_weights=fold_weights,
            full_range_weights=full_range_weights,
            progress=progress,
        )
        placement = variants.placed()
        listed = all_activations(prepared) if trt_cache else []
        check_names(listed)

        # Calibrate: one run of all images, in which those that are held out to judge models by are counted apart.
        held_out = held_out_parts(used.image_count) if settings.holds_out and validation is None else ()
        needs_all = settings.searches or precision == "fp16"
        read_in_int8 = placement.tensors(prepared)
        depthwise = _depthwise(prepared, placement)
        known = KnownValues()
        parted = calibrate(
            prepared,
            all_activations(prepared) if needs_all else list(dict.fromkeys([*read_in_int8, *listed])),
            used,
            binding,
            progress,
            needed=read_in_int8,
            by_channel=set(depthwise.values()) if equalize else (),
            known=known if method == "auto" and not binding.kernels else None,
            outputs=numeric_outputs(parts.model),
            held_out=held_out,
            activation_bytes=wiring.activation_bytes,
        )
        calibration = Calibration.joined(parted)
        findings += tuple(repeated_images(used))

        # Choose the method, then search for the layers that stay float.
        judges = Judges(
            trials=trials_of(parted, held_out),
            reference=parts.model,
            batches=images if validation is None else validation,
            known=known,
            held_out=bool(held_out) or validation is not None,
        )
        chosen = decide(settings, variants, placement, judges, say)
        placement = chosen.placement

        # Make the model by the thresholds of all images.
        read_in_int8 = placement.tensors(prepared)
        amax = calibration.only(dict.fromkeys([*read_in_int8, *listed])).amax(chosen.method, percentile)
        scales = placement.with_shared_scales({name: amax[name] for name in read_in_int8})
        bias_images = images_for_bias(used.digests) if chosen.bias_correction else ()
        quantized = variants.made(placement, scales, calibration, bias_images)
        kept_float32: tuple[str, ...] = ()
        if precision == "fp16":
            quantized, kept_float32 = _in_half(quantized, placement, calibration)
        check_quantized(quantized)
        with fault_of_model(INT8_MODEL, LEAVE_IN_FLOAT):
            try_out(quantized, binding, few)

        # Judge it.
        measure = partial(measure_agreement, parts.model, quantized, bindings=(binding, binding), progress=progress)
        in_sample = measure(images, max_images=IN_SAMPLE_IMAGES) if agreement else None
        by_evaluation = None if validation is None else measure(validation)
        seen = [by_evaluation] if by_evaluation else [one for one in (chosen.agreement(settings), in_sample) if one]
        verdict = judge(*seen) if seen else None
        if chosen.search and score is None and verdict:
            findings += tuple(chosen.search.missed_by(verdict.worst_db))

        # Write. The report comes before anything is published, for it reads the sample tables.
        whole = parts.reattach(quantized)
        write_recipe(whole, recipe(source.read, used, _recorded(settings, chosen, binding, constants), manifest))
        data = serialized(whole)
        uneven = {name for name, peaks in calibration.peaks.items() if is_uneven(peaks)}
        report = QuantizeReport(
            method=chosen.method,
            percentile=percentile,
            choice=chosen.choice,
            search=chosen.search,
            verdict=verdict,
            findings=findings,
            input=binding,
            images=calibration.images,
            nodes=len(placement.reads),
            placement=placement,
            equalized=tuple(name for name in placement.layers if depthwise.get(name) in uneven),
            bias_correction=chosen.bias_correction,
            kept_float32=kept_float32,
            foreign=parts.foreign,
            behind=parts.behind,
            opset=(source.opset, opset(quantized)),
            amax=scales,
            not_finite=calibration.not_finite,
            inactive=tuple(name for name, magnitude in amax.items() if magnitude == 0.0),
            listed_in_float=tuple(name for name in listed if name in amax and name not in scales),
            unlisted=tuple(dict.fromkeys([*lost_activations(parts.model, prepared), *parts.unseen()])),
            from_float16=source.from_float16,
            float_bytes=source.size,
            int8_bytes=len(data),
            in_sample=in_sample,
            held_out=by_evaluation,
            shared_images=0 if validation is None else shared_images(used, validation),
        )
        model_file.write(data)
        if cache_file:
            cache = CalibrationCache({name: amax[name] for name in listed if name in amax}, version)
            cache_file.write(dumps(cache).encode())
        if config_file:
            config_file.write(config.encode())
        commit_together(*filter(None, (config_file, cache_file, model_file)))
    return report


def _recorded(settings: Settings, chosen: Chosen, binding: InputBinding, constants: Constants | None) -> dict[str, Any]:
    """The arguments by which the same model is made again, see `int8cal.models.recipe`."""
    in_float = chosen.search.layers if chosen.search else ()
    return {
        "method": chosen.method,
        "chosen_by": settings.method,
        "percentile": settings.percentile,
        "exclude": [*settings.exclude, *map(glob.escape, in_float)],
        "target": settings.target,
        "precision": settings.precision,
        "fold_weights": settings.fold_weights,
        "full_range_weights": settings.full_range_weights,
        "equalize": settings.equalize,
        "bias_correction": chosen.bias_correction,
        "layout": binding.layout,
        "constants": {name: np.ravel(values).tolist() for name, values in (constants or {}).items()},
    }


def _result_files(
    files: ExitStack,
    output: Callable[..., OutputFile],
    out: str | os.PathLike[str],
    trt_cache: str | os.PathLike[str] | None,
    deepstream: str | os.PathLike[str] | None,
) -> tuple[OutputFile, OutputFile | None, OutputFile | None]:
    """The files of the INT8 model, of the cache and of DeepStream's configuration, whose names are free."""
    model_file = files.enter_context(output(given_path(out, "the INT8 model"), replaces=ONNX_MODEL))
    cache_file = config_file = None
    if trt_cache:
        cache_file = files.enter_context(output(os.fspath(trt_cache), replaces=CALIBRATION_CACHE))
    if deepstream:
        config_file = files.enter_context(output(given_path(deepstream, "a configuration"), replaces=CONFIGURATION))
    return model_file, cache_file, config_file


def _depthwise(prepared: Any, placement: Placement) -> dict[str, str]:
    """Depthwise convolution that is INT8 → the activation that it reads."""
    names = set(placement.did.get("depthwise", ()))
    return {node.name: node.input[0] for node in prepared.graph.node if node.name in names}


def _in_half(quantized: Any, placement: Placement, calibration: Calibration) -> tuple[Any, tuple[str, ...]]:
    """An INT8 model whose float part is float16, and the nodes that stay float32, see `int8cal.models.half`."""
    largest = {name: histogram.amax for name, histogram in calibration.histograms.items()}
    largest |= {f"{name}{SUFFIX}": largest[name] for name in calibration.peaks}
    return half.to_half(quantized, largest, single_scales=placement.unsigned)


def _cache_version(
    out: str | os.PathLike[str],
    trt_cache: str | os.PathLike[str] | None,
    trt_version: str | None,
    deepstream: str | os.PathLike[str] | None,
) -> int | None:
    """TensorRT's number in the header of the cache; None without one.

    Raises:
        UsageError: a cache without a version, something that needs a cache without one, or one name for two results.
    """
    if trt_cache is None and deepstream is not None:
        raise UsageError(
            "DeepStream takes a calibration cache, and runs FP16 without one",
            hint="Add --trt_cache FILE and --trt_version, the TensorRT release of its container.",
        )
    if trt_cache is None and trt_version is not None:
        raise UsageError("a TensorRT version is of use only with a calibration cache", hint="Add --trt_cache FILE.")
    if trt_cache is None:
        return None
    named = {"the INT8 model": out, "the calibration cache": trt_cache, "DeepStream's configuration": deepstream}
    for (first, path), (second, other) in combinations(named.items(), 2):
        if path and other and os.path.realpath(path) == os.path.realpath(other):
            hint = "Give each a name of its own."
            raise UsageError(f"{first} and {second} cannot be one file", where=os.fspath(other), hint=hint)
    if trt_version is None:
        raise UsageError(
            "a calibration cache is valid for one TensorRT version only",
            hint="Add --trt_version, the release that will read the cache, e.g. 10.3.0.",
        )
    return version_number(trt_version)
