"""The entropy-coded data of a JPEG walked bit by bit, for files whose decoder does not say what it finds wrong in them.

libjpeg only warns of damaged data, and goes on with pixels that it made up. TurboJPEG passes the warnings on, but does
not read every sampling; the decoder that reads the others keeps them to itself. Here a scan must hold the codes of its
blocks and nothing else: the rules are those of libjpeg's `jdhuff.c`, `jdphuff.c` and `jdmarker.c`, and problems are
told in its words. No coefficient is computed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from int8cal.images.jpeg import Component

PATIENCE, PATIENCE_PER_PIXEL = 1_700_000_000, 24
"""Nanoseconds that walking a file may take: the bound of the threat-model page, as far as the walk may use it up."""

_PER_BYTE, _PER_INTERVAL, _PER_BLOCK, _PER_BLOCK_OF_BAND = 800, 70_000, 600, 1300
"""The most nanoseconds that a walk takes for each."""

TOO_LONG = "checking its scans would take too long"

CUT_OFF = "Corrupt JPEG data: premature end of data segment"
BAD_CODE = "Corrupt JPEG data: bad Huffman code"
EXTRANEOUS = "Corrupt JPEG data: extraneous bytes before marker"
BAD_RESTART = "Corrupt JPEG data: a restart marker is missing or out of order"
BAD_PROGRESSION = "Inconsistent progression sequence"
BAD_HEADER = "Bogus scan header"

_RESTART = re.compile(rb"\xff+([\xd0-\xd7])")
_CHUNK, _MARGIN = 1 << 15, 1 << 13
"""Bytes that are looked up at a time, and how many more than that; an MCU has less than the margin."""

_END_OF_BLOCK = 64
"""Coefficients that a code skips when it ends the block."""

_LAST = 63
"""What libjpeg takes coefficients for that a code puts behind it."""

_NOTHING = 16
"""Bits to be told of a coefficient of which none was: more than there can be."""

_SMOOTHED = 10
"""Coefficients that libjpeg-turbo looks at before it smooths the borders of blocks (older versions look at six)."""

_Lookup: TypeAlias = npt.NDArray[np.uint8]
_Walk: TypeAlias = "Callable[[_Bits, range], int]"
"""Walks the MCUs of a range, of which the bits begin with the first, and returns how many bits they took."""


@dataclass(frozen=True, eq=False)
class _Table:
    """What begins with each 16 bits: the length of the code (0 for none) and its symbol."""

    length: _Lookup
    symbol: _Lookup

    @functools.cached_property
    def dc_steps(self) -> _Lookup:
        """Bits of a code and of the number behind it; 0 where no code begins."""
        if self.symbol.max() > 15:
            raise ValueError("Bogus Huffman table definition")
        return np.where(self.length, self.length + self.symbol, 0).astype(np.uint8)

    @functools.cached_property
    def ac_steps(self) -> tuple[_Lookup, _Lookup]:
        """Bits of an AC code and of the number behind it, and how many coefficients the code goes on."""
        run, size = self.symbol >> 4, self.symbol & 15
        skipped = np.where(size, run + 1, np.where(run == 15, 16, _END_OF_BLOCK))
        return np.where(self.length, self.length + size, 0).astype(np.uint8), skipped.astype(np.uint8)


class ScanHeader(NamedTuple):
    """What a scan tells.

    Attributes:
        numbers: of its components, in the frame.
        tables: what selects the DC and AC tables of each.
        first, last: coefficients of the band.
        high, low: bits of them that are known before and after.
    """

    numbers: tuple[int, ...]
    tables: tuple[int, ...]
    first: int
    last: int
    high: int
    low: int


def read_scan_header(body: bytes, components: tuple[Component, ...]) -> ScanHeader:
    """Read the body of a SOS segment.

    Raises:
        ValueError: it is impossible.
    """
    count = body[0] if body else 0
    if len(body) != 4 + 2 * count or not count:
        raise ValueError(BAD_HEADER)
    by_identifier = {component.identifier: number for number, component in enumerate(components)}
    try:
        numbers = tuple(by_identifier[body[1 + 2 * place]] for place in range(count))
    except KeyError:
        raise ValueError(BAD_HEADER) from None
    if len(set(numbers)) != count:
        raise ValueError(BAD_HEADER)
    tables = tuple(body[2 + 2 * place] for place in range(count))
    return ScanHeader(numbers, tables, body[-3], body[-2], body[-1] >> 4, body[-1] & 15)


@functools.lru_cache(maxsize=64)
def progression_problem(components: tuple[Component, ...], scans: tuple[bytes, ...]) -> str | None:
    """What is wrong with the order of a progressive file's scans; most files of an encoder have the same.

    Args:
        components: of the frame.
        scans: bodies of the scan headers.
    """
    missing = [[_NOTHING] * 64 for _ in components]  # bits of each coefficient that are still to be told
    for body in scans:
        try:
            scan = read_scan_header(body, components)
        except ValueError as error:
            return str(error)
        length = scan.last + 1 - scan.first
        possible = scan.last == 0 if scan.first == 0 else length > 0 and scan.last < 64 and len(scan.numbers) == 1
        if not possible or scan.low > 13 or (scan.high and scan.high != scan.low + 1):
            return BAD_PROGRESSION
        for number in scan.numbers:
            band = missing[number][scan.first : scan.last + 1]
            if band != [scan.high or _NOTHING] * length or (scan.first and missing[number][0] == _NOTHING):
                return BAD_PROGRESSION
            missing[number][scan.first : scan.last + 1] = [scan.low] * length
    if any(any(each[:_SMOOTHED]) for each in missing):  # libjpeg makes it up, each version in its own way
        return "its scans do not tell all of its coefficients"
    return None


@dataclass
class Scans:
    """The state of a file between its scans: tables, restart interval, and which coefficients are not zero.

    Attributes:
        height, width: of the image in pixels.
        components: of the frame.
        progressive: whether the frame is.
        patience: nanoseconds that the walks may take, by how much there is to walk.
    """

    height: int
    width: int
    components: tuple[Component, ...]
    progressive: bool
    patience: int
    _tables: dict[int, _Table] = field(default_factory=dict)
    _restart_interval: int = 0
    _nonzero: dict[int, list[int]] = field(default_factory=dict)

    def define_tables(self, body: bytes) -> None:
        """Take the Huffman tables of a DHT segment."""
        offset = 0
        while offset + 17 <= len(body):
            counts = body[offset + 1 : offset + 17]
            symbols = body[offset + 17 : offset + 17 + sum(counts)]
            if len(symbols) < sum(counts):
                raise ValueError("Bogus Huffman table definition")
            self._tables[body[offset]] = _table(counts, symbols)
            offset += 17 + len(symbols)

    def define_restarts(self, body: bytes) -> None:
        """Take the restart interval of a DRI segment."""
        self._restart_interval = int.from_bytes(body[:2], "big")

    def check(self, header: bytes, data: bytes) -> None:
        """Walk a scan.

        Args:
            header: body of its SOS segment.
            data: all that follows up to the next marker that is not a restart.

        Raises:
            ValueError: libjpeg would warn of the scan, or refuse it.
        """
        scan = read_scan_header(header, self.components)
        if not self.progressive and (scan.first, scan.last, header[-1]) != (0, 63, 0):
            raise ValueError("Invalid SOS parameters for sequential JPEG")
        mcus = self._mcus(scan.numbers)
        walk = self._walker(scan)
        pieces = _RESTART.split(data)
        intervals, restarts = pieces[::2], pieces[1::2]
        every = self._restart_interval or mcus
        if len(intervals) != -(-mcus // every) or any(
            marker[0] != 0xD0 + number % 8 for number, marker in enumerate(restarts)
        ):
            raise ValueError(BAD_RESTART)
        self._wait(scan, mcus, len(data), len(intervals))
        for number, piece in enumerate(intervals):
            bits = _Bits(piece.rstrip(b"\xff").replace(b"\xff\0", b"\xff"))
            try:
                end = walk(bits, range(number * every, min(mcus, (number + 1) * every)))
            except IndexError:
                raise ValueError(CUT_OFF) from None
            if end > bits.length:
                raise ValueError(CUT_OFF)
            if bits.length - end >= 8:
                raise ValueError(EXTRANEOUS)

    def _wait(self, scan: ScanHeader, mcus: int, size: int, intervals: int) -> None:
        blocks = (
            mcus
            if len(scan.numbers) == 1
            else mcus
            * sum(self.components[number].horizontal * self.components[number].vertical for number in scan.numbers)
        )
        walked = blocks if scan.high else min(blocks, 8 * size)  # a code is one bit at least, and may end many blocks
        self.patience -= size * _PER_BYTE + intervals * _PER_INTERVAL
        self.patience -= walked * (_PER_BLOCK_OF_BAND if scan.first else _PER_BLOCK)
        if self.patience < 0:
            raise ValueError(TOO_LONG)

    def _size_in_blocks(self, number: int) -> tuple[int, int]:
        """Rows and columns of the blocks of a component that hold pixels."""
        _, horizontal, vertical = self.components[number]
        tall = max(component.vertical for component in self.components)
        wide = max(component.horizontal for component in self.components)
        return -(-self.height * vertical // (8 * tall)), -(-self.width * horizontal // (8 * wide))

    def _mcus(self, numbers: tuple[int, ...]) -> int:
        """MCUs of a scan: single blocks when it has one component."""
        rows, columns = self._size_in_blocks(numbers[0])
        if len(numbers) == 1:
            return rows * columns
        _, horizontal, vertical = self.components[numbers[0]]
        return -(-rows // vertical) * -(-columns // horizontal)

    def _walker(self, scan: ScanHeader) -> _Walk:
        numbers, tables, first, last, high, _ = scan

        def found(number: int) -> _Table:
            if number not in self._tables:
                raise ValueError(f"Huffman table 0x{number:02x} was not defined")
            return self._tables[number]

        pattern = [
            place
            for place, number in enumerate(numbers)
            for _ in range(self.components[number].horizontal * self.components[number].vertical)
        ]
        if len(numbers) == 1:
            pattern = [0]
        if last == 0 and high:
            return lambda _, mcus: len(pattern) * len(mcus)
        dc = [found(selector >> 4).dc_steps for selector in tables] if first == 0 else []
        ac = [found(0x10 | selector & 15) for selector in tables] if last else []
        if first == 0:
            return _sequential(pattern, dc, [table.ac_steps for table in ac])
        nonzero = self._nonzero.setdefault(numbers[0], [0] * self._mcus(numbers[:1]))
        return (_refined if high else _first_of)(ac[0], first, last, nonzero)


class _Bits:
    """Bytes of a scan without their escapes, of which a chunk at a time is looked up in tables at every bit."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = 8 * len(data)

    def windows(self, begin: int) -> npt.NDArray[np.intp]:
        """The 16 bits that begin at each bit from a byte on; zeros follow the end, as in libjpeg."""
        part = self._data[begin : begin + _CHUNK + _MARGIN]
        octets = np.frombuffer(part + b"\0\0\0", np.uint8).astype(np.uint32)
        words = octets[:-2] << 16 | octets[1:-1] << 8 | octets[2:]
        return (words[:, np.newaxis] >> np.arange(8, 0, -1, dtype=np.uint32) & 0xFFFF).astype(np.intp).reshape(-1)

    def number(self, position: int, length: int) -> int:
        """The number that some bits are."""
        begin = position >> 3
        word = int.from_bytes(self._data[begin : begin + 4].ljust(4, b"\0"), "big")
        return word >> 32 - (position & 7) - length & (1 << length) - 1


