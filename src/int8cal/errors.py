"""Every error that int8cal raises on purpose, each with the exit code of the command line.

    Int8calError
    ├── UsageError             2   wrong command line or argument
    ├── SpecError              3   experiment spec: syntax, unknown field, value
    ├── DataError              4   images, TFRecords, folders
    │   ├── MissingDataError       a file or folder is not there      (FileNotFoundError)
    │   ├── RecordError            a TFRecord is damaged              (ValueError)
    │   └── ImageError             an image cannot be used            (ValueError)
    ├── OutputError            5   writing the result
    │   └── OutputExistsError      the final name is taken            (FileExistsError)
    ├── TensorFileError        6   a tensorfile is unsound            (ValueError)
    ├── UseError               7   quantise, compare, export, caches  (ValueError)
    │   └── ImageShapeError        a model takes images of another shape
    ├── UnavailableError       8   an extra, engine, command or library is absent
    ├── EngineFailedError      9   NVIDIA's own command failed
    └── ResourceError          10  the system gives no more open files
        └── OutOfMemoryError       or has too little memory         (MemoryError)

    70 is a bug in int8cal (any other exception), 130 an interrupt, 143 a termination.

A message says *what* is wrong; ``where`` names the place (``spec.txt:12:5``, ``file.tfrecord:+10432``, an image path);
``hint`` says what to do. Errors are raised where they are found and turned into text by the command line alone.
"""

from __future__ import annotations

from typing import ClassVar

from int8cal.io.safe_text import shortened

EXIT_BUG = 70
EXIT_HUNG_UP = 129
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class Int8calError(Exception):
    """Base of all errors of int8cal.

    Args:
        message: what is wrong, one sentence, without the place. Data in it may be of any length: all three texts are
            shortened where no message can be so long.
        where: the place: ``path:line:column``, ``path:+offset``, or a path.
        hint: what the user can do about it, one sentence.
    """

    exit_code: ClassVar[int] = EXIT_BUG

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.message = shortened(message)
        super().__init__(self.message)
        self.where = shortened(where) if where else where
        self.hint = shortened(hint) if hint else hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n{self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[object, ...]:
        """Keep ``where`` and ``hint`` when an error crosses a process border."""
        return (_rebuild, (type(self), self.message, self.where, self.hint))


def _rebuild(cls: type[Int8calError], message: str, where: str | None, hint: str | None) -> Int8calError:
    return cls(message, where=where, hint=hint)


class UsageError(Int8calError):
    """The command line or an argument of the Python API is wrong."""

    exit_code = 2


class SpecError(Int8calError):
    """The experiment spec cannot be read, or asks for something impossible."""

    exit_code = 3


class DataError(Int8calError):
    """The data set that the spec names cannot be used as asked.

    Attributes:
        bad_images: how many images a run would have to leave out to get past this error; 0: that does not help.
    """

    exit_code = 4
    bad_images = 0


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder of the data set is not there.

    Args:
        message, where, hint: as for `Int8calError`.
        filename: the path that is not there, or the pattern that no path matches; the attribute of every `OSError`.
    """

    def __init__(
        self, message: str, *, where: str | None = None, hint: str | None = None, filename: str | None = None
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.filename = filename

    def __reduce__(self) -> tuple[object, ...]:
        """As that of `Int8calError`, with the path."""
        return (*super().__reduce__(), {"filename": self.filename})


class RecordError(DataError, ValueError):
    """A TFRecord file is damaged, or a record lacks a feature."""


class ImageError(DataError, ValueError):
    """An image cannot be decoded, or not to the shape that is needed."""

    bad_images = 1


REPAIR_IMAGE = "Repair or replace the image, or take it out of the data."
"""What to do about an image that cannot be used. Commands that can leave images out add how."""


class OutputError(Int8calError):
    """The result cannot be written."""

    exit_code = 5


class OutputExistsError(OutputError, FileExistsError):
    """A file already has the final name."""


class TensorFileError(Int8calError, ValueError):
    """A tensorfile is damaged, incomplete or not a tensorfile."""

    exit_code = 6


class UseError(Int8calError, ValueError):
    """A model, cache or export cannot be made from the tensorfile."""

    exit_code = 7


class ImageShapeError(UseError):
    """A model takes images of another height, width or number of channels than the tensorfile has."""


class UnavailableError(Int8calError):
    """An optional dependency, engine or command is not installed, or a library cannot be loaded."""

    exit_code = 8


class EngineFailedError(Int8calError):
    """NVIDIA's own command was run and failed."""

    exit_code = 9


class ResourceError(Int8calError):
    """The system gives too little for what was asked, such as open files; no file is to blame, and none is skipped."""

    exit_code = 10


class OutOfMemoryError(ResourceError, MemoryError):
    """There is not enough memory for what was asked; no file is to blame, and none is skipped for it."""

    @classmethod
    def of(cls, error: MemoryError, what: str, *, where: str | None = None) -> OutOfMemoryError:
        """What to tell of a `MemoryError` that came up while ``what`` was done."""
        told = f": {error}" if str(error) else ""
        return cls(
            f"there is not enough memory {what}{told}",
            where=where,
            hint="Use fewer --workers, or let the run have more memory (ulimit -v, the container's limit).",
        )
