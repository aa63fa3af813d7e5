"""Typed values → one request: the rules that join several inputs, and the paths that they make."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from int8cal.component.inputs import INPUTS, MAPPINGS, NOT_DEFINED, OUTPUT_DIR, FolderMapping
from int8cal.component.values import given, typed
from int8cal.errors import UsageError
from int8cal.io.paths import absolute, refuse_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from int8cal.component.values import Value
    from int8cal.types import SplitName


@dataclass(frozen=True)
class RunPath:
    """One reference of the spec and what takes its place.

    Attributes:
        mapping: the inputs it was made from.
        reference: the path that stands in the spec.
        path: the run's path, absolute: the updated spec is read wherever the job goes on.
    """

    mapping: FolderMapping
    reference: str
    path: str


@dataclass(frozen=True)
class NotUsed:
    """An input that was given and has no effect, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Request:
    """What the component was asked to do, checked as far as the inputs alone allow. Nothing was read yet.

    Attributes:
        run_paths: the references to replace.
        not_used: inputs without effect.
        folders: every input folder that was given, by input name: nothing is written there.
        spec_path: the original spec.
        updated_spec: where its updated copy goes.
        tensorfile: where the tensorfile goes; the record of the run is ``<tensorfile>.json``.
        output_dir: the folder that all output stays in.
        network: name of the network; None: found from the spec.
        split: which split the samples are taken from.
        max_batches: batches to make; -1: all full ones.
        num_epochs: epochs to write into the updated spec; None: as it is.
        engine: ``native``, ``ray`` or ``tao``.
        seed: seed of the sample order; None: the spec's.
        on_bad_image: ``fail`` or ``skip``.
        max_skipped: how many images may be left out.
        overwrite: replace what another request left in the output.
        allow_unknown_fields: take a spec with unknown fields.
        log_report: log a report with pictures.
        original_only: it came through the component that has the original's 22 inputs alone.
        values: the typed value of every input, for the record.
    """

    run_paths: tuple[RunPath, ...]
    not_used: tuple[NotUsed, ...]
    folders: dict[str, str]
    spec_path: str
    updated_spec: str
    tensorfile: str
    output_dir: str
    network: str | None
    split: SplitName
    max_batches: int
    num_epochs: int | None
    engine: str
    seed: int | None
    on_bad_image: str
    max_skipped: int
    overwrite: bool
    allow_unknown_fields: bool
    log_report: bool
    original_only: bool
    values: dict[str, Value]

    @property
    def record(self) -> str:
        """The file beside the tensorfile that says what the run was."""
        return f"{self.tensorfile}.json"

    @property
    def page(self) -> str:
        """The report to look at, beside the tensorfile."""
        return f"{self.tensorfile}.html"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every file that a run may write."""
        return self.tensorfile, self.record, self.page, self.updated_spec


def parse(texts: Mapping[str, str], *, original_only: bool = False) -> Request:
    """Named texts → request.

    Args:
        texts: input name → text, and ``output_dir``. ``ND`` and an empty text mean "not given".
        original_only: only the original's 22 inputs may be given.

    Raises:
        UsageError: an input is unknown, missing, wrong in itself, or does not go with another one; or a name would
            leave its folder.
    """
    output_dir = given(texts.get(OUTPUT_DIR))
    if output_dir is None:
        raise UsageError(f"{OUTPUT_DIR} is required", hint="Give the folder that the results go to.")
    refuse_address(output_dir)
    values = typed({name: text for name, text in texts.items() if name != OUTPUT_DIR}, original_only=original_only)
    value: dict[str, Any] = dict(values)
    if value["max_batches"] == 0:
        raise UsageError("input max_batches: 0 batches cannot be made", hint="Give a positive number, or -1 for all.")

    app = _name_below("model_app_name", value["model_app_name"])
    specs_file = _name_below("specs_file", value["specs_file"])
    _require_inside(value["original_specs"], specs_file)
    results = os.path.join(output_dir, app)
    subfolder = _relative("output_subfolder", value["output_subfolder"])
    request = Request(
        run_paths=_run_paths(value, app),
        not_used=tuple(_not_used(value)),
        folders={item.name: value[item.name] for item in INPUTS if item.type == "uri_folder" and value[item.name]},
        spec_path=os.path.join(value["original_specs"], specs_file),
        updated_spec=os.path.join(results, "specs", specs_file),
        tensorfile=os.path.join(results, subfolder, _name_below("output_filename", value["output_filename"])),
        output_dir=output_dir,
        network=value["network"],
        split="validation" if value["use_validation_set"] else "training",
        max_batches=value["max_batches"],
        num_epochs=value["num_epochs"],
        engine=value["engine"],
        seed=value["seed"],
        on_bad_image=value["on_bad_image"],
        max_skipped=value["max_skipped"],
        overwrite=value["overwrite"],
        allow_unknown_fields=value["allow_unknown_fields"],
        log_report=value["log_report"],
        original_only=original_only,
        values=values,
    )
    if len(set(map(os.path.normpath, request.outputs))) < len(request.outputs):
        raise UsageError(
            "the updated spec and the tensorfile, its record or its report would be one file",
            where=request.updated_spec,
            hint="Choose another output_subfolder or output_filename.",
        )
    return request


def _run_paths(value: Mapping[str, Any], app: str) -> tuple[RunPath, ...]:
    found = []
    for mapping in MAPPINGS:
        folder, reference = value[mapping.folder], value[mapping.reference]
        if not reference:
            continue
        if not folder:
            raise UsageError(
                f"input {mapping.reference} is given, but {mapping.folder} is not",
                hint=f"Give {mapping.folder} the folder of the {mapping.title}, or leave both out.",
            )
        subfolder = _subfolder(mapping.subfolder, value[mapping.subfolder])
        parts = (folder, app, subfolder) if mapping.under_app else (folder, subfolder)
        path = os.path.join(*filter(None, parts))
        found.append(RunPath(mapping, reference, path if os.path.isabs(path) else os.path.join(absolute("."), path)))
    return tuple(found)


def _not_used(value: Mapping[str, Any]) -> list[NotUsed]:
    found = []
    for mapping in MAPPINGS:
        if value[mapping.folder] and not value[mapping.reference]:
            found.append(NotUsed(mapping.folder, f"{mapping.reference} is not given"))
        elif value[mapping.subfolder] and not value[mapping.folder]:
            found.append(NotUsed(mapping.subfolder, f"{mapping.folder} is not given"))
    return found


def _subfolder(name: str, value: str | None) -> str:
    """The path below a data folder. A last component ``ND`` is none: existing pipelines end paths with it."""
    components = _components(name, value or "")
    if components and components[-1] == NOT_DEFINED:
        components.pop()
    return os.path.join(*components) if components else ""


def _relative(name: str, value: str) -> str:
    if os.path.isabs(value):
        raise UsageError(f"input {name}: {value!r} is an absolute path", hint="Give a path below the folder.")
    components = _components(name, value)
    return os.path.join(*components) if components else ""


def _require_inside(folder: str, name: str) -> None:
    """Refuse a spec that a link takes out of its folder: what is read is copied into the output."""
    real = os.path.realpath(folder)
    if os.path.commonpath([real, os.path.realpath(os.path.join(folder, name))]) != real:
        raise UsageError(
            "input specs_file: a link leads out of original_specs",
            where=os.path.join(folder, name),
            hint="Put the spec itself into the folder.",
        )


def _name_below(name: str, value: str) -> str:
    """A path that names something below a folder, not the folder itself."""
    relative = _relative(name, value)
    if not relative:
        raise UsageError(f"input {name}: {value!r} is not a name", hint="Give a name, or a path that ends with one.")
    return relative


def _components(name: str, value: str) -> list[str]:
    components = [component for component in value.split("/") if component not in ("", ".")]
    if ".." in components:
        raise UsageError(f"input {name}: {value!r} would leave its folder", hint="Give a path without '..'.")
    return components
