"""How batches get made: on threads here, on a Ray cluster, or by NVIDIA's own command.

An engine is an object that has a name, says what it cannot do, and runs a job. Adding one is a module in this folder
and a line in `ENGINES`; what packages it needs is an extra of its name in ``pyproject.toml``.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from int8cal.errors import UsageError

if TYPE_CHECKING:
    from int8cal.engine.job import Job, Made
    from int8cal.plans import Plan
    from int8cal.tensorfile.shards import TensorFileOutput


class Entry(NamedTuple):
    """An engine in the table.

    Attributes:
        place: module and class; imported when the engine is asked for.
        words: what it is, for the help of the command line and of the component.
        package: what the extra of its name installs; None where it needs nothing.
    """

    place: str
    words: str
    package: str | None = None


ENGINES = {
    "native": Entry("int8cal.engine.native:NativeEngine", "int8cal itself"),
    "ray": Entry("int8cal.engine.ray:RayEngine", "the same on the Ray cluster of RAY_ADDRESS", "ray"),
    "tao": Entry("int8cal.engine.tao:TaoEngine", "NVIDIA's own command, where it is installed, gets the updated spec"),
}
ENGINE_HELP = " ".join(["What makes the batches.", *(f"{name}: {entry.words}." for name, entry in ENGINES.items())])


class Engine(Protocol):
    """What every engine is to the pipeline."""

    name: ClassVar[str]
    takes_address: ClassVar[bool]
    """Whether it can be given as ``name://address``, the class with the address."""
    options: ClassVar[frozenset[str]]
    """Those options of a `Job` that it heeds; the others are refused."""

    def check(self, plan: Plan) -> None:
        """Refuse a plan that it cannot make, before anything is written.

        Raises:
            UsageError: the plan has what the engine does not know.
            UnavailableError: the engine is not there.
        """

    def scratch_folder(self, wanted: str | None) -> AbstractContextManager[str | None]:
        """Where the output is written before it gets its name; None: beside it."""

    def make(self, job: Job, output: TensorFileOutput) -> Made:
        """Make the tensorfile of a job at ``output.scratch``.

        Raises:
            DataError: an image or record cannot be used.
            OutputError: the file cannot be written.
            UnavailableError: the engine is not there, or fails.
        """


def engine_named(text: str) -> Engine:
    """The engine of that name, or name and address.

    Args:
        text: one of `ENGINES`, or ``ray://head:6379``.

    Raises:
        UsageError: the engine is unknown, or has no address.
    """
    name, is_addressed, address = text.partition("://")
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}", hint=f"Use one of: {', '.join(ENGINES)}.")
    module, _, class_name = ENGINES[name].place.partition(":")
    kind = getattr(importlib.import_module(module), class_name)
    if not is_addressed:
        return kind()  # type: ignore[no-any-return]  # a class of the table
    if not kind.takes_address:
        raise UsageError(f"the engine {name} has no address", hint=f"Give its name alone: {name}.")
    if not address:
        raise UsageError(f"{text} names no cluster", hint=f"Give its address, or the name {name} alone.")
    return kind(address)  # type: ignore[no-any-return]
