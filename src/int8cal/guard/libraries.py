"""Whatever a library raises for the bytes of an input is that input's error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from int8cal.errors import Int8calError
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.safe_text import first_line


@contextmanager
def library_errors(
    kind: type[Int8calError], message: str, *, where: str | None = None, hint: str | None = None
) -> Iterator[None]:
    """Turn every exception of a library into an error about its input.

    Errors of int8cal pass as they are; what the system lacks (`int8cal.io.lacks`) says nothing of the input.

    Args:
        kind: the error to raise instead.
        message: what it says; the class and the first line of the library's own follow in brackets.
        where: the place.
        hint: what the user can do.
    """
    try:
        yield
    except Int8calError:
        raise
    except Exception as error:
        raise_if_lacking(error, where)
        raise kind(f"{message} ({told(error)})", where=where, hint=hint) from error


def told(error: BaseException) -> str:
    """The class of a library's error and the first words of what it says, without its advice to programmers."""
    name, line = type(error).__name__, first_line(error).partition("; ")[0]
    return name if line == name else f"{name}: {line}"
