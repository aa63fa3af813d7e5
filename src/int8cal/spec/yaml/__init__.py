"""Experiment specs of TAO's PyTorch networks: YAML, read with positions, typed by a schema, edited value by value.

bytes → text (values with positions) → document (typed by the schema in the network's folder) → check
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from int8cal.errors import SpecError

if TYPE_CHECKING:
    from int8cal.spec.yaml.document import YamlSpec
    from int8cal.spec.yaml.schema import Schema

SCHEMA_FILE = "schema.tsv"

_BEGINNING = re.compile(r"\ufeff?(?:%YAML|---|[{\[\"'-]|$)")
"""What protobuf text does not begin with: a directive, a mapping or list without a name, a name in quotes."""

_SECTION = re.compile(r"^[A-Za-z_]\w*:[ \t]*(?:#.*)?\r?\n(?:[ \t]*(?:#.*)?\r?\n)*(?:[ \t]+[^\s{<#]|- )", re.MULTILINE)
_SECTIONS = "dataset|model|train|evaluate|inference|export|gen_trt_engine|quantize|prune|distill|wandb"
_WORD = re.compile(rf"^(?:{_SECTIONS}|results_dir|encryption_key|model_name):(?:\s|$)", re.MULTILINE)
_BRACES = re.compile(r"^[^\S\n]*[A-Za-z_]\w*[ \t]*(?::[ \t]*)?\{[ \t]*(?:#.*)?\r?$", re.MULTILINE)
"""A section of protobuf text; where one stands, a word at the beginning of a line proves nothing."""

_FOLDERS: dict[str, str] = {}
"""Network → the folder of its schema."""


@dataclass(frozen=True)
class Yaml:
    """YAML as a spec language (see `int8cal.spec.languages.Language`)."""

    title: str = "YAML"

    def register_folder(self, folder: str) -> None:
        """Make the keys in ``schema.tsv`` known; the network has the folder's name."""
        if os.path.exists(os.path.join(folder, SCHEMA_FILE)):
            _FOLDERS.setdefault(os.path.basename(folder), folder)

    def claims(self, data: bytes) -> bool:
        """Whether a file looks like YAML: its first line that says anything is ``key:`` or begins a document.

        Protobuf text writes ``name {`` there, or ``name: value`` with quotes, numbers or a word.
        """
        return looks_like_yaml(data)

    def knows(self, root: str) -> bool:
        """Whether it is the spec of a network whose schema is known."""
        return _network_of_root(root) in _FOLDERS

    def recognises(self, data: bytes) -> bool:
        """Whether a file reads as a spec of a known network, be it one of several."""
        from int8cal.spec.yaml.find import candidates
        from int8cal.spec.yaml.text import read_document

        try:
            return bool(candidates(read_document(data, "").root, of_any_model=True))
        except SpecError:
            return False

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
    ) -> YamlSpec:
        """The bytes of a spec file → its typed values; see `int8cal.spec.languages.Language.read`.

        What is wrong with keys and values is found by `YamlSpec.check`.
        """
        from int8cal.spec.yaml.document import YamlSpec
        from int8cal.spec.yaml.find import network_of
        from int8cal.spec.yaml.overrides import with_overrides
        from int8cal.spec.yaml.text import read_document

        document = read_document(data, path)
        values = with_overrides(document, overrides)
        asked = _network_of_root(root) if root else None
        network = network_of(values, path, asked if asked in _FOLDERS else None, as_asked=beside)
        return YamlSpec(
            path,
            document,
            values,
            schema_of(network),
            network,
            tuple(overrides),
            lenient=allow_unknown_fields,
            strict=strict,
        )


def looks_like_yaml(data: bytes) -> bool:
    """Whether a file is YAML rather than protobuf text, whose sections have braces."""
    text = re.sub("\r\n?", "\n", data.decode("utf-8", "replace"))
    said = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    return bool(said and _BEGINNING.match(said)) or bool(
        _SECTION.search(text) or (_WORD.search(text) and not _BRACES.search(text))
    )


def _network_of_root(root: str) -> str:
    return root.removeprefix("int8cal.").partition(".")[0]


def known_networks() -> list[str]:
    """Names of the networks whose schemas are known."""
    return sorted(_FOLDERS)


def schema_of(network: str) -> Schema:
    """The keys of a network's spec."""
    return _schema(_FOLDERS[network])


@cache
def _schema(folder: str) -> Schema:
    from int8cal.spec.yaml.schema import Schema

    with open(os.path.join(folder, SCHEMA_FILE), encoding="utf-8") as file:
        return Schema.parse(file.read())


LANGUAGE = Yaml()
