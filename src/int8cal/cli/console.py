"""Everything that is printed goes through here: results to stdout, all else to stderr, nothing raw from data."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

import click

from int8cal.errors import EXIT_BUG, OutputError, UsageError
from int8cal.io.safe_text import printable, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from int8cal.errors import Int8calError

JSON_SCHEMA = 1
_LOOKED_AT = 4096
"""Bytes of a file in which a 0 tells that it is no text."""


def print_json(result: dict[str, Any]) -> None:
    """The one JSON object of a command called with ``--json``; NaN and infinity, which JSON lacks, are null."""
    click.echo(json.dumps(_as_json({"schema": JSON_SCHEMA, **result}), ensure_ascii=True, allow_nan=False, indent=1))


def _as_json(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value


def print_lines(lines: Iterable[str]) -> None:
    """Result for people, on stdout; control characters from data are shown, not sent."""
    for line in lines:
        click.echo(printable(line))


def print_table(rows: Iterable[tuple[str, object]]) -> None:
    """Name–value rows, aligned."""
    listed = [(printable(name), str(value)) for name, value in rows]
    width = max((len(name) for name, _ in listed), default=0)
    print_lines(f"{name:<{width}}  {value}" for name, value in listed)


def note(text: str) -> None:
    """One line on stderr, short enough to read."""
    start, colon, rest = text.partition(": ")
    warns = colon and start == "warning"
    click.echo(
        f"int8cal: {_coloured(start, 'yellow')}: {_line(rest)}" if warns else f"int8cal: {_line(text)}", err=True
    )


def print_two_lines(message: str, hint: str | None) -> None:
    """An error: what and where on the first line, what to do on the second."""
    click.echo(f"int8cal: {_coloured('error', 'red')}: {_line(message)}", err=True)
    if hint:
        click.echo(f"  {_line(hint)}", err=True)


def on_terminal() -> bool:
    """Whether a person reads what goes to stderr."""
    return sys.stderr.isatty()


def _coloured(word: str, colour: str) -> str:
    """A word in a colour, where stderr is a terminal and the user has nothing against it (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not on_terminal():
        return word
    return click.style(word, fg=colour, bold=True)


def print_error(error: Int8calError, *, as_json: bool) -> None:
    """A user's error: two lines, or with ``--json`` one object on stdout."""
    if as_json:
        facts = {
            "type": next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "int8cal.errors"),
            "message": error.message,
            "where": error.where,
            "hint": error.hint,
            "exit_code": error.exit_code,
        }
        print_json({"error": facts})
    else:
        print_two_lines(f"{error.where}: {error.message}" if error.where else error.message, error.hint)


def print_bug(error: BaseException, *, as_json: bool) -> None:
    """An error that should not be: the traceback, and what a bug report needs."""
    from int8cal.cli.doctor import facts

    if as_json:
        said = {"type": "Bug", "message": f"{type(error).__name__}: {error}", "where": None, "hint": None}
        print_json({"error": {**said, "exit_code": EXIT_BUG}})
    for line in "".join(traceback.format_exception(error)).splitlines():
        click.echo(printable(shortened(line)), err=True)
    note("this is a bug in int8cal; please report it with the lines above and these facts:")
    for name, value in facts().items():
        click.echo(f"  {name}: {printable(str(value))}", err=True)


def _line(text: str) -> str:
    """Any text as one line that a terminal can take and a person can read."""
    return printable(" ".join(shortened(text).splitlines()))


def configure_logging(*, verbose: bool = False, log_file: str | None = None) -> None:
    """Log int8cal's messages to stderr (warnings; all with ``verbose``) and, appended, to ``log_file``.

    Raises:
        OutputError: the log file cannot be opened.
        UsageError: it is something else.
    """
    logger = logging.getLogger("int8cal")
    logger.setLevel(logging.DEBUG)
    for earlier in [one for one in logger.handlers if isinstance(one.formatter, _AsNote)]:
        logger.removeHandler(earlier)  # of a command that ran in this process before, whose stream may be closed
    stream = logging.StreamHandler(sys.stderr)
    stream.setLevel(logging.DEBUG if verbose else logging.WARNING)
    stream.setFormatter(_AsNote())
    stream.addFilter(lambda record: not hasattr(record, _ON_SCREEN))
    logger.addHandler(stream)
    if log_file is not None:
        file = _opened_log(log_file)
        file.setLevel(logging.DEBUG if verbose else logging.INFO)
        file.setFormatter(_Printable("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(file)


def _opened_log(path: str) -> logging.Handler:
    from int8cal.io.paths import kind_of_file, refuse_address

    hint = "Give --log_file the name of a file, in a folder that can be written to."
    refuse_address(path)
    _refuse_input(path)
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        if kind_of_file(path, follow_links=True) == "a named pipe" and not os.path.realpath(path).startswith("/proc/"):
            raise OutputError("the log file is a named pipe", where=path, hint=hint)  # opening it may never end
        return _LogFile(path, mode="a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OutputError(f"cannot open the log file: {error.strerror}", where=path, hint=hint) from error


def _refuse_input(path: str) -> None:
    """Refuse to append to what the command works with, or to what is no text.

    Raises:
        UsageError: it is such a file.
    """
    from int8cal.io.paths import absolute

    hint = "Choose another name for the log."
    context = click.get_current_context(silent=True)
    used = [value for name, value in (context.params if context else {}).items() if name != "log_file"]
    texts = [value for value in used if isinstance(value, str)]
    if os.path.realpath(path) in map(os.path.realpath, [*texts, *(f"{text}.json" for text in texts)]):  # of a record
        raise UsageError("the command reads or writes this file itself", where=absolute(path), hint=hint)
    if os.path.isfile(path):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if b"\0" in file.read(_LOOKED_AT):
                raise UsageError("is no text, and logs are appended to it", where=absolute(path), hint=hint)


class _LogFile(logging.FileHandler):
    """A log file that, when it cannot be written any more, is given up with one warning."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        logging.getLogger("int8cal").removeHandler(self)
        with contextlib.suppress(OSError):
            self.close()
        note(f"warning: {self.baseFilename}: the log file cannot be written any more: {error.strerror}")


_ON_SCREEN = "int8cal_on_screen"


def to_log_file(text: str) -> None:
    """A line for the log file alone, which was already printed."""
    logging.getLogger("int8cal").info("%s", text, extra={_ON_SCREEN: True})


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(shortened(super().format(record)))


class _AsNote(_Printable):
    """What is logged reads as what `note` prints: ``int8cal: warning: …``."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return f"int8cal: {level}{record.getMessage()}"
