"""Run-time paths in place of the references in a spec, by the role of the field, and everything else byte for byte.

    document + substitutions → edits of single values → new text, read again and compared → Update

A reference is a leading run of whole path components of a value, taken literally. The longest one that fits is
replaced, once; what was put in is not looked at again.
"""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from int8cal.errors import SpecError, UsageError
from int8cal.io.safe_text import printable, short_repr, shown
from int8cal.spec.document import GLOB_ROLES, Edit, PathValue, SpecDocument

MAX_EPOCHS = 2**31 - 1

_NO_ALIAS = "Where a YAML alias (*) stands for a value, write that value in its place."

_MOST_LISTED = 5


@dataclass(frozen=True, slots=True)
class Substitution:
    """A reference and what comes in its place.

    Attributes:
        role: the role of the fields that it is for; None: every field that has a role.
        reference: leading components of the paths in the spec; a trailing ``/``, ``/.`` or ``/*`` is ignored.
        target: the run-time path, taken literally. With the role None, a pattern in place of a whole pattern of files
            is a pattern, too: ``/old/records/train/*`` becomes ``/new/records/train-*``.
    """

    role: str | None
    reference: str
    target: str


@dataclass(frozen=True, slots=True)
class Change:
    """One value that was changed.

    Attributes:
        field: field path.
        line: 1-based line in the original file; of an inserted value: the line before which it stands now.
        old: what was there; None for a value that was inserted.
        new: what is there now.
    """

    field: str
    line: int
    old: str | None
    new: str


@dataclass(frozen=True)
class Update:
    """A spec with other paths.

    Attributes:
        document: the new spec; its bytes are what to write.
        changes: in file order.
        original: the spec as it was.
        forgotten: paths that begin with one of the references, though no substitution is for their role: the first of
            each role.
    """

    document: SpecDocument
    changes: tuple[Change, ...]
    original: SpecDocument
    forgotten: tuple[PathValue, ...]

    def diff(self) -> str:
        """Unified diff for people: control characters are escaped, line ends not shown."""
        old, new = (document.source.split("\n") for document in (self.original, self.document))
        name = printable(self.document.path)
        lines = difflib.unified_diff(old, new, f"{name} (original)", f"{name} (updated)", lineterm="")
        return "\n".join(printable(line.removesuffix("\r")) for line in lines)


def update_spec(
    spec: SpecDocument,
    path_roles: Mapping[str, str],
    substitutions: Sequence[Substitution],
    *,
    num_epochs: int | None = None,
    epochs_field: str | None = None,
) -> Update:
    """Put run-time paths into a spec.

    Args:
        spec: a spec that was read, unknown fields allowed or not.
        path_roles: the network's table (see `SpecDocument.path_values`).
        substitutions: what to replace; a role may have several references.
        num_epochs: number of epochs to set, where given.
        epochs_field: the field that holds it; None: this network has none.

    Raises:
        UsageError: a reference or target is empty or unusable, or two targets are given for one reference.
        SpecError: a reference fits no path of its role, the spec has no path of a role, or holds no training section.
    """
    rules = [_Rule.from_substitution(one) for one in substitutions]
    _refuse_contradictions(rules)
    paths = list(spec.path_values(path_roles))
    for rule in rules:
        _require_match(spec, rule, paths)
    edits = list(_path_edits(spec, paths, rules))
    if num_epochs is not None:
        edits.append(_epochs_edit(spec, epochs_field, num_epochs))
    changing = [one for one in edits if one.old != one.new]
    planned = sorted([*changing, *_aliases(spec, changing)], key=lambda one: (one.edit.start, one.field))
    changed = {one.edit.start for one in planned}
    forgotten = _forgotten([path for path in paths if path.start not in changed], rules)
    return _apply(spec, planned, forgotten)


@dataclass(frozen=True, slots=True)
class _Planned:
    """An edit with the content of the value before and after it."""

    field: str
    edit: Edit
    old: str | None
    new: str


def _path_edits(spec: SpecDocument, paths: Sequence[PathValue], rules: Sequence[_Rule]) -> Iterator[_Planned]:
    for path in paths:
        new = _replacement(path, rules)
        if new is not None:
            yield _Planned(path.path, Edit(path.start, path.end, spec.quoted(path, new)), path.content, new)


def _aliases(spec: SpecDocument, planned: Sequence[_Planned]) -> Iterator[_Planned]:
    """The other values that change with those: in YAML, an alias stands for a text that is written elsewhere.

    Raises:
        SpecError: one text is to become two.
    """
    fields = {one.field for one in planned}
    by_start: dict[int, _Planned] = {}
    for one in planned:
        if one.old is None:
            continue  # what is added stands for nothing else, wherever it begins
        first = by_start.setdefault(one.edit.start, one)
        if first.new != one.new:
            raise SpecError(
                f"{first.field} and {one.field} are one text, and would become {short_repr(first.new)} and "
                f"{short_repr(one.new)}",
                where=f"{printable(spec.path)}:{spec.line_of(one.edit.start)}",
                hint=_NO_ALIAS,
            )
    for leaf in spec.leaves():
        if leaf.start in by_start and leaf.path not in fields:
            yield replace(by_start[leaf.start], field=leaf.path)


def _epochs_edit(spec: SpecDocument, field: str | None, number: int) -> _Planned:
    if not 1 <= number <= MAX_EPOCHS:
        raise UsageError(f"the number of epochs must be from 1 to {MAX_EPOCHS}, not {number}")
    edit = spec.number_edit(field, number) if field else None
    if field is None or edit is None:
        raise SpecError(
            "this kind of spec has no number of epochs",
            where=printable(spec.path),
            hint="Leave the number of epochs out, or give the training spec.",
        )
    return _Planned(field, edit, spec.source[edit.start : edit.end] or None, str(number))


