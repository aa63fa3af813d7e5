"""What a child does: one input after the other, each written down before the reader sees it."""

from __future__ import annotations

import mmap
import os
import resource
import struct
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from tests.fuzz.driver import Driver, Reference

SLOW_SECONDS = 5.0
"""CPU time after which an input counts as a hang."""

_HEAD = struct.Struct("<QQ")  # inputs done, length of the current one
_LONGEST = 1 << 24


class Current:
    """The input that is being read, in memory that outlives the child."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _HEAD.size + _LONGEST)

    def put(self, number: int, data: bytes) -> None:
        """Note an input before it is read."""
        self._memory[_HEAD.size : _HEAD.size + len(data)] = data
        self._memory[: _HEAD.size] = _HEAD.pack(number, len(data))

    def get(self) -> tuple[int, bytes]:
        """Number and bytes of the last input."""
        number, length = _HEAD.unpack(self._memory[: _HEAD.size])
        return number, self._memory[_HEAD.size : _HEAD.size + length]


@dataclass
class Figures:
    """What a driver's inputs came to."""

    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)

    def add(self, other: Mapping[str, object]) -> None:
        """Add what another child counted."""
        self.inputs += other["inputs"]
        self.accepted += other["accepted"]
        self.seconds += other["seconds"]
        self.slowest = max(self.slowest, other["slowest"])
        for fault, count in other["faults"].items():
            self.faults[fault] = self.faults.get(fault, 0) + count


def peak_mib() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(
    driver: Driver,
    seed: int,
    first: int,
    until: float,
    current: Current,
    found: Path,
    references: Mapping[str, Reference],
) -> dict[str, object]:
    """Feed inputs until a time; those on which something is wrong are written to a folder.

    Args:
        driver: the reader.
        seed: of the run; with the number of an input it decides the input.
        first: number of the first input.
        until: time of `time.monotonic`.
        current: where each input is noted.
        found: the folder.
        references: what accepted inputs are told to.
    """
    figures = Figures()
    seeds = [*driver.corpus().values(), *driver.kept().values()]
    for data in seeds:  # what is imported late, and tables that are made once, are not input's memory
        _outcome(driver, data, {})
    number = first
    begin = time.monotonic()
    while time.monotonic() < until:
        random = Random(f"{seed} {driver.name} {number}")
        data = driver.mutated(seeds, random)[:_LONGEST]
        current.put(number, data)
        memory, cpu = peak_mib(), time.process_time()
        accepted, problem = _outcome(driver, data, references)
        cpu = time.process_time() - cpu
        if not problem and cpu > SLOW_SECONDS:
            problem = f"slow\n{cpu:.1f} s of CPU"
        if not problem and peak_mib() - memory > driver.memory_mib:
            problem = f"memory\n{peak_mib() - memory:.0f} MiB more"
        if problem:
            keep(found, driver.name, number, data, problem)
            kind = problem.partition("\n")[0]
            figures.faults[kind] = figures.faults.get(kind, 0) + 1
        figures.inputs += 1
        figures.accepted += accepted
        figures.slowest = max(figures.slowest, cpu)
        number += 1
    figures.seconds = time.monotonic() - begin
    return asdict(figures)


def keep(found: Path, driver: str, number: int, data: bytes, problem: str) -> None:
    """Write an input down, with what is wrong about it."""
    kind = "".join(letter if letter.isalnum() else "-" for letter in problem.partition("\n")[0])[:60]
    folder = found / driver / kind
    folder.mkdir(parents=True, exist_ok=True)
    if len(os.listdir(folder)) < 100:
        (folder / f"{number}.bin").write_bytes(data)
        (folder / f"{number}.txt").write_text(problem + "\n")


def _outcome(driver: Driver, data: bytes, references: Mapping[str, Reference]) -> tuple[bool, str]:
    """Whether the reader took an input, and what is wrong about that; the first line names the kind of fault."""
    try:
        result = driver.read(data)
    except driver.refusals:
        return False, ""
    except MemoryError as error:
        return False, f"MemoryError\n{error}"
    except Exception as error:  # noqa: BLE001 - what escapes a reader is what is looked for
        return False, f"{type(error).__name__}\n{''.join(traceback.format_exception(error))}"
    for name, reference in references.items():
        try:
            said = reference(data, result)
        except Exception as error:  # noqa: BLE001 - a library that raises anything has refused the input
            said = "".join(traceback.format_exception(error))
        if said:
            return True, f"{name} differs\n{said}"
    return True, ""
