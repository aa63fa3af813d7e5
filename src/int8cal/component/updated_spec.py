"""The updated spec in the output folder, which several jobs may share: each with other paths in it, at the same time.

Specs that are equal but for the values of path fields are one spec here. The first that is written stays; what every
other job replaced is in the record of its own tensorfile.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from int8cal.errors import OutputError, OutputExistsError, SpecError
from int8cal.io.files import OutputFile
from int8cal.pipeline import read_spec
from int8cal.spec.prototext.clear import without_fields
from int8cal.spec.prototext.find import SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from int8cal.component.request import Request
    from int8cal.plans import Plan
    from int8cal.types import Message

_PATIENCE = 30.0
"""Seconds that another job may take to write its updated spec, which is a small file."""
_PAUSE = 0.2


def refuse_another_spec(request: Request, planned: Plan, *, overwrite: bool) -> bool:
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
    if found := _difference(request, planned):
        raise OutputExistsError(found, where=path)
    return True


def put_updated_spec(request: Request, planned: Plan, content: bytes, *, overwrite: bool) -> None:
    """Write the updated spec, unless another job has.

    Raises:
        OutputExistsError: another job has written a spec with other values than paths.
        OutputError: it cannot be written.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            with _output(request, overwrite=overwrite) as output:
                output.write(content)
                output.commit()
                return
        except OutputExistsError:
            seen = _stamp(request.updated_spec)
            found = _difference(request, planned)
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


def _difference(request: Request, planned: Plan) -> str | None:
    """What the spec that is there has different, besides paths; None when that is nothing."""
    roles = planned.network.path_roles
    try:
        there = read_spec(request.updated_spec, planned.network.name)
    except SpecError:
        return "already exists, and is not a spec"
    ours, theirs = (without_fields(spec.message, roles) for spec in (planned.spec, there))
    if ours == theirs:
        return None
    fields = ", ".join(list(_differing(_as_dict(ours), _as_dict(theirs), ""))[:3])
    return f"already exists, and differs from {request.spec_path}, updated, in {fields or 'its network'}"


def _as_dict(message: Message) -> Any:
    from google.protobuf.json_format import MessageToDict  # needed by few

    return MessageToDict(message, preserving_proto_field_name=True)


def _differing(one: Any, other: Any, path: str) -> Iterator[str]:
    """The paths of the values that are not the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {**one, **other}:
            yield from _differing(one.get(name), other.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _differing(*pair, f"{path}[{number}]")
    elif one != other:
        plain = not isinstance(one, dict | list) and not isinstance(other, dict | list)
        yield f"{path} ({other!r} there, {one!r} here)" if plain else path
