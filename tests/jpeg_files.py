"""JPEG files of every kind, written from random coefficients: any sampling, sequential or progressive, with restarts.

No encoder at hand makes most of them. What the pixels are is the decoders' matter.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2

_DC_BITS, _AC_BITS = 5, 9
"""Length of every code: each symbol is its own code, so that half of all codes mean nothing."""


@dataclass(frozen=True)
class Kind:
    """What a file is like.

    Attributes:
        sampling: horizontal and vertical factor of each component.
        size: height and width in pixels.
        frame: marker of the frame header.
        restart: MCUs between restart markers; 0 for none.
        adobe: the transform that an Adobe segment tells; None for no such segment, then a JFIF one is written.
        separate: each component in a scan of its own.
    """

    sampling: tuple[tuple[int, int], ...]
    size: tuple[int, int] = (37, 53)
    frame: int = BASELINE
    restart: int = 0
    adobe: int | None = None
    separate: bool = False
    seed: int = 0


@dataclass
class _Bits:
    text: list[str] = field(default_factory=list)

    def put(self, value: int, length: int) -> None:
        if length:
            self.text.append(f"{value:0{length}b}")

    def number(self, value: int) -> None:
        """Bits of a coefficient, as many as its size; negative ones as complement."""
        size = abs(value).bit_length()
        self.put(value if value > 0 else value + (1 << size) - 1, size)

    def padded(self) -> bytes:
        bits = "".join(self.text)
        bits += "1" * (-len(bits) % 8)
        return int(bits or "0", 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


def write_jpeg(kind: Kind) -> bytes:
    """The file."""
    return _Writer(kind).file()


def segment(marker: int, body: bytes) -> bytes:
    """A marker with its length and body."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


class _Writer:
    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        height, width = kind.size
        self.most = tuple(max(factors[axis] for factors in kind.sampling) for axis in (0, 1))
        self.mcus = math.ceil(height / (8 * self.most[1])), math.ceil(width / (8 * self.most[0]))
        random = np.random.default_rng(kind.seed)
        self.blocks = []
        for h, v in kind.sampling:
            shape = self.mcus[0] * v, self.mcus[1] * h, 64
            coefficients = random.integers(-30, 31, shape)
            coefficients[random.random(shape) < 0.9] = 0
            coefficients[:, :, 0] = random.integers(-60, 61, shape[:2])
            self.blocks.append(coefficients)

    def file(self) -> bytes:
        kind = self.kind
        parts = [b"\xff\xd8"]
        if kind.adobe is None:
            parts.append(segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"))
        else:
            parts.append(segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, kind.adobe)))
        parts.append(segment(0xDB, b"\0" + bytes([2] * 10 + [5] * 54)))
        components = b"".join(bytes([1 + i, h << 4 | v, 0]) for i, (h, v) in enumerate(kind.sampling))
        header = struct.pack(">BHHB", 8, *kind.size, len(kind.sampling))
        parts.append(segment(kind.frame, header + components))
        parts.append(segment(0xC4, b"\0" + _counts(_DC_BITS, 16) + bytes(range(16))))
        parts.append(segment(0xC4, b"\x10" + _counts(_AC_BITS, 256) + bytes(range(256))))
        if kind.restart:
            parts.append(segment(0xDD, struct.pack(">H", kind.restart)))
        parts.extend(self.scans())
        return b"".join((*parts, b"\xff\xd9"))

    def scans(self) -> Iterator[bytes]:
        every = range(len(self.kind.sampling))
        together = [[number] for number in every] if self.kind.separate else [list(every)]
        if self.kind.frame != PROGRESSIVE:
            for numbers in together:
                yield self.scan(numbers, 0, 63, 0, 0)
            return
        for numbers in together:
            yield self.scan(numbers, 0, 0, 0, 1)
        for number in every:
            yield self.scan([number], 1, 5, 0, 0)
            yield self.scan([number], 6, 63, 0, 1)
        for numbers in together:
            yield self.scan(numbers, 0, 0, 1, 0)
        for number in every:
            yield self.scan([number], 6, 63, 1, 0)

    def scan(self, numbers: list[int], first: int, last: int, high: int, low: int) -> bytes:
        selectors = b"".join(bytes([1 + number, 0]) for number in numbers)
        head = segment(0xDA, bytes([len(numbers)]) + selectors + bytes([first, last, high << 4 | low]))
        groups = list(self.groups(numbers))
        every = self.kind.restart or len(groups)
        pieces = []
        for begin in range(0, len(groups), every):
            bits = _Bits()
            before = [0] * len(self.kind.sampling)
            for group in groups[begin : begin + every]:
                for number, row, column in group:
                    block = self.blocks[number][row, column]
                    if first == 0 and high:
                        bits.put(int(block[0]) >> low & 1, 1)
                    elif first == 0:
                        level = int(block[0]) >> low
                        difference = level - before[number]
                        before[number] = level
                        bits.put(abs(difference).bit_length(), _DC_BITS)
                        bits.number(difference)
                    if last:
                        write = _refine if high else _write_ac
                        write(bits, [int(value) for value in block[max(1, first) : last + 1]], low)
            pieces.append(bits.padded())
        out = head
        for index, piece in enumerate(pieces):
            out += piece + (bytes([0xFF, 0xD0 + index % 8]) if index + 1 < len(pieces) else b"")
        return out

    def groups(self, numbers: list[int]) -> Iterator[list[tuple[int, int, int]]]:
        """MCUs: component, row and column of each of their blocks."""
        if len(numbers) > 1:
            for top in range(self.mcus[0]):
                for left in range(self.mcus[1]):
                    yield [
                        (number, top * v + y, left * h + x)
                        for number in numbers
                        for h, v in [self.kind.sampling[number]]
                        for y in range(v)
                        for x in range(h)
                    ]
            return
        (number,) = numbers
        h, v = self.kind.sampling[number]
        height, width = self.kind.size
        for row in range(math.ceil(math.ceil(height * v / self.most[1]) / 8)):
            for column in range(math.ceil(math.ceil(width * h / self.most[0]) / 8)):
                yield [(number, row, column)]


