"""A spec file → typed message, whichever network it is of: how every command begins that is given a spec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from int8cal import networks
from int8cal.errors import SpecError
from int8cal.spec.prototext.find import root_of_text
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.read import read_text

if TYPE_CHECKING:
    from int8cal.networks.network import Network
    from int8cal.spec.prototext.spec import Spec
    from int8cal.spec.prototext.text import SpecText


def read_and_parse(
    path: str,
    asked: Network | None = None,
    *,
    as_asked: bool = False,
    allow_unknown_fields: bool = False,
    strict: bool = False,
) -> Spec:
    """Read and parse a spec file of any kind; nothing but its form is checked.

    Args:
        path: the file, or a pipe; it is read once.
        asked: the network that the user names, if any.
        as_asked: the file is read as a spec of that network, even when it looks like another one's.
        allow_unknown_fields: unknown fields become warnings and are ignored.
        strict: legacy fields are errors.

    Raises:
        SpecError: the file cannot be read, is no spec that is known, or holds unknown fields.
    """
    text = read_text(path)
    root = _root(text, path, asked, as_asked=as_asked)
    return parse(text, path, root, allow_unknown_fields=allow_unknown_fields, strict=strict)


def _root(text: SpecText, path: str, asked: Network | None, *, as_asked: bool) -> str:
    if asked is None:
        networks.load_installed()  # they make their messages known as they are loaded
        return root_of_text(text, path)
    try:
        return root_of_text(text, path, asked.root if as_asked else None)
    except SpecError:
        return asked.root  # parsing it as what the user says gives the better message