@functools.lru_cache(maxsize=16)
def _table(counts: bytes, symbols: bytes) -> _Table:
    length, symbol = np.zeros(1 << 16, np.uint8), np.zeros(1 << 16, np.uint8)
    begin = number = 0
    for bits, count in enumerate(counts, 1):
        for _ in range(count):
            end = begin + (1 << 16 - bits)
            if end > 1 << 16:
                raise ValueError("Bogus Huffman table definition")
            length[begin:end], symbol[begin:end] = bits, symbols[number]
            begin, number = end, number + 1
    return _Table(length, symbol)


@dataclass
class _Cursor:
    """How far a walk has come: the next MCU, and the bit where it begins, counted from that of the chunk."""

    next: int
    position: int = 0
    base: int = 0


def _chunks(bits: _Bits, cursor: _Cursor, stop: int, lookups: list[_Lookup]) -> Iterator[list[bytes]]:
    """What is found at each bit of a chunk, chunk after chunk, until the last MCU was walked."""
    while cursor.next < stop:
        begin = cursor.base + cursor.position >> 3
        cursor.position += cursor.base - 8 * begin
        cursor.base = 8 * begin
        windows = bits.windows(begin)
        found = {
            id(lookup): lookup.take(windows, mode="clip").tobytes() for lookup in lookups
        }  # components share tables
        yield [found[id(lookup)] for lookup in lookups]


