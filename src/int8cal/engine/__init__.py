"""How batches get made: on threads here, or by NVIDIA's own command."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, TypeAlias

from int8cal.engine.native import encoded_in_order
from int8cal.errors import UsageError

if TYPE_CHECKING:
    from int8cal.dataset.samples import Sample
    from int8cal.engine.work import EncodedSample, FailedSample, Work

Stream: TypeAlias = "Callable[[Work, Iterable[Sample], int], Generator[EncodedSample | FailedSample]]"
"""(work, samples, workers) → results in the order of the samples; closing it ends the work."""

ENGINES: dict[str, Stream] = {"native": encoded_in_order}


def engine_named(name: str) -> Stream:
    """The engine of that name; `UsageError` for an unknown one."""
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}", hint=f"Use one of: {', '.join(ENGINES)}, tao.")
    return ENGINES[name]
