"""What a driver is, and damage that suits any format."""

from __future__ import annotations

import importlib
import pkgutil
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from int8cal.errors import Int8calError

KEPT = Path(__file__).parent / "kept"

Mutator = Callable[[bytes, Random], bytes]
Reference = Callable[[bytes, Any], "str | None"]


@dataclass(frozen=True)
class Driver:
    """One reader, and what it is fed with.

    Attributes:
        name: of the reader.
        corpus: sound inputs by name, made on the spot; a few dozen small ones of as many kinds as there are.
        read: feed the reader with an input; returns what it made of it. The current folder is the child's own.
        mutators: damage that suits the format; damage that suits any comes on top.
        own_damage: how much of it is the former: more for formats that few flipped bytes survive.
        refusals: errors that the reader may raise; everything else that it raises is a fault.
        memory_mib: how much the peak memory of the process may grow by one input.
        share: of the time, beside the others: more for what is slow.
        references: independent readers by name, for the differential mode. Each is made once in a process (from the
            argument of ``--reference NAME=ARGUMENT``), and then told every input that was accepted, with what was made
            of it; it says what it finds different, or None.
    """

    name: str
    corpus: Callable[[], Mapping[str, bytes]]
    read: Callable[[bytes], object]
    mutators: tuple[Mutator, ...] = ()
    own_damage: float = 0.6
    refusals: tuple[type[BaseException], ...] = (Int8calError,)
    memory_mib: int = 64
    share: float = 1.0
    references: Mapping[str, Callable[[str], Reference]] | None = None

    def kept(self) -> dict[str, bytes]:
        """Inputs on which it once failed."""
        folder = KEPT / self.name
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.is_dir() else {}

    def mutated(self, seeds: list[bytes], random: Random) -> bytes:
        """A seed with some damage."""
        data = random.choice(seeds)
        own = list(self.mutators)
        for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
            mutate = random.choice(own) if own and random.random() < self.own_damage else random.choice(MUTATORS)
            if mutate is None:
                data = splice(data, random.choice(seeds), random)
                continue
            with suppress(Exception):  # what is damaged too much to be taken apart stays as it is
                data = mutate(data, random)
        return data


def drivers() -> dict[str, Driver]:
    """All drivers by name."""
    from tests.fuzz import drivers as package

    found = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    made = [driver for module in found for driver in getattr(module, "DRIVERS", ())]
    return {driver.name: driver for driver in sorted(made, key=lambda driver: driver.name)}


def flip_bits(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8)) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def set_bytes(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4)) if changed else 0):
        changed[random.randrange(len(changed))] = random.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, random.randrange(256)))
    return bytes(changed)


def set_number(data: bytes, random: Random) -> bytes:
    """A whole number that is at a border, somewhere."""
    kind = random.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(kind)
    if len(data) < size:
        return data
    bits = 8 * size
    value = random.choice(
        (0, 1, (1 << bits) - 1, 1 << bits - 1, (1 << bits - 1) - 1, 1 << random.randrange(bits), len(data))
    )
    at = random.randrange(len(data) - size + 1)
    return data[:at] + struct.pack(kind, value & (1 << bits) - 1) + data[at + size :]


def cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _span(data: bytes, random: Random) -> tuple[int, int]:
    begin = random.randrange(len(data) + 1)
    return begin, min(len(data), begin + random.choice((1, 2, 4, 16, 64, 1024)))


def delete(data: bytes, random: Random) -> bytes:
    begin, end = _span(data, random)
    return data[:begin] + data[end:]


def repeat(data: bytes, random: Random) -> bytes:
    begin, end = _span(data, random)
    return data[:end] + data[begin:end] * random.choice((1, 1, 2, 20)) + data[end:]


def move(data: bytes, random: Random) -> bytes:
    begin, end = _span(data, random)
    rest = data[:begin] + data[end:]
    at = random.randrange(len(rest) + 1)
    return rest[:at] + data[begin:end] + rest[at:]


def insert(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    extra = random.choice((bytes(random.choice((1, 4, 100))), b"\xff" * 3, random.randbytes(random.choice((1, 3, 40)))))
    return data[:at] + extra + data[at:]


def splice(data: bytes, other: bytes, random: Random) -> bytes:
    """The beginning of one input and the end of another."""
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


MUTATORS: tuple[Mutator | None, ...] = (
    flip_bits, flip_bits, set_bytes, set_bytes, set_number, cut, delete, repeat, move, insert, None,
)  # fmt: skip
"""Damage for any format; None stands for `splice`."""
