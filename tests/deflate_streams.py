"""zlib streams made bit by bit: of the code tables and blocks that only damage or malice makes."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator, Sequence

ROWS = bytes([4, *(0, 1, 2, 3) * 3]) * 3
"""Three rows of four RGB pixels with the Paeth filter; every byte could be a filter type."""

_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_PRECODE = (4,) * 13 + (5,) * 6
"""Lengths of a complete code for the lengths of the other two."""

_LITERALS = (8,) * 255 + (9, 9)
"""A complete literal code without matches."""

_MATCHES = (0,) * 256 + (1, 1)
"""A literal code for the end of the block and matches of three bytes."""

_FIXED = (8,) * 144 + (9,) * 112 + (7,) * 24 + (8,) * 8
_END = 256
_THREE, _FIVE = 257, 259

_Symbol = int | tuple[int, int]
"""Of a code; a pair stands for plain bits (a value, how many)."""

_Bits = Iterable[tuple[int, int]]


def _codes(lengths: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Symbol → its canonical code as plain bits, even when there are too many codes or too few."""
    code, found = 0, {}
    for length in range(1, 16):
        code <<= 1
        for symbol, own in enumerate(lengths):
            if own == length:
                text = f"{code % (1 << length):0{length}b}"
                found[symbol] = int(text[::-1], 2), length
                code += 1
    return found


def _coded(lengths: Sequence[int], symbols: Iterable[_Symbol]) -> _Bits:
    code = _codes(lengths)
    return (symbol if isinstance(symbol, tuple) else code[symbol] for symbol in symbols)


def _dynamic(
    literals: Sequence[int],
    distances: Sequence[int] = (0,),
    symbols: Iterable[_Symbol] = (_END,),
    *,
    precode: Sequence[int] = _PRECODE,
    lengths: Iterable[_Symbol] | None = None,
    counts: tuple[int, int] | None = None,
) -> Iterator[tuple[int, int]]:
    """A last block with code tables of its own.

    Args:
        literals: lengths of the literal code.
        distances: lengths of the distance code.
        symbols: what the block holds, in the literal code.
        precode: lengths of the code for the lengths.
        lengths: the lengths as they are sent; None: one by one.
        counts: how many are said to come.
    """
    yield from ((1, 1), (2, 2))
    of_literals, of_distances = counts or (len(literals), len(distances))
    yield from ((of_literals - 257, 5), (of_distances - 1, 5), (len(_ORDER) - 4, 4))
    yield from ((precode[symbol], 3) for symbol in _ORDER)
    yield from _coded(precode, (*literals, *distances) if lengths is None else lengths)
    yield from _coded(literals, symbols)


def _fixed(*symbols: _Symbol) -> Iterator[tuple[int, int]]:
    yield from ((1, 1), (1, 2))
    yield from _coded(_FIXED, symbols)


def _match(distances: Sequence[int], *distance: tuple[int, int]) -> _Bits:
    """A last block of three bytes from some distance back."""
    return _dynamic(_MATCHES, distances, (_THREE, *distance, _END))


