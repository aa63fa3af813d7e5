"""The page to read first: how an experiment spec becomes a tensorfile.

    read_spec ──► plan ──────────────────────────────────► make
    text → typed  which samples, in which order, and the   decode → numbers → chunks on threads, one ordered writer,
    message       arithmetic; nothing decoded or written   a file that gets its name when it is complete

`plan` is the dry run; ``make(plan(spec), out)`` is the run.
"""

from __future__ import annotations

import os
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from int8cal import manifest as manifests
from int8cal import networks
from int8cal.engine import engine_named
from int8cal.engine.assemble import Assembled, OnBadImage, assemble
from int8cal.engine.journal import Journal, journal_path
from int8cal.engine.resume import resumed
from int8cal.engine.versions import encoder_versions
from int8cal.engine.work import ChunkWork, ImageWork
from int8cal.errors import EngineFailedError, OutputError, SpecError, UsageError
from int8cal.io.paths import require_free_space
from int8cal.io.progress import watched
from int8cal.manifest import Clock, Manifest, SkippedImage
from int8cal.networks.reading import read_and_parse
from int8cal.planning import (
    checked_options,
    common_shape,
    folder_arithmetic,
    full_batches,
    image_folder,
    require_possible,
)
from int8cal.plans import Plan
from int8cal.samples.folders import read_folder
from int8cal.samples.order import permutation
from int8cal.spec.prototext.check import require_sound
from int8cal.spec.prototext.spec import Spec
from int8cal.tensorfile.chunks import Compression, CompressionName
from int8cal.tensorfile.shards import TensorFileOutput
from int8cal.types import SplitName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from int8cal.types import Progress, Size


def read_spec(
    path: str | os.PathLike[str],
    network: str | None = None,
    *,
    allow_unknown_fields: bool = False,
    strict: bool = False,
    strict_network: bool = False,
) -> Spec:
    """Read, parse and check an experiment spec.

    Args:
        path: the spec file (protobuf text), or a pipe; it is read once.
        network: the network that it should be of; None: found from the spec itself.
        allow_unknown_fields: unknown fields are warnings instead of errors.
        strict: legacy fields, too, are errors.
        strict_network: a spec of another network than ``network`` is an error; else it runs as what it is, and warns.

    Returns:
        The typed message with positions and warnings.

    Raises:
        SpecError: the file cannot be read, parsed, or fails a check; ``where`` is ``path:line:column``.
        UsageError: ``network`` is unknown.
    """
    path = os.fspath(path)
    asked = networks.get(network) if network else None
    spec = read_and_parse(path, asked, allow_unknown_fields=allow_unknown_fields, strict=strict)
    found = networks.of_spec(spec)
    if asked and asked is not found:
        message = f"is a spec of {found.name}, not of {asked.name}"
        if strict_network:
            raise SpecError(message, where=path, hint=f"Run: int8cal {found.name} …")
        spec = replace(spec, warnings=(*spec.warnings, f"{path}: {message}: runs as {found.name}"))
    found.refuse_outdated(spec)
    require_sound(spec)
    found.check(spec)
    return spec


def plan(
    spec: Spec | str | os.PathLike[str],
    *,
    split: SplitName = "training",
    max_batches: int | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
    data_root: str | None = None,
    cal_image_dir: str | os.PathLike[str] | None = None,
    recursive: bool = False,
    options: Mapping[str, str] | None = None,
) -> Plan:
    """Decide everything about a run. Reads the spec and the records; decodes nothing, writes nothing.

    Args:
        spec: a spec from `read_spec`, or the path of one.
        split: which split to take samples from.
        max_batches: number of batches; -1: all full ones; None: the network's default.
        seed: seed of the sample order; None: the spec's.
        batch_size: images per batch; None: the spec's.
        data_root: folder that relative paths in the spec start from; None: what the network's reference does.
        cal_image_dir: take images from this folder, at random and without replacement, in place of the spec's data.
        recursive: with ``cal_image_dir``: from the folders below it, too.
        options: choices that this network offers beside its spec (`Network.options`); the rest have their default.

    Raises:
        UsageError: an argument is out of range.
        SpecError: the spec asks for something impossible.
        DataError: the data set cannot give what is asked for.
    """
    spec = spec if isinstance(spec, Spec) else read_spec(spec)
    network = networks.of_spec(spec)
    require_possible(split=split, max_batches=max_batches, batch_size=batch_size, seed=seed)
    max_batches = network.default_max_batches if max_batches is None else max_batches
    batch_size = network.batch_size(spec.message) if batch_size is None else batch_size
    seed = network.seed(spec.message) if seed is None else seed

    options = checked_options(network, options or {})
    folder = image_folder(cal_image_dir, split, recursive=recursive)
    if folder:
        dataset = read_folder(folder, split, size_of=_size_by_header() if network.uses_recorded_sizes else None)
        order = permutation(len(dataset.samples), seed)
        arithmetic = folder_arithmetic(network, spec, dataset, options)
    else:
        dataset = network.dataset(spec, split, network.data_root(os.environ) if data_root is None else data_root)
        order = network.order(spec.message, dataset, seed)
        arithmetic = network.arithmetic(spec, dataset, options)
    batches = full_batches(dataset, folder, spec, batch_size, max_batches)
    return Plan(
        spec=spec,
        network=network,
        split=split,
        seed=seed,
        batch_size=batch_size,
        max_batches=max_batches,
        batch_count=batches,
        dataset=dataset,
        order=order,
        arithmetic=arithmetic,
        options=options,
        folder=folder,
        image_shape=common_shape(arithmetic, dataset, order[: batches * batch_size], batch_size),
    )


