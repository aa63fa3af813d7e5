"""Kinds of files, and how to tell that a file is of one: what an output may replace, and what was given by mistake."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD_BYTES = 256

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class FileKind(NamedTuple):
    """A kind of files.

    Attributes:
        name: what one is called, as in "is no NAME".
        recognises: whether the file of a path, a regular one, is of this kind; raises OSError when it cannot be read.
    """

    name: str
    recognises: Callable[[str], bool]


def beginning_with(pattern: bytes) -> Callable[[str], bool]:
    """Tell files by their first bytes.

    Args:
        pattern: a regular expression for them; 256 bytes are looked at.
    """
    expression = re.compile(pattern, re.DOTALL)

    def recognises(path: str) -> bool:
        with open(path, "rb") as file:
            return expression.match(file.read(_HEAD_BYTES)) is not None

    return recognises


ONNX_MODEL = FileKind("ONNX model", beginning_with(rb"\x08[\x01-\x7f][\x12\x1a\x22\x28\x32\x3a\x42\x72](?!\0{5})"))
"""A message whose field 1 is a small number, the version of its form, followed by another field that models have at the
top. A TFRecord may begin so too, for it begins with its length, but that has 8 bytes."""

HTML_PAGE = FileKind("HTML page", beginning_with(rb"<!doctype html>"))
