"""The component as one function: request → updated spec → plan → tensorfile, and the record of it all.

    Request ──► update ──► plan ──► the engine, or the finished result of an earlier run ──► updated spec, MLflow

Nothing is written before the plan stands, and the tensorfile is made in scratch space: the output may lie on a mount
that can neither seek nor rename. It gets its name before the updated spec does, so that whatever ends a run early
leaves either nothing that stands in the way of the next one, or a finished result that it finds.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from operator import call
from typing import TYPE_CHECKING, Any

from int8cal.component import mlflow
from int8cal.component.advice import advised, missing_data_advised
from int8cal.component.finished import finished
from int8cal.component.inputs import INPUTS
from int8cal.component.page import refuse_foreign_page, written_page
from int8cal.component.updated_spec import put_updated_spec, refuse_another_spec, update
from int8cal.errors import MissingDataError, UsageError
from int8cal.io.threads import map_on_threads
from int8cal.pipeline import make, plan
from int8cal.samples.nearby import near_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from int8cal.component.request import Request
    from int8cal.manifest import Manifest
    from int8cal.plans import Plan
    from int8cal.spec.update import Update
    from int8cal.types import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a run of the component came to.

    Attributes:
        request: what was asked for.
        manifest: the record of the tensorfile; ``reused`` when an earlier run had finished it.
        updated: the updated spec and the edits made to it.
        page: the report to look at; None without the ``[report]`` extra.
        notes: what the user should know.
        seconds: stage → seconds.
    """

    request: Request
    manifest: Manifest
    updated: Update
    page: str | None
    notes: tuple[str, ...]
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            **self.manifest.to_json(),
            "component": _component_facts(self.request, self.updated, self.notes, self.seconds),
            "report": self.page,
        }


def run(request: Request, *, progress: Progress | None = None) -> Outcome:
    """Do what the component was asked for.

    Args:
        request: see `int8cal.component.request.parse`.
        progress: told how far the work is.

    Raises:
        UsageError: an output would lie in an input folder, or outside ``output_dir``; or inputs do not fit the spec.
        SpecError: the spec cannot be read, is of another network, or a reference is not in it.
        DataError: data are missing or cannot be used.
        OutputError: the output cannot be written, or holds something else.
        UnavailableError, EngineFailedError: engine ``tao``: NVIDIA's command is not there, or failed.
    """
    with advised(original_only=request.original_only):
        outcome = _done(request, progress)
    _tell_mlflow(outcome)
    return outcome


def _done(request: Request, progress: Progress | None) -> Outcome:
    _require_separate_folders(request)
    stages = _Stages()
    notes = [*_not_used(request), *_missing(request)]
    _log(notes)
    with stages.timed("update"):
        updated = update(request)
    _log(updated.notes)
    notes += updated.notes
    spec = updated.spec
    with (
        stages.timed("plan"),
        missing_data_advised(list(spec.path_values()), updated.replaced, updated.served),
    ):
        planned = plan(spec, split=request.split, max_batches=request.max_batches, seed=request.seed)
    with tempfile.TemporaryDirectory(prefix="int8cal-") as scratch:
        kept = os.path.join(scratch, os.path.basename(request.tensorfile))
        there = refuse_another_spec(request, spec)
        with stages.timed("make"):
            manifest = None if request.overwrite else _finished(planned, request)
            if not manifest and not request.overwrite:
                refuse_foreign_page(request.page)
            manifest = manifest or make(
                planned,
                request.tensorfile,
                engine=request.engine,
                overwrite=request.overwrite,
                on_bad_image=request.on_bad_image,  # type: ignore[arg-type]  # the table of inputs has the choices
                max_skipped=request.max_skipped,
                scratch_dir=scratch,
                keep=kept,
                progress=progress,
                record={"component": _component_facts(request, updated.update, notes, stages.seconds)},
            )
        with stages.timed("report"):
            made = kept if os.path.exists(kept) else request.tensorfile  # not read again if that can be avoided
            writing: list[Callable[[], Any]] = [] if there else [partial(put_updated_spec, request, spec)]
            writing.append(partial(written_page, made, request.page, overwrite=request.overwrite))
            *_, page = map_on_threads(call, writing, 2, caller_works=True)  # each waits for the output: it may be slow
    return Outcome(request, manifest, updated.update, page, tuple(notes), stages.seconds)


def _log(notes: Iterable[str]) -> None:
    for note in notes:
        log.warning("%s", note)


def _finished(planned: Plan, request: Request) -> Manifest | None:
    return finished(planned, request.tensorfile, engine=request.engine, max_skipped=request.max_skipped)