def _size_by_header() -> Callable[[bytes, str], Size]:
    from int8cal.images.pictures import picture_size  # late: Pillow, for some runs from a folder alone

    return picture_size


def make(
    plan: Plan,
    out: str | os.PathLike[str],
    *,
    engine: str = "native",
    ray_address: str | None = None,
    overwrite: bool = False,
    on_bad_image: OnBadImage = "fail",
    max_skipped: int = 0,
    workers: int | None = None,
    compression: CompressionName = "fast",
    shards: int | None = None,
    resume: bool = False,
    scratch_dir: str | None = None,
    progress: Progress | None = None,
    record: Mapping[str, Any] | None = None,
) -> Manifest:
    """Make the tensorfile of a plan. The file has its final name when it is complete, or does not exist.

    Args:
        plan: what to make.
        out: path of the tensorfile; ``<out>.json`` is written beside it.
        engine: ``native`` (threads of this process), ``ray`` (a Ray cluster), or ``tao`` (NVIDIA's own command, where
            it is installed; it has no progress to tell).
        ray_address: of the cluster, for engine ``ray``; None: ``RAY_ADDRESS`` of the environment, or else a cluster of
            this machine alone, for the time of the run.
        overwrite: replace existing output: a tensorfile, never anything else.
        on_bad_image: ``fail`` ends the run at the first unusable image; ``skip`` leaves up to ``max_skipped`` out,
            and later samples of the order move up.
        max_skipped: how many images may be left out; needed with ``skip``, refused without.
        workers: images worked on at the same time; None: the processors that this process may use, or the cluster has.
        compression: ``fast``, ``small`` or ``none``.
        shards: write so many part files beside ``out``, which then holds no more than links to them; None: one file.
        resume: keep finished images beside ``out`` until it is complete, and use what an interrupted run of the same
            plan kept, as far as the images have not changed since.
        scratch_dir: write there and copy to ``out`` at the end; None: beside ``out``.
        progress: told how far the work is.
        record: what else ``<out>.json`` should say, by name.

    Returns:
        The record of the run.

    Raises:
        UsageError: an argument is wrong.
        DataError: an image or record cannot be used.
        OutputError: the file exists, another run is writing it, or it cannot be written.
        UnavailableError: engine ``ray``: no cluster, or one that does not fit; ``tao``: NVIDIA's command is not there.
        EngineFailedError: NVIDIA's command failed.
    """
    out = os.fspath(out)
    encoder = Compression.named(compression)
    skipping = _checked_skipping(on_bad_image, max_skipped)
    if engine == "tao":
        if skipping:
            raise UsageError("NVIDIA's command cannot leave bad images out", hint="Use on_bad_image fail.")
        if resume or shards or ray_address or workers is not None or compression != "fast":
            raise UsageError(
                "NVIDIA's command knows nothing of resume, shards, Ray, workers and compression",
                hint="Leave them out.",
            )
        return _made_by_nvidia(plan, out, overwrite=overwrite, scratch_dir=scratch_dir, record=record or {})
    stream = engine_named(engine, plan, ray_address=ray_address)
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers cannot work", hint="Give --workers a positive number.")
    nbytes = int(plan.nbytes * encoder.typical_ratio)
    clock = Clock()
    with (
        TensorFileOutput(out, shards=shards, overwrite=overwrite, scratch_dir=scratch_dir) as output,
        manifests.run_facts_output(out, overwrite=overwrite) as run_facts,
        _journal(plan, out, encoder, nbytes) if resume else nullcontext() as journal,
    ):
        output.require_space(nbytes)
        work = ChunkWork(ImageWork.of(plan), encoder)
        samples = plan.candidates(None if skipping else plan.image_count)
        results = resumed(stream, journal, work, samples, workers) if journal else stream(work, samples, workers)
        with (
            output.writer(plan.shape, encoder, plan.batch_count) as writer,
            closing(results),
            watched(progress, plan.image_count) as advance,
        ):
            assembled = assemble(
                results,
                writer,
                batch_size=plan.batch_size,
                batches=None if skipping and plan.max_batches == -1 else plan.batch_count,
                max_skipped=max_skipped,
                advance=advance,
            )
            facts = writer.finish(manifests.facts(plan, assembled, encoder.name), assembled.rows)
        run = {"engine": engine, "workers": workers, **clock.facts(len(assembled.rows))}
        if journal:
            run |= {"images_reused": journal.reused, "images_changed": journal.changed}
        manifest = _manifest(plan, out, facts, run, record, assembled)
        manifests.publish(output, run_facts, manifest, **({"then": journal.remove} if journal else {}))
    return manifest


