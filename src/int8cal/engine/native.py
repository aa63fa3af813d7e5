"""The engine of one machine: the threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, TypeVar

from int8cal.engine.job import ChunkEngine
from int8cal.io.threads import map_on_threads

if TYPE_CHECKING:
    from int8cal.plans import Plan

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class NativeEngine(ChunkEngine):
    """Threads of this process."""

    name = "native"

    def stream(
        self, plan: Plan, work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None
    ) -> Generator[_Result]:
        """See `map_on_threads`."""
        return map_on_threads(work, items, workers, caller_works=True)
