"""The page to read first: how an experiment spec becomes a tensorfile.

    read_spec ──► plan ──────────────────────────────────► make
    text → typed  which samples, in which order, and the   decode → numbers → chunks on threads, one ordered writer,
    message       arithmetic; nothing decoded or written   a file that gets its name when it is complete

`plan` is the dry run; ``make(plan(spec), out)`` is the run.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from int8cal import manifest as manifests
from int8cal.engine import engine_named
from int8cal.engine.job import Job
from int8cal.errors import EngineFailedError, MissingDataError, UsageError
from int8cal.io.arguments import checked_arguments
from int8cal.io.paths import absolute, given_path, near_names, refuse_address
from int8cal.io.safe_text import first_line, printable
from int8cal.io.summary import counted, times
from int8cal.manifest import OWN_FIELDS, Clock, Manifest, SkippedImage
from int8cal.origins.experiment import read_spec
from int8cal.origins.origin import Choice, Origin
from int8cal.plans import Plan, plan_of
from int8cal.samples.folders import PICTURE_SUFFIXES
from int8cal.tensorfile.arrays import SUFFIXES as ARRAY_SUFFIXES
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.shards import TensorFileOutput
from int8cal.types import CompressionName, OnBadImage, SplitName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from int8cal.types import Progress

log = logging.getLogger(__name__)

_PICTURE = "a picture"
_SUFFIXES_TAKEN = {
    **dict.fromkeys(PICTURE_SUFFIXES, _PICTURE),
    **dict.fromkeys(ARRAY_SUFFIXES, "arrays of NumPy"),
    ".txt": "a list of images",
    ".json": "a COCO file",
}
"""What the commands that take a tensorfile take for something else, by the end of its name."""


@checked_arguments()
def plan(
    origin: Origin | str | os.PathLike[str],
    *,
    split: SplitName | None = None,
    max_batches: int | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
    data_root: str | os.PathLike[str] | None = None,
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
    if not isinstance(origin, Origin):
        origin = read_spec(given_path(origin, "a spec"), for_folder=cal_image_dir is not None)
    choice = Choice(split, max_batches, seed, batch_size, data_root, cal_image_dir, recursive, options or {})
    return plan_of(origin, choice)


_plan = plan


@checked_arguments(workers=1, max_skipped=0)
def make(
    plan: Plan | Origin | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    engine: str = "native",
    overwrite: bool = False,
    on_bad_image: OnBadImage = "fail",
    max_skipped: int = 0,
    workers: int | None = None,
    compression: CompressionName = "fast",
    shards: int | None = None,
    resume: bool = False,
    scratch_dir: str | os.PathLike[str] | None = None,
    keep: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    record: Mapping[str, Any] | None = None,
) -> Manifest:
    """Make the tensorfile of a plan. The file has its final name when it is complete, or does not exist.

    Args:
        plan: what to make; a spec or its path stands for ``plan(spec)``.
        out: path of the tensorfile; ``<out>.json`` is written beside it.
        engine: ``native``: threads of this process. ``ray``: a Ray cluster, the one of the environment variable
            ``RAY_ADDRESS``, or else one of this machine alone for the time of the run; ``ray://head:6379``: that one.
            ``tao``: NVIDIA's own command, where it is installed; it has no progress to tell.
        overwrite: replace existing output: a tensorfile, never anything else.
        on_bad_image: ``fail`` ends the run at the first unusable image; ``skip`` leaves up to ``max_skipped`` out,
            and later samples of the order move up.
        max_skipped: how many images may be left out; needed with ``skip``, refused without.
        workers: images worked on at the same time; None: the processors that this process may use, or the cluster has.
        compression: ``fast``, ``small`` or ``none``.
        shards: write so many part files beside ``out``, which then holds no more than links to them; None: one file.
        resume: keep finished images beside ``out`` until it is complete, and use what an interrupted run of the same
            plan kept, as far as the images have not changed since.
        scratch_dir: write there and copy to ``out`` at the end; is made if it is not there; None: beside ``out``.
        keep: give the file that was made in ``scratch_dir`` this name as well, where that can be done without copying:
            for who reads it again while ``out`` lies on a slow mount.
        progress: told how far the work is.
        record: what else ``<out>.json`` should say, by name; JSON types.

    Returns:
        The record of the run.

    Raises:
        UsageError: an argument is wrong.
        DataError: an image or record cannot be used.
        OutputError: the file exists, another run is writing it, or it cannot be written.
        UnavailableError: engine ``ray``: no cluster, or one that does not fit; ``tao``: NVIDIA's command is not there.
        EngineFailedError: NVIDIA's command failed.
    """
    out, scratch = os.fspath(out), _scratch_folder(scratch_dir)
    name, suffix = os.path.splitext(out)
    if (taken := _SUFFIXES_TAKEN.get(suffix.lower())) and not os.path.lexists(out):  # else it is told what is there
        beside = ", outside of the folder of images" if taken == _PICTURE else ""
        raise UsageError(
            f"a tensorfile is written, and {suffix} is the name of {taken}",
            where=printable(out),
            hint=f"Name it {printable(name)}.tensor{beside}.",
        )
    record = _as_json(record or {})
    plan = plan if isinstance(plan, Plan) else _plan(plan)
    spec, doer = absolute(plan.origin.path), engine_named(engine)
    _check_skipping(on_bad_image, max_skipped)
    job = Job(
        plan,
        progress,
        compression=Compression.named(compression),
        workers=workers,
        max_skipped=max_skipped,
        resume=resume,
        shards=shards,
    )
    if unknown := [name for name in job.options_given if name not in doer.options]:
        raise UsageError(f"the engine {doer.name} has no option {', '.join(unknown)}", hint="Leave that out.")
    doer.check(plan)
    clock = Clock()
    with (
        doer.scratch_folder(scratch) as folder,
        TensorFileOutput(out, shards=shards, overwrite=overwrite, scratch_dir=folder) as output,
        manifests.run_facts_output(out, overwrite=overwrite) as run_facts,
    ):
        log.info("%s", plan.summary())
        log.info("plan %s: %d samples to choose from, seed %d", plan.sha256, len(plan.dataset.samples), plan.seed)
        log.info("engine %s, compression %s, to %s", doer.name, compression, out)
        try:
            made = doer.make(job, output)
        except MissingDataError as error:
            raise plan.missing_error(error.hint) or error from error
        run = {"engine": doer.name, **made.run, **clock.facts(made.images), **manifests.machine()}
        manifest = Manifest(
            path=out,
            facts=made.facts,
            samples=tuple(made.rows),
            skipped=tuple(SkippedImage.of(failed) for failed in made.skipped),
            warnings=plan.warnings,
            run={"spec": spec, "overrides": list(plan.origin.overrides), **run},
            record=record,
        )
        if made.problem:
            manifests.publish_failure(run_facts, manifest, made.problem)
            raise EngineFailedError(made.problem, hint="Its own messages are in the log above.")
        log.info("publishing %s", out)
        if keep:
            with suppress(OSError):  # another file system, or one without hard links
                os.link(output.scratch, keep)
        manifests.publish(output, run_facts, manifest, then=made.then or (lambda: None))
    made_of = f"{counted(manifest.batches, 'batch')} of {times(manifest.shape)}"
    log.info("complete: %s, %s, %.1f s", out, made_of, manifest.run.get("seconds", 0.0))
    return manifest


def _scratch_folder(given: str | os.PathLike[str] | None) -> str | None:
    """The folder to write in first. It may be missing, but not the folder around it: the path is misspelt then."""
    if given is None:
        return None
    path = os.fspath(given)
    refuse_address(path)
    parent = os.path.dirname(absolute(path).rstrip("/"))
    if not os.path.isdir(parent):
        hint = near_names(parent, "Make that folder, or name another scratch_dir.")
        raise UsageError("scratch_dir would lie in a folder that is not there", where=printable(path), hint=hint)
    return path


def _as_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller wants recorded, which is written when all the work is done: what cannot be is refused before."""
    try:
        json.dumps(record := dict(record), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"record cannot be written as JSON: {first_line(error)}",
            hint="Give texts, numbers, True, False and None, and lists and dicts of them.",
        ) from error
    if taken := sorted(OWN_FIELDS.intersection(record)):
        raise UsageError(f"record cannot hold {', '.join(taken)}", hint="The record of a run says that itself.")
    return record


def _check_skipping(on_bad_image: OnBadImage, max_skipped: int) -> None:
    if (on_bad_image == "skip") != (max_skipped > 0):
        raise UsageError(
            "skipping bad images needs both --on_bad_image skip and --max_skipped N with N > 0",
            hint="Give both, or neither.",
        )