def _counts(length: int, symbols: int) -> bytes:
    """How many codes there are of each length, 256 of one length in two bytes' worth."""
    counts = bytearray(16)
    if symbols < 256:
        counts[length - 1] = symbols
    else:  # a count is one byte: half of the symbols are one bit longer
        counts[length - 1], counts[length] = 128, 128
    return bytes(counts)


def _put_symbol(bits: _Bits, symbol: int) -> None:
    if symbol < 128:
        bits.put(symbol, _AC_BITS)
    else:
        bits.put(256 + symbol - 128, _AC_BITS + 1)


def _shifted(value: int, low: int) -> int:
    return (abs(value) >> low) * (1 if value > 0 else -1)


def _write_ac(bits: _Bits, values: list[int], low: int) -> None:
    run = 0
    levels = [_shifted(value, low) for value in values]
    last = max((place for place, level in enumerate(levels) if level), default=-1)
    for level in levels[: last + 1]:
        if not level:
            run += 1
            continue
        while run > 15:
            _put_symbol(bits, 0xF0)
            run -= 16
        _put_symbol(bits, run << 4 | abs(level).bit_length())
        bits.number(level)
        run = 0
    if last + 1 < len(levels):
        _put_symbol(bits, 0)


def _refine(bits: _Bits, values: list[int], low: int) -> None:
    """One more bit of each coefficient that is known, and those that become 1 now."""
    levels = [abs(value) >> low for value in values]
    last = max((place for place, level in enumerate(levels) if level == 1), default=-1)
    run, corrections = 0, []
    for place, level in enumerate(levels):
        if place > last:
            if level > 1:
                corrections.append(level & 1)
            continue
        if level > 1:
            corrections.append(level & 1)
        elif not level:
            run += 1
            if run > 15 and any(levels[place + 1 : last + 1]) and _zero_run_ends(levels, place, last):
                _put_symbol(bits, 0xF0)
                for bit in corrections:
                    bits.put(bit, 1)
                run, corrections = 0, []
        else:
            _put_symbol(bits, run << 4 | 1)
            bits.put(int(values[place] > 0), 1)
            for bit in corrections:
                bits.put(bit, 1)
            run, corrections = 0, []
    if last + 1 < len(levels):
        _put_symbol(bits, 0)
    for bit in corrections:
        bits.put(bit, 1)


def _zero_run_ends(levels: list[int], place: int, last: int) -> bool:
    return place < last
