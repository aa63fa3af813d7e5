"""Which network's spec is this? Told by the names of its fields."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from int8cal.errors import SpecError, UsageError
from int8cal.spec.fields import visit_fields
from int8cal.spec.load import require_readable
from int8cal.spec.oddities import find_oddities
from int8cal.spec.schema import new_message, roots, schema_of, short_name
from int8cal.spec.text import SpecText, shown
from int8cal.text_safety import printable

_MISSPELT = 0.8  # similarity from which an unknown name counts as a misspelt known one


def root_of_text(text: SpecText, path: str, network: str | None = None) -> str:
    """Full name of the message that a spec is: ``int8cal.detectnet_v2.Experiment``.

    Args:
        text: the spec (see `int8cal.spec.read.read_text`).
        path: where it was read from; only for messages.
        network: look only among the messages of this network.

    Raises:
        SpecError: the text cannot be read, fits no known message, or fits several equally well.
        UsageError: there is no such network.
    """
    require_readable(text, path)
    fits = sorted(_fits(text, network), key=lambda fit: (fit.unknown, -fit.known))
    if not fits:
        names = ", ".join(dict.fromkeys(shown(field.name, 40) for field in text.root.fields[:4]))
        raise SpecError(
            "this fits no spec that int8cal knows",
            where=printable(path),
            hint=f"Its first fields are: {names}. Is it the training spec?" if names else "It holds no field at all.",
        )
    best = [fit for fit in fits if (fit.unknown, fit.known) == (fits[0].unknown, fits[0].known)]
    if len(best) > 1:
        raise SpecError(
            f"this could be {' or '.join(describe_root(fit.root) for fit in best)}",
            where=printable(path),
            hint="Name the network.",
        )
    return best[0].root


def describe_root(root: str) -> str:
    """A root message in words: ``ssd/dssd Experiment``."""
    schema = schema_of(root)
    return f"{'/'.join(schema.networks)} {short_name(root, schema)}"


def roots_of_network(network: str) -> list[str]:
    """Root messages of the specs of a network.

    Raises:
        UsageError: there is no such network.
    """
    found = [root for root in roots() if network in schema_of(root).networks]
    if not found:
        known = sorted({name for root in roots() for name in schema_of(root).networks})
        raise UsageError(f"no network {shown(network, 40)}", hint=f"Known: {', '.join(known)}.")
    return found


@dataclass(frozen=True, slots=True)
class _Fit:
    root: str
    unknown: int
    known: int


def _fits(text: SpecText, network: str | None) -> Iterator[_Fit]:
    """The messages of which this can be a spec: every top-level name is known, legacy or nearly right."""
    for root in roots_of_network(network) if network else list(roots()):
        unknown = [odd for odd in find_oddities(text, root) if not odd.legacy]
        known = sum(visit.descriptor is not None for visit in visit_fields(text, new_message(root).DESCRIPTOR))
        strange = [
            odd for odd in unknown if odd.top_level and not difflib.get_close_matches(odd.name, odd.known, 1, _MISSPELT)
        ]
        if known and not strange:
            yield _Fit(root, len(unknown), known)