def _packed(bits: _Bits) -> bytes:
    value = place = 0
    for part, count in bits:
        value |= part << place
        place += count
    return value.to_bytes((place + 7) // 8, "little")


def _stored(data: bytes, *, last: bool = False, check: int = 0xFFFF) -> bytes:
    return bytes([last]) + len(data).to_bytes(2, "little") + (len(data) ^ check).to_bytes(2, "little") + data


def _stream(*blocks: bytes, data: bytes = ROWS, header: bytes = b"\x78\x01") -> bytes:
    return header + b"".join(blocks) + zlib.adler32(data).to_bytes(4, "big")


def _behind(bits: _Bits, data: bytes = ROWS) -> bytes:
    """The rows stored, and a last block, which mostly gives nothing."""
    return _stream(_stored(ROWS), _packed(bits), data=data)


def _ending(bits: _Bits) -> bytes:
    """The rows without their last three bytes stored, and a last block that should give these."""
    return _stream(_stored(ROWS[:-3]), _packed(bits))


def header_of(window: int) -> bytes:
    """The two bytes in front of a stream that states a window of 2 ** ``window`` bytes."""
    head = (window - 8) << 12 | 8 << 8
    return (head + -head % 31).to_bytes(2, "big")


def looking_back(window: int, distance: int) -> bytes:
    """A stream that states such a window: some more noise than it holds, then three bytes from a distance back."""
    noise = random.Random(window).randbytes((1 << window) + 5)
    extra = max(0, (distance - 1).bit_length() - 2)
    symbol = 2 * extra + (distance - 1 >> extra)
    match = (int(f"{symbol:05b}"[::-1], 2), 5), (distance - 1 & (1 << extra) - 1, extra)
    data = noise + noise[len(noise) - distance :][:3]
    return _stream(_stored(noise), _packed(_fixed(_THREE, *match, _END)), data=data, header=header_of(window))


_13_BACK = ((0, 1), (0, 2))
"""Symbol 7 of a code in which it is a single zero, and its two extra bits."""

_ONE_OF_ONE_BIT = (0,) * 7 + (1,)

_THIRTY_ONE_MORE = (31, 5)
"""Extra bits of symbol 284, which are one more than its lengths need."""

STREAMS: dict[str, bytes] = {
    "plain": _stream(_packed(_dynamic(_LITERALS, symbols=(*ROWS, _END)))),
    "two final blocks": _stream(_stored(ROWS, last=True), _packed(_fixed(_END))),
    "bytes behind the checksum": _stream(_stored(ROWS, last=True)) + b"junk",
    # Which codes are complete
    "literals: incomplete": _stream(_packed(_dynamic((9,) * 257, symbols=(*ROWS, _END)))),
    "literals: incomplete, 15 bits": _stream(_packed(_dynamic((15,) * 257, symbols=(*ROWS, _END)))),
    "literals: one code short": _stream(_packed(_dynamic((8,) * 255 + (9, 10), symbols=(*ROWS, _END)))),
    "literals: too many": _behind(_dynamic((8,) * 257)),
    "literals: the end alone, of one bit": _behind(_dynamic((0,) * 256 + (1,))),
    "literals: the end alone, of two bits": _behind(_dynamic((0,) * 256 + (2,))),
    "literals: the end alone, and the other bit": _behind(_dynamic((0,) * 256 + (1,), symbols=((1, 1),))),
    "literals: no end": _behind(_dynamic((8,) * 256 + (0,), symbols=())),
    "literals: none": _behind(_dynamic((0,) * 257, symbols=((0, 8),))),
    "literals: of 1 to 15 bits": _behind(_dynamic((0,) * 241 + (*range(1, 16), 15))),
    "literals: of 1 to 3 bits, most of 11": _behind(
        _dynamic((1, 2, 3) + (11,) * 255 + (13,) * 4, (1, 1), symbols=(_FIVE, (1, 1), 1, _END)),
        ROWS + (ROWS[-2:] * 3)[:5] + b"\1",
    ),
    "distances: none, none used": _behind(_dynamic(_LITERALS, (0,) * 30)),
    "distances: none, one used": _ending(_match((0,) * 30, *_13_BACK)),
    "distances: one of one bit": _ending(_match(_ONE_OF_ONE_BIT, *_13_BACK)),
    "distances: one of one bit, and the other bit": _ending(_match(_ONE_OF_ONE_BIT, (1, 1), (0, 2))),
    "distances: one of two bits": _ending(_match((0,) * 7 + (2,), (0, 2), (0, 2))),
    "distances: one of two bits, not used": _behind(_dynamic(_LITERALS, (0,) * 7 + (2,))),
    "distances: two of two bits": _ending(_match((0,) * 6 + (2, 2), (2, 2), (0, 2))),
    "distances: two of one bit": _ending(_match((0,) * 6 + (1, 1), (1, 1), (0, 2))),
    "distances: three of one bit": _ending(_match((0,) * 5 + (1, 1, 1), (1, 1), (0, 2))),
    "distances: of 1 to 15 bits": _ending(_match((*range(7, 0, -1), 8, *range(9, 16), 15), (0x7F, 8), (0, 2))),
    "precode: incomplete": _behind(_dynamic(_LITERALS, precode=(5,) * 19)),
    "precode: too many": _behind(_dynamic(_LITERALS, precode=(4,) * 19)),
    "precode: one of one bit": _behind(_dynamic((1,) * 257, (1,), (), precode=(0, 1, *(0,) * 17))),
    "precode: none": _behind(_dynamic((0,) * 257, lengths=((0, 8),), symbols=(), precode=(0,) * 19)),
    # How many lengths there are
    "286 literals": _behind(_dynamic(_LITERALS + (0,) * 29)),
    "287 literals": _behind(_dynamic(_LITERALS + (0,) * 30)),
    "288 literals": _behind(_dynamic(_LITERALS + (0,) * 31)),
    "30 distances": _behind(_dynamic(_LITERALS, (0,) * 30)),
    "31 distances": _behind(_dynamic(_LITERALS, (0,) * 31)),
    "32 distances": _behind(_dynamic(_LITERALS, (0,) * 32)),
    "a first length repeated": _behind(_dynamic(_LITERALS, lengths=(16, (0, 2), *_LITERALS[3:], 0))),
    "lengths repeated": _behind(_dynamic(_LITERALS, lengths=(8, *(16, (3, 2)) * 42, 8, 8, 9, 9, 0))),
    "zeros into the distances": _behind(
        _dynamic((0,) * 256 + (1,) + (0,) * 20, (0,) * 30, lengths=(18, (127, 7), 18, (107, 7), 1, 18, (39, 7)))
    ),
    "zeros beyond the distances": _behind(
        _dynamic((0,) * 256 + (1,) + (0,) * 20, (0,) * 30, lengths=(18, (127, 7), 18, (107, 7), 1, 18, (40, 7)))
    ),
    "a length beyond the distances": _behind(
        _dynamic((0,) * 255 + (1, 1), (1, 1), lengths=(18, (127, 7), 18, (106, 7), 1, 1, 16, (0, 2)))
    ),
    # Symbols and distances
    "length symbol 286": _behind(_fixed(286, (0, 5), _END)),
    "length symbol 287": _behind(_fixed(287, (0, 5), _END)),
    "distance symbol 30": _ending(_fixed(_THREE, (0b01111, 5), _END)),
    "distance symbol 31": _ending(_fixed(_THREE, (0b11111, 5), _END)),
    "258 bytes as 227 + 31": _behind(_fixed(284, _THIRTY_ONE_MORE, (0, 5), _END), ROWS + ROWS[-1:] * 258),
    "258 bytes": _behind(_fixed(285, (0, 5), _END), ROWS + ROWS[-1:] * 258),
    "the first byte": _ending(_fixed(_THREE, (0b01010, 5), (3, 4), _END)).replace(
        zlib.adler32(ROWS).to_bytes(4, "big"), zlib.adler32(ROWS[:-3] + ROWS[:3]).to_bytes(4, "big")
    ),
    "before the first byte": _ending(_fixed(_THREE, (0b01010, 5), (4, 4), _END)),
    "a distance at the beginning": _stream(_packed(_fixed(_THREE, (0, 5), *ROWS[3:], _END))),
    "without an end": _stream(_packed(_fixed(*ROWS))),
    # Blocks
    "block type 3": _behind(((1, 1), (3, 2))),
    "stored: lengths that differ": _stream(_stored(ROWS, last=True, check=0xFFFE)),
    "stored: beyond the input": b"\x78\x01" + _stored(ROWS, last=True)[:-9],
    "stored: nothing": _stream(_stored(b""), _stored(ROWS), _stored(b"", last=True)),
    "no last block": _stream(_stored(ROWS)),
    "a block behind the last": _stream(_stored(ROWS, last=True), _stored(b"more")),
    # Header and checksum
    "header: check bits": _stream(_stored(ROWS, last=True), header=b"\x78\x02"),
    "header: a dictionary": _stream(_stored(ROWS, last=True), header=b"\x78\x20"),
    "header: another method": _stream(_stored(ROWS, last=True), header=b"\x77\x09"),
    "header: a window of 64 KiB": _stream(_stored(ROWS, last=True), header=b"\x88\x1c"),
    "header: a window of 256 bytes": _stream(_stored(ROWS, last=True), header=b"\x08\x1d"),
    "header: best compression": _stream(_stored(ROWS, last=True), header=b"\x78\xda"),
    "header: one byte": b"\x78",
    "checksum: wrong": _stream(_stored(ROWS, last=True), data=b"x"),
    **{f"checksum: {cut} bytes short": _stream(_stored(ROWS, last=True))[:-cut] for cut in (1, 2, 3, 4)},
    "nothing": b"",
}
"""By what is unusual. zlib takes some of them: they give `ROWS`, perhaps more, but for ``the first byte``."""
