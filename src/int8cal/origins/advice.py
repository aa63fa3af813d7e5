"""What to do about data that are not where a spec says: most specs were written on another machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from typing import TYPE_CHECKING

from int8cal.errors import MissingDataError, SpecError
from int8cal.io.safe_text import shell_word
from int8cal.samples.nearby import existing_part, moved, near_by
from int8cal.samples.paths import DATA_ROOT_HINT, WORKING_DIRECTORY_HINT, path_hint, path_text
from int8cal.spec.document import GLOB_ROLES
from int8cal.spec.languages import language_of

if TYPE_CHECKING:
    from int8cal.origins.experiment import Spec
    from int8cal.spec.document import PathValue


PLACEHOLDER = "/PATH/TO/"
"""What the paths of the specs begin with that ``spec new`` writes."""

_PARTS_SHARED = 2
"""Paths that have fewer components in common have it by chance: ``/home``."""

_SUFFIX = re.compile(r"\.[A-Za-z]+")
"""Of a file; folders may be called v1.0."""


@contextmanager
def missing_data_advised(spec: Spec) -> Iterator[None]:
    """Say of data that are missing what is there instead, and the command that puts the spec right."""
    try:
        yield
    except MissingDataError as error:
        path = error.filename
        value = _written(path, spec) if path and not path_hint(path) else None
        if path is None or value is None:
            raise
        general = (DATA_ROOT_HINT, WORKING_DIRECTORY_HINT)
        own = error.hint if error.hint not in general or not value.content.startswith("/") else None
        hint = " ".join(filter(None, (_near(path, value.content), own, _map_line(value, path, spec))))
        raise MissingDataError(error.message, where=error.where, hint=hint, filename=path) from error


def missing_folder_advice(spec: Spec, path: str) -> str | None:
    """What to do about an image whose folder, as the spec names it, is not there; None when that is not the reason."""
    folder = os.path.dirname(path)
    while folder not in ("", os.sep) and not os.path.isdir(folder):
        if os.path.isfile(folder):
            return f"{path_text(folder)} is a file, not a folder: unpack it, and name the folder in the spec."
        if not path_hint(folder) and (value := _written(folder, spec)):
            if _leads_to(value.content.rstrip("/"), existing_part(folder)[0]):
                return _near(folder, value.content)  # what the spec names is there, what the records name in it is not
            return " ".join(filter(None, (_near(folder, value.content), _map_line(value, folder, spec))))
        folder = os.path.dirname(folder)
    return None


def _written(path: str, spec: Spec) -> PathValue | None:
    """The longest path of the spec that leads there."""
    leading = [value for value in spec.path_values() if _leads_to(value.content.rstrip("/"), path)]
    return max(leading, key=lambda value: len(value.content), default=None)


def _leads_to(written: str, path: str) -> bool:
    if written.startswith("/"):
        return f"{path}/".startswith(f"{written}/")
    return f"/{path}/".endswith(f"/{written}/")


def _without_records(value: PathValue) -> str:
    """What to do without TFRecords, where those are missing."""
    if "tfrecord" not in value.path:
        return ""
    return "No TFRecords yet? int8cal records KITTI_DIR -o DIR makes them; --cal_image_dir DIR needs none. "


def _near(path: str, written: str) -> str:
    """What lies near a path; of a relative one, whether there is what it starts from."""
    root = path.removesuffix(written) if not written.startswith("/") else ""
    return f"There is no {path_text(root.rstrip('/'))}." if root and not os.path.isdir(root) else near_by(path)


def _map_line(value: PathValue, path: str, spec: Spec) -> str:
    """The substitution that would find the data, as options to type."""
    from int8cal.spec.update import without_tail  # late: most runs take the spec as it is

    written = value.content
    if written.startswith(PLACEHOLDER):
        yours = f"--map {shell_word(written)} YOURS"
        return f"This stands for a path of yours in the spec that spec new wrote: write it there, or add {yours}."
    roots = dict.fromkeys((os.path.dirname(os.path.abspath(spec.path)), os.getcwd()))
    found = moved(written, path, tuple(roots), records=value.role in GLOB_ROLES)
    old = _as_in_the_file(found.old if found else _beginning(written, path, spec), spec.mapped)
    elsewhere = "FILE" if _SUFFIX.fullmatch(os.path.splitext(old)[1]) else "FOLDER"
    line = _map_option(old, os.path.abspath(found.new) if found else elsewhere)
    same = [_map_option(*pair) for pair in spec.mapped if without_tail(pair[0]) == without_tail(old)]
    name, extension = os.path.splitext(spec.path)
    outputs = (f"{name}.new{number}{extension}" for number in chain([""], count(2)))
    output = shell_word(next(path for path in outputs if not os.path.lexists(path)))
    others = [option for option in (_map_option(*pair) for pair in spec.mapped) if option not in same]
    network = "" if _tells_its_network(spec) else f"--network {spec.name} "
    update = f"int8cal spec update {shell_word(spec.path)} {network}-o {output} {' '.join([*others, line])}"
    where = f"The data seem to lie in {found.new}." if found else f"{_without_records(value)}If the data lie elsewhere,"
    verb = ("Give" if same else "Add") if found else "give" if same else "add"
    place = f"in place of {same[0]}" if same else "to the command"
    return f"{where} {verb} {line} {place}, or write a new spec: {update}"


def _map_option(old: str, new: str) -> str:
    return f"--map {shell_word(old)} {shell_word(new)}"


def _tells_its_network(spec: Spec) -> bool:
    data = spec.document.to_bytes()
    try:
        return language_of(data).read(data, spec.path, allow_unknown_fields=True).root == spec.document.root
    except SpecError:
        return False


def _as_in_the_file(path: str, mapped: Sequence[tuple[str, str]]) -> str:
    """A beginning of paths as it stands in the file, before others were put in place of it."""
    from int8cal.spec.update import without_tail  # late: most runs take the spec as it is

    for old, new in mapped:
        if f"{path}/".startswith(f"{new.rstrip('/')}/"):
            return without_tail(old) + path[len(new.rstrip("/")) :]
    return path


def _beginning(written: str, path: str, spec: Spec) -> str:
    """What of a path is likely to differ on another machine: up to its first component that is not here.

    Where none of it is here, what it has in common with the other paths of the spec, or all but the last two
    components.
    """
    if written.startswith("/") and not existing_part(path)[0]:
        others = [value.content for value in spec.path_values() if value.content.startswith("/")]
        common = {os.path.commonpath([written, other]) for other in others if other != written} - {written.rstrip("/")}
        shared = [one for one in common if one.count("/") >= _PARTS_SHARED]
        if shared:
            return min(shared, key=len)
    parts = written.rstrip("/").split("/")
    there, missing = existing_part(path)
    if there and len(missing) <= len([part for part in parts if part not in ("", ".")]):
        kept = 0 if any(character in missing[0] for character in "*?[") else 1  # a pattern is no folder
        return "/".join(parts[: len(parts) - len(missing) + kept])
    return "/".join(parts[:-2]) or "/".join(parts[:2]) or written
