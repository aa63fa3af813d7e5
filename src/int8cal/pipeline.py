"""The page to read first: how an experiment spec becomes a tensorfile.

    read_spec ──► plan ──────────────────────────────────► make
    text → typed  which samples, in which order, and the   decode → numbers → chunks on threads, one ordered writer,
    message       arithmetic; nothing decoded or written   a file that gets its name when it is complete

`plan` is the dry run; ``make(plan(spec), out)`` is the run.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from int8cal import manifest as manifests
from int8cal import networks
from int8cal.engine import Job, engine_named
from int8cal.errors import EngineFailedError, SpecError, UsageError
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
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.shards import TensorFileOutput
from int8cal.types import ON_BAD_IMAGE, CompressionName, OnBadImage, SplitName

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


_plan = plan


def _size_by_header() -> Callable[[bytes, str], Size]:
    from int8cal.images.pictures import picture_size  # late: Pillow, for some runs from a folder alone

    return picture_size


def make(
    plan: Plan | Spec | str | os.PathLike[str],
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
    scratch_dir: str | None = None,
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
    plan = plan if isinstance(plan, Plan) else _plan(plan)
    doer, encoder = engine_named(engine), Compression.named(compression)
    skipping = _checked_skipping(on_bad_image, max_skipped)
    asked = {
        "on_bad_image": skipping,
        "resume": resume,
        "shards": shards is not None,
        "workers": workers is not None,
        "compression": compression != "fast",
    }
    if unknown := [name for name, is_asked in asked.items() if is_asked and name in doer.lacks]:
        raise UsageError(f"the engine {doer.name} has no option {', '.join(unknown)}", hint="Leave that out.")
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers cannot work", hint="Give --workers a positive number.")
    doer.check(plan)
    job = Job(plan, encoder, workers=workers, max_skipped=max_skipped, resume=resume, progress=progress)
    clock = Clock()
    with (
        doer.scratch_folder(scratch_dir) as folder,
        TensorFileOutput(out, shards=shards, overwrite=overwrite, scratch_dir=folder) as output,
        manifests.run_facts_output(out, overwrite=overwrite) as run_facts,
    ):
        made = doer.make(job, output)
        run = {"engine": doer.name, **made.run, **clock.facts(made.images), **manifests.machine()}
        manifest = Manifest(
            path=out,
            facts=made.facts,
            samples=tuple(made.rows),
            skipped=tuple(SkippedImage.of(failed) for failed in made.skipped),
            warnings=plan.warnings,
            run={"spec": os.path.abspath(plan.spec.path), **run},
            record=dict(record or {}),
        )
        if made.problem:
            manifests.publish_failure(run_facts, manifest, made.problem)
            raise EngineFailedError(made.problem, hint="Its own messages are in the log above.")
        manifests.publish(output, run_facts, manifest, then=made.then or (lambda: None))
    return manifest


def _checked_skipping(on_bad_image: str, max_skipped: int) -> bool:
    if on_bad_image not in ON_BAD_IMAGE:
        raise UsageError(f"on_bad_image {on_bad_image!r} is unknown", hint="Use fail or skip.")
    if max_skipped < 0:
        raise UsageError(f"{max_skipped} images cannot be left out", hint="Give --max_skipped 0 or more.")
    if (on_bad_image == "skip") != (max_skipped > 0):
        raise UsageError(
            "skipping bad images needs both --on_bad_image skip and --max_skipped N with N > 0",
            hint="Give both, or neither.",
        )
    return on_bad_image == "skip"
