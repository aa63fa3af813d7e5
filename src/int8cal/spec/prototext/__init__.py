"""Experiment specs of TAO's TensorFlow networks: protobuf text, read without loss, checked and edited.

bytes → text (SpecText) → find (which message) → load (typed) → check (the tables beside the message definition)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from int8cal.errors import SpecError, UsageError
from int8cal.io.safe_text import printable

if TYPE_CHECKING:
    from int8cal.spec.prototext.document import PrototextSpec


@dataclass(frozen=True)
class Prototext:
    """Protobuf text as a spec language (see `int8cal.spec.languages.Language`)."""

    title: str = "protobuf text"

    def register_folder(self, folder: str) -> None:
        """Make the messages in ``descriptors.binpb`` known, with the checks in ``checks.json``."""
        from int8cal.spec.prototext import schema

        if os.path.exists(os.path.join(folder, schema.TABLES_FILE)):
            schema.register_folder(folder)

    def claims(self, data: bytes) -> bool:
        """It is the language of whatever no other one claims."""
        return True

    def knows(self, root: str) -> bool:
        """Whether a message of this name is known."""
        from int8cal.spec.prototext.schema import roots

        return root in roots()

    def recognises(self, data: bytes) -> bool:
        """Whether a file reads as a spec of a known message, even if it fits several, or cannot be run."""
        from int8cal.spec.prototext.find import fits_any
        from int8cal.spec.prototext.load import require_readable
        from int8cal.spec.prototext.text import SpecText

        text = SpecText.from_bytes(data)
        try:
            require_readable(text, "")
        except SpecError:
            return False
        return fits_any(text)

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
    ) -> PrototextSpec:
        """The bytes of a spec file → its typed message; see `int8cal.spec.languages.Language.read`."""
        from int8cal.spec.prototext.find import refuse_elsewhere, root_of_text
        from int8cal.spec.prototext.load import parse
        from int8cal.spec.prototext.text import SpecText

        if overrides:
            raise UsageError(
                f"{printable(overrides[0])}: specs in protobuf text have no overrides", hint="Change the spec itself."
            )
        text = SpecText.from_bytes(data)
        refuse_elsewhere(text, path)
        try:
            found = root_of_text(text, path, root if beside else None, root)
        except SpecError:
            if root is None:
                raise
            found = root  # parsing it as what the user says gives the better message
        return parse(text, path, found, allow_unknown_fields=allow_unknown_fields, strict=strict)


LANGUAGE = Prototext()
