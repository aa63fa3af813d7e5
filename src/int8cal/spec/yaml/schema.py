"""What a network's spec may hold: the names of its keys, their types, defaults and the versions of TAO that know them.

A schema is a text of lines, tab-separated, one per key, in the network's folder::

    name    type    default    versions    allowed    defaults

Types are ``int``, ``float``, ``bool``, ``str`` and ``any``, ``[T]`` for a list, ``{T}`` for a mapping of texts to T; a
``?`` behind the type allows null. Defaults are JSON (``"???"``: must be given). Versions are ``first-last``, without
``last`` when the newest still knows the key. ``allowed`` is what NVIDIA's schema says of the value; its tools do not
hold themselves to it. Defaults are ``version=default``, from that version on, separated by semicolons, where they have
changed.

Only what decides data, export and calibration is listed whole. Of the sections `UNJUDGED`, which decide no pixel, a
schema lists no more than paths; other keys there are kept and not judged.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

VERSIONS = ("5.0", "5.1", "5.2", "5.5", "6.25.9", "6.25.11", "6.26.3", "7.0.0", "7.0.1", "7.1.0", "7.2.0")
"""Releases of TAO whose schemas are known, oldest first; that of 6.0 never was public."""

UNJUDGED = frozenset({"model", "train", "wandb", "distill", "prune"})
MISSING = "???"
"""A value that must be given; where a spec says it, the default stands."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key.

    Attributes:
        name: with its sections: ``dataset.augmentation.eval_spatial_size``.
        type: see the head of this module.
        default: of the newest version that knows the key.
        first, last: indexes into `VERSIONS`.
        allowed: ``min 1``, ``one of a,b``; empty: anything.
        defaults: (index of the version from which, default) where it has changed, oldest first.
    """

    name: str
    type: str
    default: Any
    first: int
    last: int
    allowed: str = ""
    defaults: tuple[tuple[int, Any], ...] = ()

    def default_in(self, version: int) -> Any:
        """The default that a version has, by its index into `VERSIONS`."""
        return next((default for first, default in reversed(self.defaults) if first <= version), self.default)


@dataclass(frozen=True)
class Schema:
    """The keys of one network's spec."""

    fields: dict[str, Field]

    @classmethod
    def parse(cls, text: str) -> Schema:
        """Read the text of a schema."""
        fields = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, type_, default, versions, allowed, defaults = (line.split("\t") + [""] * 6)[:6]
                first, _, last = versions.partition("-")
                fields[name] = Field(
                    name,
                    type_,
                    json.loads(default),
                    VERSIONS.index(first),
                    VERSIONS.index(last) if last else len(VERSIONS) - 1,
                    allowed,
                    tuple(_changing(defaults)),
                )
        return cls(fields)

    @cached_property
    def sections(self) -> frozenset[str]:
        """Names that have keys below them, the root ``""`` and the sections that are not judged included."""
        names = {"", *UNJUDGED}
        for field in self.fields:
            parts = field.split(".")
            names |= {".".join(parts[:count]) for count in range(1, len(parts))}
        return frozenset(names)

    def names_in(self, section: str) -> list[str]:
        """The last parts of the names of keys and sections directly in a section."""
        prefix = f"{section}." if section else ""
        known = (*self.fields, *(name for name in self.sections if name))
        found = {name[len(prefix) :].partition(".")[0] for name in known if name.startswith(prefix)}
        return sorted(found)

    def is_judged(self, name: str) -> bool:
        """Whether a key that the schema does not list is an error: not where it cannot decide a pixel.

        In ``model`` a key is judged that can only be meant for one of the listed ``model.input_…``.
        """
        top, _, rest = name.partition(".")
        if top not in UNJUDGED or not rest:
            return True
        return top == "model" and "." not in rest and self._means_input(rest)

    def choices_of_model(self, name: str) -> list[str]:
        """The values that a key of ``model`` can have, where the schema names them: what tells the network by."""
        known = self.fields.get(name)
        if known is None or not name.startswith("model."):
            return []
        return next((one[7:].split(",") for one in known.allowed.split("; ") if one.startswith("one of ")), [])

    def _means_input(self, key: str) -> bool:
        inputs = [name for name in self.names_in("model") if name.startswith("input_")]
        sides = {name.removeprefix("input_") for name in inputs}
        return bool(inputs) and (key in sides or bool(difflib.get_close_matches(key, inputs, cutoff=0.75)))

    def nearest(self, name: str) -> str | None:
        """The known key that a wrong one may be meant for: of its own section, else one of that last name elsewhere."""
        section, _, key = name.rpartition(".")
        known = self.names_in(section)
        longer = [one for one in known if one.endswith(f"_{key}")]
        elsewhere = [one for one in self.fields if one.rpartition(".")[2] == key and self.is_judged(one)]
        near = longer or ([] if elsewhere else difflib.get_close_matches(key, known, n=1, cutoff=0.5))
        if near:
            return f"{section}.{near[0]}" if section else near[0]
        return elsewhere[0] if elsewhere else None


def versions_text(first: int, last: int) -> str:
    """``TAO 6.25.9 to 7.x``, of indexes into `VERSIONS`."""
    if last == len(VERSIONS) - 1:
        return f"TAO {VERSIONS[first]} to 7.x" if first < last else f"TAO {VERSIONS[first]}"
    return f"TAO {VERSIONS[first]} to {VERSIONS[last]}" if first < last else f"TAO {VERSIONS[first]}"


def _changing(text: str) -> Iterator[tuple[int, Any]]:
    for one in filter(None, text.split(";")):
        version, _, default = one.partition("=")
        yield VERSIONS.index(version), json.loads(default)
