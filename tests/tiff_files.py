"""TIFF files put together tag by tag."""

from __future__ import annotations

import struct

SHORT, LONG, BYTES = 3, 4, 1
WHITE_IS_HIGH = 1
RAW = 1


def tiff(
    body: bytes, size: tuple[int, int], *more: tuple[int, int, list[int]], photometric: int = WHITE_IS_HIGH,
    bits: tuple[int, ...] = (8,), compression: int = RAW, order: str = "<", without: tuple[int, ...] = (),
) -> bytes:  # fmt: skip
    """A TIFF file of one strip.

    Args:
        body: the strip.
        size: height and width.
        more: further tags, or others in place of those that are written anyway: number, type, values.
        photometric: what the numbers mean.
        bits: of each channel.
        compression: of the strip.
        order: of the bytes, as in `struct`.
        without: tags that are left out.
    """
    body += b"\0" * (len(body) % 2)
    given = {entry[0] for entry in more} | set(without)
    tags = sorted([*more, *(tag for tag in [
        (256, SHORT, [size[1]]), (257, SHORT, [size[0]]), (258, SHORT, list(bits)), (259, SHORT, [compression]),
        (262, SHORT, [photometric]), (273, LONG, [8]), (277, SHORT, [len(bits)]), (278, SHORT, [size[0]]),
        (279, LONG, [len(body)]),
    ] if tag[0] not in given)])  # fmt: skip
    values_at = 8 + len(body) + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, kind, numbers in tags:
        packed = struct.pack(f"{order}{len(numbers)}{'?BBHI'[kind]}", *numbers)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(f"{order}I", values_at + len(values))
        values += b"" if len(packed) <= 4 else packed + b"\0" * (len(packed) % 2)
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + place
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8 + len(body))
    return start + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + values
