"""What a user of the component can do about an error: the inputs, in place of options that only other commands have."""

from __future__ import annotations

import re
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from int8cal.component.inputs import BY_NAME, MAPPINGS
from int8cal.errors import Int8calError, MissingDataError, OutputExistsError
from int8cal.plans import BATCH_SIZE_OPTION
from int8cal.samples.nearby import near_by

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from int8cal.component.inputs import FolderMapping
    from int8cal.spec.document import PathValue

_OUTPUT_TAKEN = (
    "Give every request an output_dir of its own, or delete this file. To replace it, set the input overwrite to true."
)
_BY_ROLE = {mapping.role: mapping for mapping in MAPPINGS}
_SWITCH = re.compile(r"--(overwrite|allow_unknown_fields)(?: of int8cal NETWORK and int8cal spec)?")
_INPUT = re.compile(r"(?:--|\binput )(\w+)")
_OF_THE_OTHER = (
    "This component has the inputs of version 4 alone: int8cal_calibration_tensorfile, which takes them all, has this "
    "one, too."
)


@contextmanager
def advised(*, original_only: bool) -> Iterator[None]:
    """Say of every error what a user of the component can do about it.

    Args:
        original_only: the component has the original's inputs alone.
    """
    try:
        yield
    except Int8calError as error:
        hint = _OUTPUT_TAKEN if isinstance(error, OutputExistsError) else error.hint or ""
        hint = hint.replace(BATCH_SIZE_OPTION, "")
        hint = _SWITCH.sub(r"set the input \1 to true", hint)
        named = (BY_NAME[name] for name in _INPUT.findall(hint) if name in BY_NAME)
        if original_only and any(not item.original for item in named):
            hint = f"{hint} {_OF_THE_OTHER}"
        error.hint = hint or None
        raise


@contextmanager
def missing_data_advised(
    paths: Collection[PathValue], replaced: Collection[str], served: Mapping[str, str] = MappingProxyType({})
) -> Iterator[None]:
    """Say what lies near missing data, and name the inputs that say where they lie, or would have said so.

    Args:
        paths: the paths in the updated spec.
        replaced: the roles for which the inputs were given.
        served: roles whose paths followed the inputs of another one → that one.
    """
    try:
        yield
    except MissingDataError as error:
        roles = _roles_of(error.filename, paths)
        hints = [
            f"{_hint(followed, given=True)} {_hint(mapping, given=False)}"
            if (followed := _BY_ROLE.get(served.get(mapping.role, "")))
            else _hint(mapping, given=mapping.role in replaced)
            for mapping in MAPPINGS
            if mapping.role in roles
        ]
        hint = " ".join([near_by(error.filename or ""), *hints]).lstrip() if hints else error.hint
        raise MissingDataError(error.message, where=error.where, hint=hint, filename=error.filename) from error


def _roles_of(missing: str | None, paths: Collection[PathValue]) -> set[str]:
    """The roles of the longest path that is the missing one, or a folder that it lies in."""
    written = [(path.content.rstrip("/"), path.role) for path in paths]
    leading = [(len(text), role) for text, role in written if missing and text and _leads_to(text, missing)]
    longest = max(leading, default=(0, ""))[0]
    return {role for length, role in leading if length == longest}


def _leads_to(written: str, missing: str) -> bool:
    """Whether a path as written in a spec, which a network joins to its data root if it is relative, leads there."""
    if written.startswith("/"):
        return f"{missing}/".startswith(f"{written}/")
    return f"/{written}/" in f"/{missing}/"


def _hint(mapping: FolderMapping, *, given: bool) -> str:
    if given:
        return f"Check the inputs {mapping.folder} and {mapping.subfolder}."
    return (
        f"The {mapping.title} are sought where the spec says. To replace that path, give {mapping.folder} and "
        f"{mapping.reference}."
    )
