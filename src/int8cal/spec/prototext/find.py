"""Which network's spec is this? Told by the names of its fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from int8cal.errors import SpecError
from int8cal.io.safe_text import printable, shown
from int8cal.spec.elsewhere import network_elsewhere, not_here
from int8cal.spec.prototext.fields import visit_fields
from int8cal.spec.prototext.load import require_readable
from int8cal.spec.prototext.oddities import find_oddities
from int8cal.spec.prototext.schema import describe_root, new_message, roots, roots_beside
from int8cal.spec.prototext.text import Section, SpecText

_MISSPELT = 0.8  # similarity from which an unknown name counts as a misspelt known one
_MOST_UNKNOWN = 20  # names at the top level; with more of them it is the spec of something else


def root_of_text(text: SpecText, path: str, beside: str | None = None, asked: str | None = None) -> str:
    """Full name of the message that a spec is: ``int8cal.detectnet_v2.Experiment``.

    Args:
        text: the spec .
        path: where it was read from; only for messages.
        beside: look only among the messages that belong to one network with this one.
        asked: taken when it knows every field; no other one can fit better then.

    Raises:
        SpecError: the text cannot be read, fits no known message, or fits several equally well.
    """
    require_readable(text, path)
    if asked is not None and asked in roots() and any(fit.rank[:2] == (0, 0) for fit in _fits(text, [asked])):
        return asked  # knows all of it: no other message fits better
    fits = sorted(_fits(text, roots_beside(beside) if beside else roots()), key=lambda fit: fit.rank)
    if not fits:
        names = ", ".join(dict.fromkeys(shown(field.name, 40) for field in text.root.fields[:4]))
        raise SpecError(
            "this fits no spec that int8cal knows",
            where=printable(path),
            hint=f"Its first fields are: {names}. Is it the training spec?" if names else "It holds no field at all.",
        )
    best = [fit for fit in fits if fit.rank == fits[0].rank]
    if len(best) > 1:
        raise SpecError(
            f"this could be {' or '.join(describe_root(fit.root) for fit in best)}",
            where=printable(path),
            hint="Name the network: int8cal NETWORK plan …, or --network of int8cal spec and int8cal component.",
        )
    return best[0].root


def refuse_elsewhere(text: SpecText, path: str) -> None:
    """Refuse the spec of a network that int8cal does not have, under its name.

    Raises:
        SpecError: it is one.
    """
    if network := network_elsewhere(set(_names(text))):
        raise not_here(network, path)


def _names(text: SpecText) -> Iterator[str]:
    """Names of the fields at the top level, and of those in its sections as ``section.name``."""
    for field in text.root.fields:
        yield field.name
        for value in field.values:
            if isinstance(value, Section):
                yield from (f"{field.name}.{inner.name}" for inner in value.fields)


def fits_any(text: SpecText) -> bool:
    """Whether a text reads as the spec of a network, even if it fits several, or cannot be run."""
    return any(True for _ in _fits(text, roots()))


class _Fit(NamedTuple):
    """How well a text fits a message.

    Attributes:
        root: the message.
        strange: names at the top level that are not known ones, not even misspelt.
        unknown: unknown fields, at any level.
        known: known fields, at any level.
    """

    root: str
    strange: int
    unknown: int
    known: int

    @property
    def rank(self) -> tuple[int, int, int]:
        """The least one fits best."""
        return self.strange, self.unknown, -self.known


def _fits(text: SpecText, candidates: Iterable[str]) -> Iterator[_Fit]:
    """The messages of which this can be a spec: of the names at its top level, more are known than strange."""
    for root in candidates:
        unknown = [odd for odd in find_oddities(text, root) if not odd.legacy]
        unknown_on_top = {odd.name: odd for odd in unknown if odd.top_level}
        if len(unknown_on_top) > _MOST_UNKNOWN:
            continue
        known = [visit for visit in visit_fields(text, new_message(root).DESCRIPTOR) if visit.descriptor is not None]
        known_on_top = {visit.field.name for visit in known if "." not in visit.path}
        strange = sum(not odd.nearest(_MISSPELT) for odd in unknown_on_top.values())
        if strange < len(known_on_top):
            yield _Fit(root, strange, len(unknown), len(known))
