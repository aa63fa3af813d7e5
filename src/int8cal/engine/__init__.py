"""How batches get made: on threads here, on a Ray cluster, or by NVIDIA's own command."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from int8cal.engine.native import map_on_threads
from int8cal.errors import UsageError

if TYPE_CHECKING:
    from int8cal.plans import Plan

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Stream(Protocol):
    """What an engine is to the pipeline."""

    def __call__(
        self, work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None
    ) -> Generator[_Result]:
        """Do ``work`` on every item and yield the results in the order of the items; closing it ends the work.

        Args:
            work: a function free of state.
            items: taken as they are needed.
            workers: how many are worked on at the same time; None: as many as there are processors.
        """


ENGINES = ("native", "ray")


def engine_named(name: str, plan: Plan, *, ray_address: str | None = None) -> Stream:
    """The engine of that name.

    Args:
        name: one of `ENGINES`.
        plan: what it will work for.
        ray_address: of the cluster; see `int8cal.engine.ray`.

    Raises:
        UsageError: the engine is unknown, or is given an address that it has no use for.
    """
    if name == "ray":
        from int8cal.engine.ray import map_on_ray  # needed by few

        return partial(map_on_ray, address=ray_address, places=plan.places())
    if ray_address is not None:
        raise UsageError(f"an address is for --engine ray, not for {name}", hint="Add --engine ray.")
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}", hint=f"Use one of: {', '.join(ENGINES)}, tao.")
    return map_on_threads
