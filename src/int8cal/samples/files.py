"""Opening the files of a data set, whatever lies behind their names."""

from __future__ import annotations

from typing import BinaryIO

from int8cal.errors import DataError, MissingDataError
from int8cal.io.paths import NotRegularError, open_regular
from int8cal.samples.paths import path_text


def open_data_file(path: str, what: str, error: type[DataError], *, hint: str, buffering: int = -1) -> BinaryIO:
    """Open a regular file for reading; a pipe or device behind the name is never waited for.

    Args:
        path: the file.
        what: what it should be, for messages: ``TFRecord file``.
        error: class of the error when it cannot be opened.
        hint: what to do when it cannot be opened.
        buffering: as for `open`.

    Raises:
        MissingDataError: there is no such file.
        DataError: of the class given: it is no regular file, or cannot be opened.
    """
    where = path_text(path)
    try:
        return open_regular(path, buffering=buffering)
    except FileNotFoundError as missing:
        raise MissingDataError(
            f"No such file or directory: the {what} is missing.", where=where, hint=hint, filename=path
        ) from missing
    except NotRegularError:
        raise error(f"Not a regular file, so no {what}.", where=where, hint=hint) from None
    except OSError as problem:
        raise error(f"The {what} cannot be opened: {problem.strerror}.", where=where, hint=hint) from problem
    except ValueError as problem:
        raise error(f"The {what} cannot be opened: {problem}.", where=where, hint=hint) from problem