def _sequential(pattern: list[int], dc: list[_Lookup], ac: list[tuple[_Lookup, _Lookup]]) -> _Walk:
    """MCUs of a sequential scan, or (without AC tables) of the first DC scan of a progressive file.

    Args:
        pattern: component of each block of an MCU.
        dc: steps of the DC codes of each component.
        ac: steps of the AC codes of each component.
    """
    count = len(dc)
    lookups = [*dc, *(steps for steps, _ in ac), *(skipped for _, skipped in ac)]

    def walk(bits: _Bits, mcus: range) -> int:
        cursor = _Cursor(mcus.start)
        for found in _chunks(bits, cursor, mcus.stop, lookups):
            position = cursor.position
            for mcu in range(cursor.next, mcus.stop):
                if position >= 8 * _CHUNK:
                    break
                for place in pattern:
                    step = found[place][position]
                    if not step:
                        raise ValueError(_no_code(bits, cursor.base + position))
                    position += step
                    if not ac:
                        continue
                    steps, skipped = found[count + place], found[2 * count + place]
                    coefficient = 1
                    while coefficient < 64:
                        step = steps[position]
                        if not step:
                            raise ValueError(_no_code(bits, cursor.base + position))
                        coefficient += skipped[position]
                        position += step
                cursor.next = mcu + 1
            cursor.position = position
        return cursor.base + cursor.position

    return walk