def _forgotten(paths: Sequence[PathValue], rules: Sequence[_Rule]) -> tuple[PathValue, ...]:
    roles = {rule.role for rule in rules}
    first: dict[str, PathValue] = {}
    for path in paths:
        if not roles & {None, path.role} and any(rule.begins(path) for rule in rules):
            first.setdefault(path.role, path)
    return tuple(first.values())


def _apply(spec: SpecDocument, planned: Sequence[_Planned], forgotten: tuple[PathValue, ...]) -> Update:
    """Make the edits, read the result again, and make sure that nothing else has changed."""
    updated = spec.with_edits({one.edit for one in planned})
    new_values = {one.edit.start: one.new for one in planned if one.old is not None}
    expected = [(leaf.start, leaf.path, new_values.get(leaf.start, leaf.content)) for leaf in spec.leaves()]
    expected += [(one.edit.start, one.field, one.new) for one in planned if one.old is None]
    if [(leaf.path, leaf.content) for leaf in updated.leaves()] != [leaf[1:] for leaf in sorted(expected)]:
        raise SpecError("the update would change more than was asked for", where=printable(spec.path), hint=_NO_ALIAS)
    changes = (Change(one.field, spec.line_of(one.edit.start), one.old, one.new) for one in planned)
    return Update(updated, tuple(changes), spec, forgotten)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A substitution with its trailing separators taken off: ``prefix`` is followed by ``/`` or by nothing."""

    role: str | None
    reference: str
    prefix: str
    target: str

    @classmethod
    def from_substitution(cls, one: Substitution) -> _Rule:
        name = f"for {one.role}" if one.role else "of the substitution"
        if not one.reference:
            raise UsageError(f"the reference {name} is empty", hint="Give the path as it is written in the spec.")
        if not one.target:
            raise UsageError(f"the path {name} is empty", hint=f"Give what stands for {shown(one.reference)}.")
        if "\0" in one.target or not _is_unicode(one.target):
            raise UsageError(f"the path {name} is not text: {shown(one.target)}", hint="A spec holds UTF-8 text only.")
        return cls(one.role, one.reference, without_tail(one.reference), without_tail(one.target, ("/",)))

    def fits(self, path: PathValue) -> bool:
        """Is this reference for the role of that path, and its beginning?"""
        return self.role in (None, path.role) and self.begins(path)

    def begins(self, path: PathValue) -> bool:
        """Is this reference the beginning of that path, whatever its role, in whole components?"""
        return begins(self.prefix, path.content)

    def apply(self, path: PathValue) -> str:
        """The path with the target in place of the reference."""
        if self.role is None and path.role in GLOB_ROLES and path.content == self.reference and _is_wild(self.target):
            return self.target
        target = glob.escape(self.target) if path.role in GLOB_ROLES else self.target
        return target + path.content[len(self.prefix) :] or "/"


def begins(reference: str, path: str) -> bool:
    """Whether a reference is the beginning of a path, in whole components."""
    prefix = without_tail(reference)
    return path == prefix or path.startswith(f"{prefix}/")


def _is_wild(path: str) -> bool:
    return any(character in path for character in "*?")


def _is_unicode(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


def without_tail(path: str, tails: tuple[str, ...] = ("/", "/.", "/*")) -> str:
    """A path without trailing separators; the root becomes the empty string."""
    while tail := next((tail for tail in tails if path.endswith(tail)), None):
        path = path.removesuffix(tail)
    return path


def _refuse_contradictions(rules: Sequence[_Rule]) -> None:
    seen: dict[tuple[str | None, str], str] = {}
    for rule in rules:
        if seen.setdefault((rule.role, rule.prefix), rule.target) != rule.target:
            raise UsageError(
                f"two paths are given for the reference {shown(rule.reference)}"
                + (f" of {rule.role}" if rule.role else ""),
                hint="Give each reference once.",
            )


def _require_match(spec: SpecDocument, rule: _Rule, paths: Sequence[PathValue]) -> None:
    """Refuse a reference that would change nothing: it is a mistake, and the stale path would be read."""
    of_role = [path for path in paths if rule.role in (None, path.role)]
    if not of_role:
        what = f"no path for {rule.role}" if rule.role else "no path with a role"
        raise SpecError(
            f"the spec has {what}, so {shown(rule.reference)} cannot be replaced",
            where=printable(spec.path),
            hint="Leave this reference out, or add the field to the spec.",
        )
    if not any(rule.fits(path) for path in of_role):
        kind = f"{rule.role} path" if rule.role else "path"
        listed = ", ".join(dict.fromkeys(shown(path.content) for path in of_role[:_MOST_LISTED]))
        more = f" and {len(of_role) - _MOST_LISTED} more" if len(of_role) > _MOST_LISTED else ""
        raise SpecError(
            f"the reference {shown(rule.reference)} is not the beginning of any {kind}",
            where=spec.where(of_role[0].path),
            hint=f"The spec has: {listed}{more}.{_meant(rule, paths)}",
        )


def _meant(rule: _Rule, paths: Sequence[PathValue]) -> str:
    """The roles that a reference would fit, as a sentence."""
    roles = ", ".join(dict.fromkeys(path.role for path in paths if rule.begins(path)))
    return f" The reference is the beginning of paths for: {roles}." if roles else ""


def _replacement(path: PathValue, rules: Sequence[_Rule]) -> str | None:
    """The new value by the longest reference that fits; one for the role itself goes before one for all roles."""
    fitting = [rule for rule in rules if rule.fits(path)]
    if not fitting:
        return None
    return max(fitting, key=lambda rule: (len(rule.prefix), rule.role is not None)).apply(path)
