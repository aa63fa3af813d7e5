"""The updated spec: the run's paths in place of the references, and its place in the output folder.

Several jobs may share that folder, each with other paths in its spec, at the same time. Specs that are equal but for
the values of path fields are one spec here. The first that is written stays; what every other job replaced is in the
record of its own tensorfile.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from int8cal import networks
from int8cal.component.inputs import MAPPINGS
from int8cal.errors import OutputError, OutputExistsError, SpecError
from int8cal.io.files import OutputFile
from int8cal.io.safe_text import shown
from int8cal.origins.experiment import SPEC, read_spec
from int8cal.spec.update import Substitution, begins

if TYPE_CHECKING:
    from int8cal.component.request import Request
    from int8cal.origins.experiment import Spec
    from int8cal.spec.update import Update

log = logging.getLogger(__name__)

_MODEL = "base_model"
_SERVED = {"training_data": "training_tfrecords", "validation_data": "validation_tfrecords"}
_REFERENCES = {mapping.role: mapping.reference for mapping in MAPPINGS}
_PATIENCE = 30.0
"""Seconds that another job may take to write its updated spec, which is a small file."""
_PAUSE = 0.2
_MOST_NAMED = 3


@dataclass(frozen=True)
class Updated:
    """The spec of a run.

    Attributes:
        spec: with the run's paths.
        update: what was changed.
        replaced: the roles whose references were replaced.
        served: roles without a reference of their own whose paths followed another one's → that one.
        notes: what the user should know.
    """

    spec: Spec
    update: Update
    replaced: frozenset[str]
    served: dict[str, str]
    notes: tuple[str, ...]


def update(request: Request) -> Updated:
    """Read the spec of a request, and put its run's paths in.

    The images' reference serves the TFRecords of the same split, too, if those begin with it and have no reference of
    their own: version 4 replaced texts, and one reference did for both.

    Raises:
        SpecError: the spec cannot be read, is of another network than asked for, or a reference is not in it.
        UsageError: the network is unknown.
    """
    spec = _read(request)
    paths = list(spec.path_values())
    places = {place.mapping.role: place for place in request.run_paths}
    notes = []
    if _MODEL in places and not any(path.role == _MODEL for path in paths):
        reference = places.pop(_MODEL).mapping.reference
        notes.append(f"{reference} is not used: the spec names no model")
    substitutions = [Substitution(role, place.reference, place.path) for role, place in places.items()]
    served = {}
    for images, records in _SERVED.items():
        place = places.get(images)
        found = [path for path in paths if path.role == records and place and begins(place.reference, path.content)]
        if not place or records in places or not found:
            continue
        served[records] = images
        substitutions.append(Substitution(records, place.reference, place.path))
        notes.append(
            f"{found[0].path} begins with {place.mapping.reference}, which is replaced there, too: "
            f"{_REFERENCES[records]} is not given"
        )
    updated, changes = spec.updated(substitutions, num_epochs=request.num_epochs)
    notes += [
        f"{path.path} stays {shown(path.content)}: {_REFERENCES[path.role]} is not given"
        for path in changes.forgotten
        if path.role in _REFERENCES  # networks of other distributions may have roles of their own
    ]
    return Updated(updated, changes, frozenset(places), served, tuple(notes))


def _read(request: Request) -> Spec:
    spec = read_spec(request.spec_path, request.network, allow_unknown_fields=request.allow_unknown_fields)
    if request.network and networks.get(request.network) is not spec.network:
        raise SpecError(
            f"is a spec of {spec.name}, and the input network says {request.network}",
            where=spec.path,
            hint=f"Give the input network {spec.name}, or leave it out.",
        )
    for warning in spec.warnings:
        log.warning("%s", warning)
    return spec


def refuse_another_spec(request: Request, spec: Spec) -> bool:
    """Stop before the work if what has the name of the updated spec may not stay there.

    Returns:
        Whether this request's updated spec is there.

    Raises:
        OutputExistsError: a spec with other values than paths has the name, or something that is not a spec.
        OutputError: it is not a regular file, or with ``overwrite`` cannot be replaced.
    """
    path = request.updated_spec
    if not os.path.lexists(path):
        return False
    if request.overwrite or os.path.islink(path) or not os.path.isfile(path):
        with _output(request):  # says what is wrong with it
            return False
    if found := _difference(request, spec):
        raise found
    return True


def put_updated_spec(request: Request, spec: Spec) -> None:
    """Write the updated spec, unless another job has.

    Raises:
        OutputExistsError: another job has written a spec with other values than paths.
        OutputError: it cannot be written.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            with _output(request) as output:
                output.write(spec.document.to_bytes())
                output.commit()
                return
        except OutputExistsError:
            seen = _stamp(request.updated_spec)
            found = _difference(request, spec)
            if not found:
                return
            time.sleep(_PAUSE)  # where files cannot be renamed, another job's grows under its name
            if seen == _stamp(request.updated_spec):
                raise found from None
        except OutputError as error:
            if not isinstance(error.__cause__, BlockingIOError) or time.monotonic() > end:  # else: it is being written
                raise
            time.sleep(_PAUSE)


def _output(request: Request) -> OutputFile:
    return OutputFile(request.updated_spec, overwrite=request.overwrite, inputs=(request.spec_path,), replaces=SPEC)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _difference(request: Request, spec: Spec) -> OutputError | None:
    """An error that says what the spec that is there has different, besides paths; None when that is nothing."""
    try:
        there = read_spec(request.updated_spec, spec.name, allow_unknown_fields=request.allow_unknown_fields)
    except SpecError as error:
        message = f"already exists, and is not a spec that this job takes ({error.message})"
        hint = "Give every request an output_dir of its own, or delete this file."
        return OutputError(message, where=request.updated_spec, hint=hint)
    same = there.name == spec.name and there.sha256 == spec.sha256
    if same and not request.allow_unknown_fields:  # the hash is of the known fields
        return None
    ours, theirs = _values(spec), _values(there)
    if same and ours == theirs:
        return None
    named = [
        f"{path} ({theirs.get(path)!r} there, {ours.get(path)!r} here)"
        for path in {**ours, **theirs}
        if ours.get(path) != theirs.get(path)
    ]
    fields = ", ".join(named[:_MOST_NAMED]) or "its network"
    message = f"already exists, and differs from {request.spec_path}, updated, in {fields}"
    return OutputExistsError(message, where=request.updated_spec)


def _values(spec: Spec) -> dict[str, str]:
    """What the spec says by field path, but for its paths."""
    paths = {path.path for path in spec.path_values()}
    return {leaf.path: leaf.content for leaf in spec.document.leaves() if leaf.path not in paths}
