"""Zero bytes as a deflate block that is quick to read.

The lowest byte of half-precision values held in float32 is 0, so that a quarter of what the shuffle filter hands on to
deflate are zeros. A compressor writes them as repetitions of the byte before (distance 1), and an inflater that copies
byte by byte then waits for each byte that it has just written: 3 ms for the 1.5 million zeros of a 960×544 image, a
fifth of all its reading. Here each repetition takes the 258 bytes before it, none of which is still under way.

The block has dynamic Huffman codes (RFC 1951, 3.2.7) for the three symbols that it needs::

    0    repeat 258 bytes; the one distance code follows as 0 and its 7 extra bits
    10   the byte 0
    11   end of the block
"""

from __future__ import annotations

from functools import lru_cache

_LONGEST_MATCH = 258

_CODE_LENGTH_SYMBOLS = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
"""Order in which a block gives the lengths of the codes for code lengths; symbol 15 comes after all that we need."""

_END_OF_BLOCK, _MATCH_258 = 256, 285  # literal/length symbols
_DISTANCE_257_TO_384 = 16  # distance symbol; 7 extra bits
_EMPTY_STORED_BLOCK = b"\0\0\xff\xff"  # its length and the complement; it ends on a byte boundary


@lru_cache(maxsize=8)
def deflated_zeros(count: int) -> bytes:
    """Deflate blocks of ``count`` zero bytes that end on a byte boundary, for more blocks to follow."""
    first = min(count, _LONGEST_MATCH)
    matches, rest = divmod(count - first, _LONGEST_MATCH)
    match = "0" + "0" + _number(_LONGEST_MATCH - 257, 7)
    return _bytes(_HEADER + "10" * first + match * matches + "10" * rest + "11" + "000") + _EMPTY_STORED_BLOCK


def _number(value: int, bits: int) -> str:
    """A number as deflate writes it: lowest bit first."""
    return f"{value:0{bits}b}"[::-1]


def _bytes(bits: str) -> bytes:
    """Bits in the order of the stream; the last byte is filled up with zeros."""
    return int(bits[::-1], 2).to_bytes(-(-len(bits) // 8), "little")


def _unused(symbols: int) -> str:
    """Code lengths of so many symbols in a row (11 to 138) that do not occur."""
    return "0" + _number(symbols - 11, 7)


def _header() -> str:
    """Bits before the data: the kind of the block, and the codes above."""
    # What says the code lengths has a code, too: "0" for a run of unused symbols, "10" for length 1, "11" for length 2.
    bits = {18: 1, 1: 2, 2: 2}
    length_1, length_2 = "10", "11"
    return "".join(
        (
            "0" + _number(2, 2),  # not the last block; dynamic codes
            _number(_MATCH_258 + 1 - 257, 5) + _number(_DISTANCE_257_TO_384, 5),
            _number(len(_CODE_LENGTH_SYMBOLS) - 4, 4),
            *(_number(bits.get(symbol, 0), 3) for symbol in _CODE_LENGTH_SYMBOLS),
            length_2,  # of the byte 0
            _unused(138) + _unused(_END_OF_BLOCK - 1 - 138),
            length_2,  # of the end of the block
            _unused(_MATCH_258 - 1 - _END_OF_BLOCK),
            length_1,  # of the match
            _unused(_DISTANCE_257_TO_384),
            length_1,  # of its distance
        )
    )


_HEADER = _header()
