"""The spec languages: each a folder of this package with a constant ``LANGUAGE``. Adding one edits nothing here.

Every run imports the folder's ``__init__``: what is heavy in a language is imported by its functions.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Protocol

import int8cal.spec
from int8cal.spec.document import SpecDocument

DEFAULT = "prototext"
"""The language of a file that no other language claims."""


class Language(Protocol):
    """How the specs of one language are read."""

    @property
    def title(self) -> str:
        """One or two words for messages: ``protobuf text``."""

    def register_folder(self, folder: str) -> None:
        """Make the specs known whose schema lies in a network's folder, if it is one of this language.

        Doing it again changes nothing.
        """

    def claims(self, data: bytes) -> bool:
        """Whether a file is of this language rather than of the default one."""

    def knows(self, root: str) -> bool:
        """Whether this is the language of a kind of spec."""

    def recognises(self, data: bytes) -> bool:
        """Whether a file reads as a spec of a known kind, even if it fits several, or cannot be run."""

    def read(
        self,
        data: bytes,
        path: str,
        root: str | None = None,
        *,
        beside: bool = False,
        allow_unknown_fields: bool = False,
        strict: bool = False,
        overrides: Sequence[str] = (),
    ) -> SpecDocument:
        """The bytes of a spec file → its typed values.

        Args:
            data: the file.
            path: where it was read from; only for messages.
            root: the kind of spec that the user says it is; None: found from the file.
            beside: look for the kind only among those that belong to one network with ``root``.
            allow_unknown_fields: unknown fields become warnings and are ignored.
            strict: legacy fields are errors.
            overrides: ``key=value`` each, put in place of what the file says.

        Raises:
            UsageError: the language has no overrides, or one is malformed.
            SpecError: the text cannot be read, is not a spec that is known, or holds unknown fields.
        """


def languages() -> Iterator[Language]:
    """Every language, the default one last."""
    yield from map(_language, _names())


@cache
def _names() -> tuple[str, ...]:
    found = [module.name for module in pkgutil.iter_modules(int8cal.spec.__path__) if module.ispkg]
    return tuple(sorted(found, key=lambda name: (name == DEFAULT, name)))


def language_of(data: bytes, root: str | None = None) -> Language:
    """The language that a file is written in; of one that none claims, that of the kind of spec it should be."""
    found = next(language for language in languages() if language.claims(data))
    if root is None or found is not _language(DEFAULT):
        return found
    return next((language for language in languages() if language.knows(root)), found)


def register_folder(folder: str) -> None:
    """Make the specs of the network in a folder known to the language that they are written in."""
    for language in languages():
        language.register_folder(folder)


@cache
def _language(name: str) -> Language:
    language: Language = importlib.import_module(f"int8cal.spec.{name}").LANGUAGE
    return language