@dataclass
class _Stages:
    """Seconds of every stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 3)


def _require_separate_folders(request: Request) -> None:
    """All output below ``output_dir``, whatever links lie there; none in an input folder."""
    top = os.path.realpath(request.output_dir)
    folders = {name: os.path.realpath(folder) for name, folder in request.folders.items()}
    for path, real in zip(request.outputs, _real_outputs(request, top), strict=True):
        if not _is_below(real, top):
            raise UsageError("a link leads out of output_dir", where=path, hint="Remove the link.")
        for name, folder in folders.items():
            if _is_below(real, folder):
                raise UsageError(
                    f"would be written into the input folder {name}",
                    where=path,
                    hint="Give output_dir a folder outside the input folders.",
                )


def _real_outputs(request: Request, top: str) -> list[str]:
    """The outputs with their links followed, with few questions to a file system that may be far away."""
    below = [os.path.relpath(path, request.output_dir) for path in request.outputs]
    names = {path.split(os.sep)[0] for path in below}
    if not any(os.path.lexists(os.path.join(top, name)) for name in names):  # so there are no links either
        return [os.path.join(top, path) for path in below]
    return [os.path.realpath(path) for path in request.outputs]


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath((path, folder)) == folder


def _not_used(request: Request) -> Iterator[str]:
    """Notes on inputs without effect; a folder that is misspelt besides is not found out otherwise."""
    for item in request.not_used:
        folder = request.folders.get(item.name)
        lacks = f", and there is no such folder: {folder}" if folder and not os.path.exists(folder) else ""
        yield f"{item.name} is not used: {item.reason}{lacks}"


def _missing(request: Request) -> list[str]:
    """Notes on missing data that the tensorfile can do without; an error for the others."""
    notes = []
    for place in request.run_paths:
        mapping = place.mapping
        if os.path.exists(place.path):
            continue
        if mapping.needed:
            raise MissingDataError(
                f"the {mapping.title} of this run are not there",
                where=place.path,
                hint=f"{near_by(place.path)} Check the inputs {mapping.folder} and {mapping.subfolder}.",
                filename=place.path,
            )
        notes.append(f"the {mapping.title} is not there: {place.path}; the tensorfile does not need it")
    return notes


def _component_facts(
    request: Request, updated: Update, notes: list[str] | tuple[str, ...], seconds: dict[str, float]
) -> dict[str, Any]:
    return {
        "inputs": {name: value for name, value in request.values.items() if value is not None},
        "updated_spec": request.updated_spec,
        "edits": [asdict(change) for change in updated.changes],
        "not_used": [asdict(item) for item in request.not_used],
        "notes": list(notes),
        "seconds": dict(seconds),
    }


def _tell_mlflow(outcome: Outcome) -> None:
    request, manifest = outcome.request, outcome.manifest
    wanted = mlflow.wanted()
    if request.log_report and not (wanted and outcome.page):
        log.warning(
            "log_report: there is no %s", "report, without the extra [report]" if wanted else "MLflow to log to"
        )
    if not wanted:
        return
    files = {"updated_spec.txt": request.updated_spec}
    if os.path.isfile(request.record):  # an earlier run's may be gone, which takes nothing from its tensorfile
        files["tensorfile.json"] = request.record
    if request.log_report and outcome.page:
        files["report.html"] = outcome.page
    folders = {item.name for item in INPUTS if item.type == "uri_folder"}  # their paths change at every run
    mlflow.log_run(
        params={name: value for name, value in request.values.items() if value is not None and name not in folders},
        metrics={
            "batches": manifest.batches,
            "images": manifest.batches * manifest.shape[0],
            "skipped": int(manifest.facts["skipped"]),
            "spec_edits": len(outcome.updated.changes),
            **{f"seconds_{stage}": seconds for stage, seconds in outcome.seconds.items()},
        },
        tags={
            "int8cal.version": str(manifest.facts["int8cal"]),
            "int8cal.plan_sha256": str(manifest.facts["plan_sha256"]),
            "int8cal.reused": str(manifest.reused),
        },
        files=files,
        dataset={
            "name": str(request.values["model_app_name"]),
            "digest": str(manifest.facts["plan_sha256"])[:32],  # the most that tracking stores take is 36
            "source": _data_folder(request),
        },
    )


def _data_folder(request: Request) -> str:
    """The folder that the images come from: that of the training data where the validation set has none of its own."""
    places = {place.mapping.role: place.path for place in request.run_paths}
    return places.get(f"{request.split}_data") or places["training_data"]
