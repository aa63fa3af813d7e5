"""What a user of the component can do about an error: the inputs, in place of options that only other commands have."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from int8cal.component.inputs import MAPPINGS
from int8cal.dataset.paths import path_text
from int8cal.errors import MissingDataError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from int8cal.component.inputs import FolderMapping
    from int8cal.spec.roles import PathValue

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
        roles = _roles_of(str(error), paths)
        hints = [_hint(mapping, given=mapping.role in replaced) for mapping in MAPPINGS if mapping.role in roles]
        raise MissingDataError(error.message, where=error.where, hint=" ".join(hints) or error.hint) from error


def _roles_of(complaint: str, paths: Collection[PathValue]) -> set[str]:
    """The roles of the longest path that the complaint names."""
    texts = [(path_text(path.content.rstrip("/")), path.role) for path in paths]
    named = [(len(text), role) for text, role in texts if text and text in complaint]
    longest = max(named, default=(0, ""))[0]
    return {role for length, role in named if length == longest}


def _hint(mapping: FolderMapping, *, given: bool) -> str:
    if given:
        return f"Check the inputs {mapping.folder} and {mapping.subfolder}."
    return (
        f"The {mapping.title} are sought where the spec says. To replace that path, give {mapping.folder} and "
        f"{mapping.reference}."
    )
