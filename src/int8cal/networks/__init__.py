"""The networks that int8cal knows, one file each, and the registry that finds them.

A network is found when a module of this folder has a constant ``NETWORK``, or when an installed distribution names one
in the entry-point group ``int8cal.networks``. Nothing is imported before it is asked for. An installed network that
cannot be loaded is an error only for those who ask for it by name; for everybody else it is a warning.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, TypeGuard

from int8cal.errors import SpecError, UnavailableError, UsageError
from int8cal.io.safe_text import printable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

    from int8cal.networks.network import Network
    from int8cal.spec.prototext.spec import Spec

__all__ = ["ENTRY_POINT_GROUP", "all_networks", "find", "get", "load_installed", "names", "of_spec"]

ENTRY_POINT_GROUP = "int8cal.networks"

log = logging.getLogger(__name__)

_BROKEN_HINT = "Update or remove the distribution that brings it."


def get(name: str) -> Network:
    """The network of a name.

    Raises:
        UsageError: no network has it.
        UnavailableError: it is a network of another distribution, which cannot be loaded.
    """
    own = _load_own(name) if name in _own_modules() else None
    if own is not None:
        return own
    for entry_point in _entry_points():
        if entry_point.name == name:
            return _load_foreign(entry_point)
    networks = all_networks()
    for network in networks:
        if name == network.name:
            return network
    known = ", ".join(network.name for network in networks)
    raise UsageError(f"There is no network {name!r}.", hint=f"Known networks: {known}.")


def all_networks() -> tuple[Network, ...]:
    """Every network that can be loaded, sorted by name; int8cal's own goes before another of the same name."""
    found: dict[str, Network] = {}
    for network in (*_own_networks(), *_foreign_networks()):
        found.setdefault(network.name, network)
    return tuple(found[name] for name in sorted(found))


def load_installed() -> None:
    """Load the networks of other distributions, whose specs are not known before."""
    for _ in _foreign_networks():
        pass


def names() -> frozenset[str]:
    """Every name of a network, those of installed ones that cannot be loaded included."""
    loaded = (network.name for network in all_networks())
    return frozenset((*loaded, *(entry_point.name for entry_point in _entry_points())))


def find(spec: Spec) -> Network | None:
    """The network that a spec is the training experiment of: the one with its message whose ``detect`` says yes."""
    matching = (one for one in _likely_first(spec.root) if one.root == spec.root and one.detect(spec.message))
    return next(matching, None)


def _likely_first(root: str) -> Iterator[Network]:
    """Every network; before any other is imported, those of int8cal to whose specs the message belongs."""
    from int8cal.spec.prototext.schema import schema_of  # late: it needs protobuf

    own = (_load_own(name) for name in schema_of(root).networks if name in _own_modules())
    yield from filter(None, own)
    yield from all_networks()


def of_spec(spec: Spec) -> Network:
    """The network that a spec is the training experiment of.

    Raises:
        SpecError: of none, such as an inference spec.
    """
    network = find(spec)
    if network:
        return network
    raise SpecError(
        f"is a {spec.root.removeprefix('int8cal.')}, not the training experiment of a network",
        where=spec.path,
        hint="Give the spec that the network was trained with.",
    )


@cache
def _own_modules() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(__path__))


def _own_networks() -> Iterator[Network]:
    return filter(None, map(_load_own, _own_modules()))


@cache
def _load_own(module: str) -> Network | None:
    """The network that a module of this folder defines; None for a helper module."""
    network = getattr(importlib.import_module(f"{__name__}.{module}"), "NETWORK", None)
    return network if _is_network(network) else None


def _foreign_networks() -> Iterator[Network]:
    for entry_point in _entry_points():
        try:
            yield _load_foreign(entry_point)
        except UnavailableError as error:
            _warn(error.message)


@cache
def _warn(message: str) -> None:
    """Once in a process."""
    log.warning("%s", message)


def _entry_points() -> EntryPoints:
    from importlib.metadata import entry_points  # late: most runs are of a network of ours, and need none of it

    return entry_points(group=ENTRY_POINT_GROUP)


def _load_foreign(entry_point: EntryPoint) -> Network:
    try:
        network = entry_point.load()
    except (Exception, SystemExit) as error:  # somebody else's module may raise whatever it likes
        problem = printable(str(error)) or type(error).__name__
        raise UnavailableError(
            f"The network {entry_point.name!r} ({entry_point.value}) cannot be loaded: {problem}.", hint=_BROKEN_HINT
        ) from error
    if not _is_network(network):
        raise UnavailableError(
            f"{entry_point.value}, named as the network {entry_point.name!r}, is no Network.", hint=_BROKEN_HINT
        )
    return network


def _is_network(value: object) -> TypeGuard[Network]:
    from int8cal.networks.network import Network  # late: it needs NumPy

    return isinstance(value, Network)