def _first_of(table: _Table, first: int, last: int, nonzero: list[int]) -> _Walk:
    """Blocks of the first scan of a band; which coefficients are not zero is kept for the scans that refine them."""

    def walk(bits: _Bits, mcus: range) -> int:
        cursor = _Cursor(mcus.start)
        for lengths, symbols in _chunks(bits, cursor, mcus.stop, [table.length, table.symbol]):
            position, block = cursor.position, cursor.next
            while block < mcus.stop and position < 8 * _CHUNK:
                coefficient, known = first, 0
                blocks = 1
                while coefficient <= last:
                    length, symbol = lengths[position], symbols[position]
                    if not length:
                        raise ValueError(_no_code(bits, cursor.base + position))
                    position += length
                    run, size = symbol >> 4, symbol & 15
                    if not size and run < 15:
                        blocks = (1 << run) + bits.number(cursor.base + position, run)
                        position += run
                        break
                    coefficient += run
                    known |= bool(size) << min(coefficient, _LAST)
                    coefficient += 1
                    position += size
                nonzero[block] |= known
                block += blocks
            cursor.position, cursor.next = position, block
        return cursor.base + cursor.position

    return walk


def _refined(table: _Table, first: int, last: int, nonzero: list[int]) -> _Walk:
    """Blocks of a scan that adds a bit to the coefficients of a band."""
    band = (1 << last + 1) - (1 << first)

    def walk(bits: _Bits, mcus: range) -> int:
        cursor = _Cursor(mcus.start)
        ended = 0  # blocks whose new coefficients are all told
        for lengths, symbols in _chunks(bits, cursor, mcus.stop, [table.length, table.symbol]):
            position = cursor.position
            for block in range(cursor.next, mcus.stop):
                if position >= 8 * _CHUNK:
                    break
                coefficient, known = first, nonzero[block]
                while coefficient <= last and not ended:
                    length, symbol = lengths[position], symbols[position]
                    if not length:
                        raise ValueError(_no_code(bits, cursor.base + position))
                    position += length
                    run, size = symbol >> 4, symbol & 15
                    if size > 1:
                        raise ValueError(BAD_CODE)
                    if not size and run < 15:
                        ended = (1 << run) + bits.number(cursor.base + position, run)
                        position += run
                        break
                    position += size
                    while coefficient <= last:
                        if known >> coefficient & 1:
                            position += 1
                        elif run:
                            run -= 1
                        else:
                            break
                        coefficient += 1
                    nonzero[block] |= size << min(coefficient, _LAST)
                    coefficient += 1
                if ended:
                    ended -= 1
                    position += (known & band & -(1 << coefficient)).bit_count()
                cursor.next = block + 1
            cursor.position = position
        return cursor.base + cursor.position

    return walk


def _no_code(bits: _Bits, position: int) -> str:
    """What libjpeg says where no code begins: that of zeros behind the end is not the file's fault."""
    return CUT_OFF if position + 16 > bits.length else BAD_CODE
