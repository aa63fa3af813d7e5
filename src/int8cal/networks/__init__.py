"""The networks that int8cal knows, one folder each, and the registry that finds them.

A network is a package: its ``__init__`` has a constant ``NETWORK`` (or ``NETWORKS``, for several that share all but a
name), and the schema of its specs lies beside it. int8cal finds the folders here, and every package that an installed
distribution names in the entry-point group ``int8cal.networks``, and treats both alike. Nothing is imported before it
is asked for. An installed network that cannot be loaded is an error only for those who ask for it by name; for
everybody else it is a warning.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from int8cal.errors import SpecError, UnavailableError, UsageError
from int8cal.io.safe_text import printable
from int8cal.spec.elsewhere import advice_elsewhere, name_elsewhere
from int8cal.spec.languages import register_folder

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints
    from types import ModuleType

    from int8cal.network_kit.network import Network
    from int8cal.spec.document import SpecDocument

__all__ = [
    "ENTRY_POINT_GROUP",
    "all_networks",
    "beside",
    "find",
    "get",
    "load_schemas",
    "names",
    "of_document",
    "starter",
]

ENTRY_POINT_GROUP = "int8cal.networks"

log = logging.getLogger(__name__)

_BROKEN_HINT = "Update or remove the distribution that brings it."


def get(name: str) -> Network:
    """The network of a name, its own or that of NVIDIA's launcher from TAO 5 on (``classification_tf1``).

    Raises:
        UsageError: no network has it.
        UnavailableError: it is a network of another distribution, which cannot be loaded.
    """
    own = _load_own(name) if name in _own_folders() else ()
    for entry_point in _entry_points() if not own else ():
        if entry_point.name == name:
            own = _load_installed(entry_point)
    for network in own or all_networks():
        if network.name == name or (network.reference_command and network.reference_command.task_tao5 == name):
            return network
    if elsewhere := name_elsewhere(name):
        raise UsageError(f"int8cal has no {elsewhere} yet", hint=advice_elsewhere(elsewhere))
    known = [network.name for network in all_networks()]
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(f"there is no network {name!r}", hint=f"{meant}Known networks: {', '.join(known)}.")


def all_networks() -> tuple[Network, ...]:
    """Every network that can be loaded, sorted by name; int8cal's own goes before another of the same name."""
    found: dict[str, Network] = {}
    for network in (*_own_networks(), *_installed_networks()):
        found.setdefault(network.name, network)
    return tuple(found[name] for name in sorted(found))


def names() -> frozenset[str]:
    """Every name of a network, those of installed ones that cannot be loaded included."""
    loaded = (network.name for network in all_networks())
    return frozenset((*loaded, *(entry_point.name for entry_point in _entry_points())))


def load_schemas(*, installed: bool = True) -> None:
    """Make the specs of every network known, so that a spec can be told by its fields.

    Args:
        installed: those of other distributions, too, which are imported for it.
    """
    for folder in _own_folders():
        _load_own_schema(folder)
    if installed:
        for _ in _installed_networks():
            pass


def find(document: SpecDocument) -> Network | None:
    """The network that a spec is the training experiment of: the one with its message whose ``detect`` says yes."""
    roots = (one for one in _likely_first(document.root) if one.root == document.root)
    return next((one for one in roots if one.detect(document.message)), None)


def starter(name: str) -> bytes:
    """A spec to start from: the file ``starter.yaml`` or ``starter_NAME.txt`` in the folder of a network of int8cal.

    Raises:
        UsageError: no network has this name, or this one has no such file.
    """
    folder = get(name).root.removeprefix("int8cal.").partition(".")[0]
    for file_name in ("starter.yaml", f"starter_{name}.txt"):
        path = os.path.join(__path__[0], folder, file_name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                return file.read()
    raise UsageError(f"there is no spec to start from for {name}", hint="Start from the spec of the training.")


def of_document(document: SpecDocument) -> Network:
    """The network that a spec is the training experiment of.

    Raises:
        SpecError: of none, such as an inference spec.
    """
    network = find(document)
    if network:
        return network
    raise SpecError(
        f"is a {document.root.removeprefix('int8cal.')}, not the training experiment of a network",
        where=document.path,
        hint="Give the spec that the network was trained with.",
    )


def beside(document: SpecDocument) -> Network | None:
    """The network to which a spec of any kind belongs: it shares path roles with the training experiment.

    Of networks whose specs are alike, the first by name.
    """
    package = document.root.rpartition(".")[0]
    of_package = (one for one in _likely_first(document.root) if one.root.rpartition(".")[0] == package)
    return find(document) or next(of_package, None)


def _likely_first(root: str) -> Iterator[Network]:
    """Every network; before any other is imported, that of int8cal to whose folder the message belongs."""
    folder = root.removeprefix("int8cal.").partition(".")[0]
    if folder in _own_folders():
        yield from _load_own(folder)
    yield from all_networks()


@cache
def _own_folders() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def _own_networks() -> Iterator[Network]:
    for folder in _own_folders():
        yield from _load_own(folder)


@cache
def _load_own(folder: str) -> tuple[Network, ...]:
    package = importlib.import_module(f"{__name__}.{folder}")
    return _networks_of(package, package)


@cache
def _load_own_schema(folder: str) -> None:
    """The schema lies beside the network, so that it is known without the network's code, which takes a while."""
    register_folder(os.path.join(__path__[0], folder))


def _installed_networks() -> Iterator[Network]:
    for entry_point in _entry_points():
        try:
            yield from _load_installed(entry_point)
        except UnavailableError as error:
            _warn(error.message)


@cache
def _warn(message: str) -> None:
    """Once in a process."""
    log.warning("%s", message)


@cache
def _entry_points() -> EntryPoints:
    """What is installed when it is first asked for: looking through every distribution takes a while."""
    from importlib.metadata import entry_points  # late: most runs are of a network of ours, and need none of it

    return entry_points(group=ENTRY_POINT_GROUP)


def _load_installed(entry_point: EntryPoint) -> tuple[Network, ...]:
    try:
        found = _networks_of(entry_point.load(), sys.modules.get(entry_point.module))
    except (Exception, SystemExit) as error:  # somebody else's module may raise whatever it likes
        problem = printable(str(error)) or type(error).__name__
        raise UnavailableError(
            f"The network {entry_point.name!r} ({entry_point.value}) cannot be loaded: {problem}.", hint=_BROKEN_HINT
        ) from error
    if not found:
        raise UnavailableError(
            f"{entry_point.value}, named as the network {entry_point.name!r}, has no Network.", hint=_BROKEN_HINT
        )
    return found


def _networks_of(named: object, package: ModuleType | None) -> tuple[Network, ...]:
    """The networks that a package defines, or the one that was named in it; their specs are made known."""
    from int8cal.network_kit.network import Network  # late: it needs NumPy

    if package is not None and package.__file__:
        register_folder(os.path.dirname(package.__file__))
    found = getattr(named, "NETWORKS", None) or (getattr(named, "NETWORK", named),)
    return tuple(network for network in found if isinstance(network, Network))
