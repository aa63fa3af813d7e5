"""The native encoder once more, in plain Python: slow, and in the order of RFC 1951 rather than of speed.

It says what the bytes are: `encoded` gives the deflate blocks of the four planes. Only where a chunk is left to another
compressor (``is_for_others`` in the C) is not here: whoever compares asks for the chunk in any case.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby

END, FIRST_LENGTH, LONGEST = 256, 257, 258
BLOCK, WHOLE, SHORT_RUN = 65280, 8192, 6
RUN_DISTANCE, LONG_REST = 64, 128
REPEATED, REPEATED_APART = -1, -2  # in place of a value: a match of distance 1, or of distance RUN_DISTANCE


class Bits:
    """Bits in the order of the stream."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def number(self, value: int, bits: int) -> None:
        """Lowest bit first."""
        if bits:
            self.parts.append(f"{value:0{bits}b}"[::-1])

    def to_bytes(self) -> bytes:
        bits = "".join(self.parts)
        return int(bits[::-1] or "0", 2).to_bytes(-(-len(bits) // 8), "little")


def length_symbol(length: int) -> tuple[int, int, int]:
    """Number after 257, extra bits and how many: RFC 1951, 3.2.5."""
    if length == LONGEST:
        return 28, 0, 0
    base, symbol = 3, 0
    while True:
        extra = max(0, symbol // 4 - 1)
        if length < base + (1 << extra):
            return symbol, length - base, extra
        base, symbol = base + (1 << extra), symbol + 1


def code_lengths(frequency: dict[int, int], limit: int) -> dict[int, int]:
    """Huffman code lengths; ordered by frequency, then symbol; leaves first among equals; cut to the limit."""
    symbols = sorted((min(times, 65535), symbol) for symbol, times in frequency.items() if times)
    if len(symbols) < 2:
        return {symbol: 1 for _, symbol in symbols}
    leaves, nodes = [(weight, [i]) for i, (weight, _) in enumerate(symbols)], []
    depth = [0] * len(symbols)
    while len(leaves) + len(nodes) > 1:
        pair = []
        for _ in range(2):
            queue = leaves if leaves and (not nodes or leaves[0][0] <= nodes[0][0]) else nodes
            pair.append(queue.pop(0))
        members = pair[0][1] + pair[1][1]
        for i in members:
            depth[i] += 1
        nodes.append((pair[0][0] + pair[1][0], members))
    of_length = Counter(min(one, limit) for one in depth)
    while sum(times << (limit - bits) for bits, times in of_length.items()) > 1 << limit:
        bits = max(bits for bits in range(1, limit) if of_length[bits])
        of_length[bits] -= 1
        of_length[bits + 1] += 2
        of_length[limit] -= 1
    in_order = [bits for bits in range(limit, 0, -1) for _ in range(of_length[bits])]
    return {symbol: bits for (_, symbol), bits in zip(symbols, in_order, strict=True)}


def codes(lengths: dict[int, int]) -> dict[int, str]:
    """Canonical codes: RFC 1951, 3.2.2."""
    found, code, last = {}, 0, 0
    for bits, symbol in sorted((bits, symbol) for symbol, bits in lengths.items()):
        code <<= bits - last
        found[symbol], last = f"{code:0{bits}b}", bits
        code += 1
    return found


def header(out: Bits, lengths: dict[int, int], distances: list[int]) -> None:
    """Begin of a block with dynamic codes, those of distances as they are given."""
    count = max(lengths) + 1
    listed = [lengths.get(symbol, 0) for symbol in range(max(count, FIRST_LENGTH))] + distances
    tokens: list[tuple[int, int, int]] = []  # symbol, extra, bits
    at = 0
    while at < len(listed):
        run = next((i for i, one in enumerate(listed[at:]) if one != listed[at]), len(listed) - at)
        if not listed[at] and run >= 3:
            run = min(run, 138)
            tokens.append((17, run - 3, 3) if run < 11 else (18, run - 11, 7))
        elif at and listed[at] == listed[at - 1] and run >= 3:
            run = min(run, 6)
            tokens.append((16, run - 3, 2))
        else:
            run = 1
            tokens.append((listed[at], 0, 0))
        at += run
    inner = code_lengths(Counter(symbol for symbol, _, _ in tokens), 7)
    order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
    given = max(4, *(order.index(symbol) + 1 for symbol in inner))
    for value, bits in (
        (0, 1),
        (2, 2),
        (len(listed) - len(distances) - 257, 5),
        (len(distances) - 1, 5),
        (given - 4, 4),
    ):
        out.number(value, bits)
    for symbol in order[:given]:
        out.number(inner.get(symbol, 0), 3)
    inner_codes = codes(inner)
    for symbol, extra, bits in tokens:
        out.parts.append(inner_codes[symbol])
        out.number(extra, bits)


def rest(value: int, count: int) -> list[tuple[int, int]]:
    """What follows a byte that is repeated so many times more: (value, 1) a literal, (REPEATED…, n) a match."""
    if count >= LONG_REST:
        return [(REPEATED, RUN_DISTANCE - 1), *matches(REPEATED_APART, value, count - RUN_DISTANCE + 1)]
    return matches(REPEATED, value, count)


def matches(kind: int, value: int, count: int) -> list[tuple[int, int]]:
    """As many bytes by matches of one distance, and literals for what is too short for one."""
    tokens = [(kind, LONGEST)] * (count // LONGEST)
    left = count % LONGEST
    return tokens + ([(kind, left)] if left >= 3 else [(value, 1)] * left)


def coded(out: Bits, tokens: list[tuple[int, int]], *, choose: bool = False) -> None:
    """A block. With ``choose``, runs are literals where that takes no more."""
    frequency = Counter(value if value >= 0 else FIRST_LENGTH + length_symbol(n)[0] for value, n in tokens)
    frequency[END] = 1
    lengths = code_lengths(frequency, 12)
    header(out, lengths, [1, *[0] * 10, 1] if any(kind == REPEATED_APART for kind, _ in tokens) else [1])
    code = codes(lengths)
    for i, (value, n) in enumerate(tokens):
        if value >= 0:
            out.parts.append(code[value])
            continue
        symbol, extra, bits = length_symbol(n)
        before = tokens[i - 1][0]
        match = lengths[FIRST_LENGTH + symbol] + bits + 1
        literals = lengths[before] * (n + 1) if before >= 0 else 99
        if choose and literals <= min(56, (literals // (n + 1)) + match):
            out.parts.append(code[before] * n)
            continue
        out.parts.append(code[FIRST_LENGTH + symbol])
        out.number(extra, bits)
        out.parts.append("0" if value == REPEATED else "1" + "1111")  # the last of the distances 49 to 64
    out.parts.append(code[END])


def sparse(block: bytes) -> list[tuple[int, int]]:
    """Short runs as literals, every other one as a literal and what follows."""
    tokens = []
    for value, run in ((value, len(list(same))) for value, same in groupby(block)):
        tokens += [(value, 1), *(rest(value, run - 1) if run > SHORT_RUN else [(value, 1)] * (run - 1))]
    return tokens


def dense(block: bytes) -> list[tuple[int, int]]:
    """Literals; where, within 64 bytes, the first six in a row equal the one before them, a run."""
    tokens, at = [(block[0], 1)], 1
    while at < len(block):
        begins = (
            i
            for i in range(at, at + 64 - SHORT_RUN + 1)
            if block[i : i + SHORT_RUN] == block[i - 1 : i] * SHORT_RUN and at + 64 <= len(block)
        )
        run = next(begins, None)
        end = min(at + 64, len(block)) if run is None else run
        tokens += [(value, 1) for value in block[at:end]]
        at = end
        if run is not None:
            while end < len(block) and block[end] == block[at]:
                end += 1
            tokens += rest(block[at], end - at)
            at = end
    return tokens


def is_dense(block: bytes) -> bool:
    """By the changes in 64 of every 512 bytes, and the number of values."""
    parts = [range(at, at + 64) for at in range(0, len(block) - 63, 512)]
    changed = sum(block[i] != block[max(i - 1, 0)] for part in parts for i in part)
    return 2 * changed > 64 * len(parts) or len(set(block)) > 64


def plane(content: bytes, channels: int, *, last: bool) -> bytes:
    """Deflate blocks of a plane; nothing for zeros, unless it is the last plane."""
    if not any(content) and not last:
        return b""
    out = Bits()
    size = len(content) // channels
    unit = len(content) if size < WHOLE else size
    step = -(-unit // -(-unit // BLOCK))
    blocks = [
        content[begin + at : begin + min(at + step, unit)]
        for begin in range(0, len(content), unit)
        for at in range(0, unit, step)
    ]
    for constant, group in groupby(blocks, key=lambda block: block[0] if len(set(block)) == 1 else None):
        if constant is not None:
            length = sum(len(block) for block in group)
            coded(out, [(constant, 1), *rest(constant, length - 1)])
            continue
        for block in group:
            if is_dense(block):
                coded(out, dense(block))
            else:
                coded(out, sparse(block), choose=True)
    if last:
        out.number(1 | 1 << 1, 10)
        return out.to_bytes()
    out.number(0, 3)
    return out.to_bytes() + b"\0\0\xff\xff"


def encoded(planes: list[bytes], channels: int) -> list[bytes]:
    """Deflate blocks of the four planes of an image, the lowest byte's first."""
    return [plane(content, channels, last=k == 3) for k, content in enumerate(planes)]
