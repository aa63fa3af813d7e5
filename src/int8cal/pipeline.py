"""The page to read first: how an experiment spec becomes a tensorfile.

    read_spec ──► plan ──────────────────────────────────► make
    text → typed  which samples, in which order, and the   decode → numbers → chunks on threads, one ordered writer,
    message       arithmetic; nothing decoded or written   a file that gets its name when it is complete

`plan` is the dry run; ``make(plan(spec), out)`` is the run.
"""

from __future__ import annotations

import os
from contextlib import closing, nullcontext, suppress
from typing import TYPE_CHECKING, Any, get_args

from int8cal import manifest as manifests
from int8cal.engine import engine_named
from int8cal.engine.assemble import Assembled, OnBadImage, assemble
from int8cal.engine.journal import Journal, journal_path
from int8cal.engine.resume import resumed
from int8cal.engine.versions import encoder_versions
from int8cal.engine.work import ChunkWork, ImageWork
from int8cal.errors import EngineFailedError, OutputError, UsageError
from int8cal.io.paths import require_free_space
from int8cal.io.progress import watched
from int8cal.manifest import Clock, Manifest, SkippedImage
from int8cal.origins.experiment import read_spec
from int8cal.origins.origin import Choice, Origin
from int8cal.plans import Plan, plan_of
from int8cal.tensorfile.chunks import Compression, CompressionName
from int8cal.tensorfile.shards import TensorFileOutput
from int8cal.types import SplitName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from int8cal.types import Progress


def plan(
    origin: Origin | str | os.PathLike[str],
    *,
    split: SplitName | None = None,
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
        origin: what to make it from: a spec from `read_spec`, the path of one, or another origin.
        split: which split to take samples from; None: the training split.
        max_batches: number of batches; -1: all full ones; None: the network's default.
        seed: seed of the sample order; None: the spec's.
        batch_size: images per batch; None: the spec's.
        data_root: folder that relative paths in the spec start from; None: what the network's reference does.
        cal_image_dir: take images from this folder, at random and without replacement, in place of the spec's data.
        recursive: with ``cal_image_dir``: from the folders below it, too.
        options: choices that this origin offers, by name (`Network.options`); the rest have their default.

    Raises:
        UsageError: an argument is out of range.
        SpecError: the spec asks for something impossible.
        DataError: the data set cannot give what is asked for.
    """
    origin = read_spec(origin) if isinstance(origin, str | os.PathLike) else origin
    choice = Choice(split, max_batches, seed, batch_size, data_root, cal_image_dir, recursive, options or {})
    return plan_of(origin, choice)


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
        run={"spec": os.path.abspath(plan.origin.path), **run, **manifests.machine()},
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

    command = tao.invocation_of(plan)
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
