"""The updated spec in the output folder, which several jobs may share: each with other paths in it, at the same time.

Specs that are equal but for the values of path fields are one spec here. The first that is written stays; what every
other job replaced is in the record of its own tensorfile.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from int8cal.errors import OutputError, OutputExistsError, SpecError
from int8cal.io.files import OutputFile
from int8cal.origins.experiment import SPEC, read_spec

if TYPE_CHECKING:
    from int8cal.component.request import Request
    from int8cal.origins.experiment import Spec

_PATIENCE = 30.0
"""Seconds that another job may take to write its updated spec, which is a small file."""
_PAUSE = 0.2
_MOST_NAMED = 3


def refuse_another_spec(request: Request, spec: Spec, *, overwrite: bool) -> bool:
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
    if overwrite or os.path.islink(path) or not os.path.isfile(path):
        with _output(request, overwrite=overwrite):  # says what is wrong with it
            return False
    if found := _difference(request, spec):
        raise OutputExistsError(found, where=path)
    return True


def put_updated_spec(request: Request, spec: Spec, *, overwrite: bool) -> None:
    """Write the updated spec, unless another job has.

    Raises:
        OutputExistsError: another job has written a spec with other values than paths.
        OutputError: it cannot be written.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            with _output(request, overwrite=overwrite) as output:
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
                raise OutputExistsError(found, where=request.updated_spec) from None
        except OutputError as error:
            if not isinstance(error.__cause__, BlockingIOError) or time.monotonic() > end:  # else: it is being written
                raise
            time.sleep(_PAUSE)


def _output(request: Request, *, overwrite: bool) -> OutputFile:
    return OutputFile(request.updated_spec, overwrite=overwrite, inputs=(request.spec_path,), replaces=SPEC)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _difference(request: Request, spec: Spec) -> str | None:
    """What the spec that is there has different, besides paths; None when that is nothing."""
    try:
        there = read_spec(request.updated_spec, spec.name)
    except SpecError:
        return "already exists, and is not a spec"
    if there.name == spec.name and there.sha256 == spec.sha256:
        return None
    ours, theirs = _values(spec), _values(there)
    named = [
        f"{path} ({theirs.get(path)!r} there, {ours.get(path)!r} here)"
        for path in {**ours, **theirs}
        if ours.get(path) != theirs.get(path)
    ]
    fields = ", ".join(named[:_MOST_NAMED]) or "its network"
    return f"already exists, and differs from {request.spec_path}, updated, in {fields}"


def _values(spec: Spec) -> dict[str, str]:
    """What the spec says by field path, but for its paths."""
    paths = {path.path for path in spec.path_values()}
    return {leaf.path: leaf.content for leaf in spec.document.leaves() if leaf.path not in paths}
