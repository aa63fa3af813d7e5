"""How batches get made: on threads here, on a Ray cluster, or by NVIDIA's own command.

An engine is an object that has a name, says what it cannot do, and runs a job. Adding one is a module in this folder
and a line in `ENGINES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from int8cal.errors import UsageError

if TYPE_CHECKING:
    from int8cal.engine.work import FailedSample
    from int8cal.plans import Plan
    from int8cal.tensorfile.chunks import Compression
    from int8cal.tensorfile.layout import SampleRow
    from int8cal.tensorfile.shards import TensorFileOutput
    from int8cal.types import Progress

ENGINES = {
    "native": "int8cal.engine.native:NativeEngine",
    "ray": "int8cal.engine.ray:RayEngine",
    "tao": "int8cal.engine.tao:TaoEngine",
}
"""Name → where its class is; imported when it is asked for."""


class Job(NamedTuple):
    """What an engine is asked to do.

    Attributes:
        plan: what to make.
        compression: how chunks are compressed.
        workers: images worked on at the same time; None: the processors that there are.
        max_skipped: how many bad images may be left out; 0: the first one ends the run.
        resume: keep finished images, and use those that an interrupted run kept.
        progress: told how far the work is.
    """

    plan: Plan
    compression: Compression
    workers: int | None = None
    max_skipped: int = 0
    resume: bool = False
    progress: Progress | None = None


@dataclass(frozen=True)
class Made:
    """What a job came to.

    Attributes:
        facts: the manifest; see `int8cal.manifest`.
        images: how many images are in the file.
        rows: one row per sample used or skipped, in the order of the run; empty when the engine knows none.
        skipped: the samples that were left out, and why.
        run: what the ``.json`` says of the run, beside times.
        problem: why the file cannot be used; None when it is what was asked for.
        then: to be done when the file has its name; None: nothing.
    """

    facts: dict[str, Any]
    images: int
    rows: Sequence[SampleRow] = ()
    skipped: Sequence[FailedSample] = ()
    run: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    then: Callable[[], None] | None = None


class Engine(Protocol):
    """What every engine is to the pipeline."""

    name: ClassVar[str]
    takes_address: ClassVar[bool]
    """Whether it can be given as ``name://address``, the class with the address."""
    lacks: ClassVar[frozenset[str]]
    """Those arguments of `int8cal.make` that it knows nothing of."""

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
    if not isinstance(text, str):
        raise UsageError(f"an engine cannot be {text!r}", hint=f"Use one of: {', '.join(ENGINES)}.")
    name, is_addressed, address = text.partition("://")
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}", hint=f"Use one of: {', '.join(ENGINES)}.")
    module, _, class_name = ENGINES[name].partition(":")
    kind = getattr(importlib.import_module(module), class_name)
    if not is_addressed:
        return kind()  # type: ignore[no-any-return]  # a class of the table
    if not kind.takes_address:
        raise UsageError(f"the engine {name} has no address", hint=f"Give its name alone: {name}.")
    if not address:
        raise UsageError(f"{text} names no cluster", hint=f"Give its address, or the name {name} alone.")
    return kind(address)  # type: ignore[no-any-return]
