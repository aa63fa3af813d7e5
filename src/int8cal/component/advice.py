"""What a user of the component can do about an error: the inputs, in place of options that only other commands have."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from int8cal.component.inputs import MAPPINGS
from int8cal.errors import MissingDataError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from int8cal.component.inputs import FolderMapping
    from int8cal.spec.document import PathValue

_OUTPUT_TAKEN = (
    "Give every request an output_dir of its own, or delete this file. To replace it: --overwrite of int8cal component."
)


@contextmanager
def output_taken_advised() -> Iterator[None]:
    """Say of every output whose name is taken what to do about it."""
    try:
        yield
    except OutputExistsError as error:
        raise OutputExistsError(error.message, where=error.where, hint=_OUTPUT_TAKEN) from error


@contextmanager
def missing_data_advised(paths: Collection[PathValue], replaced: Collection[str]) -> Iterator[None]:
    """Name the inputs that say where missing data lie, or would have said so.

    Args:
        paths: the paths in the updated spec.
        replaced: the roles for which the inputs were given.
    """
    try:
        yield
    except MissingDataError as error:
        roles = _roles_of(error.filename, paths)
        hints = [_hint(mapping, given=mapping.role in replaced) for mapping in MAPPINGS if mapping.role in roles]
        hint = " ".join(hints) or error.hint
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