def _manifest(
    plan: Plan,
    out: str,
    facts: dict[str, Any],
    run: dict[str, Any],
    record: Mapping[str, Any] | None,
    assembled: Assembled | None = None,
) -> Manifest:
    """The record of a run; ``assembled`` is unknown of a file that another tool made."""
    assembled = assembled or Assembled()
    return Manifest(
        path=out,
        facts=facts,
        samples=tuple(assembled.rows),
        skipped=tuple(SkippedImage.of(failed) for failed in assembled.skipped),
        warnings=plan.warnings,
        run={"spec": os.path.abspath(plan.spec.path), **run, **manifests.machine()},
        record=dict(record or {}),
    )


def _journal(plan: Plan, out: str, compression: Compression, nbytes: int) -> Journal:
    """Where the finished images of a plan are kept, ``nbytes`` in the end, with all on which their chunks depend."""
    identity = {"plan_sha256": plan.sha256, "compression": compression.name, **encoder_versions()}
    path = journal_path(out, identity)
    kept = os.path.getsize(path) if os.path.exists(path) else 0
    require_free_space(os.path.dirname(path), 2 * nbytes - kept)  # the output grows beside it
    image_bytes = plan.nbytes // plan.image_count
    return Journal(path, identity, samples=len(plan.order), batch_size=plan.batch_size, image_bytes=image_bytes)


def _made_by_nvidia(
    plan: Plan, out: str, *, overwrite: bool, scratch_dir: str | None, record: Mapping[str, Any]
) -> Manifest:
    """Engine ``tao``. The record is written whatever the command came to: it holds its exit code."""
    from int8cal.engine import tao  # needed by few

    command = tao.command_of(plan)
    clock = Clock()
    with (
        tao.safe_folder(scratch_dir) as folder,
        TensorFileOutput(out, overwrite=overwrite, scratch_dir=folder) as output,
        manifests.run_facts_output(out, overwrite=overwrite) as run_facts,
    ):
        result = tao.run(command, plan, output.scratch, folder)
        run = {"engine": "tao", "command": list(result.arguments), "exit_code": result.exit_code}
        run |= clock.facts(plan.image_count)
        facts = manifests.reference_facts(plan)
        if result.problem:
            error = {"message": result.problem, "exit_code": EngineFailedError.exit_code}
            with suppress(OutputError):  # the failure itself is what the user must hear of
                run_facts.write(_manifest(plan, out, facts, run, {**record, "error": error}).to_bytes())
                run_facts.commit()
            raise EngineFailedError(result.problem, hint="Its own messages are in the log above.")
        run |= {"tensorfile_sha256": tao.file_sha256(output.scratch), "images_sha256": tao.images_sha256(plan)}
        manifest = _manifest(plan, out, facts, run, record)
        manifests.publish(output, run_facts, manifest)
    return manifest


def _checked_skipping(on_bad_image: str, max_skipped: int) -> bool:
    if on_bad_image not in get_args(OnBadImage):
        raise UsageError(f"on_bad_image {on_bad_image!r} is unknown", hint="Use fail or skip.")
    if max_skipped < 0:
        raise UsageError(f"{max_skipped} images cannot be left out", hint="Give --max_skipped 0 or more.")
    if (on_bad_image == "skip") != (max_skipped > 0):
        raise UsageError(
            "skipping bad images needs both --on_bad_image skip and --max_skipped N with N > 0",
            hint="Give both, or neither.",
        )
    return on_bad_image == "skip"
