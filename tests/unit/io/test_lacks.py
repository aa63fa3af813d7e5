"""What is taken for a lack of memory or of open files, and what is not."""

from __future__ import annotations

import errno

import pytest

from int8cal.errors import OutOfMemoryError, ResourceError, UnavailableError
from int8cal.io.lacks import lack_of, raise_if_lacking
from int8cal.models.extras import LibraryError, fault_of


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


FILES = OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FILES, ResourceError),
        (OSError(errno.ENFILE, "Too many open files in system"), ResourceError),
        (OSError("unable to open file (errno = 24, error message = 'Too many open files')"), ResourceError),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), ResourceError),
        (caused(ValueError("no such codec"), caused(ImportError("x"), FILES)), ResourceError),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError),
        (ImportError("libx.so: failed to map segment from shared object"), MemoryError),
        (RuntimeError("Out of memory"), MemoryError),
        (MemoryError("244 MiB"), MemoryError),
        (OutOfMemoryError("there is not enough memory"), OutOfMemoryError),
        (OSError(errno.EIO, "Input/output error"), None),
        (OSError("image file is truncated"), None),
        (ValueError("too many files"), None),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/out of memory/too many open files"), None),
        (ImportError("No module named 'x'"), UnavailableError),
        (RuntimeError("std::bad_alloc"), MemoryError),
        (caused(ValueError("an optional module is not there"), ImportError("No module named 'x'")), None),
    ],
)
def test_what_is_lacking(error: Exception, kind: type[Exception] | None) -> None:
    lack = lack_of(error, "a/file")
    assert type(lack) is (kind if kind is not UnavailableError and kind else type(None))
    if isinstance(lack, ResourceError) and lack is not error:
        assert lack.where == "a/file"
    if kind is None:
        raise_if_lacking(error)
    else:
        with pytest.raises(kind):
            raise_if_lacking(error)


def test_causes_in_a_circle_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert lack_of(one) is None


def test_what_was_handled_before_says_nothing() -> None:
    def fall_back() -> None:
        try:
            raise FILES
        except OSError:
            raise ValueError("the image is damaged") from None

    with pytest.raises(ValueError, match="damaged") as caught:
        fall_back()
    assert lack_of(caught.value) is None


def test_no_model_is_to_blame_for_what_the_system_lacks() -> None:
    for error, kind in (
        (FILES, ResourceError),
        (RuntimeError("Failed to allocate memory for requested buffer"), MemoryError),
    ):
        with pytest.raises(kind), fault_of("onnx.load fails on the model", "Export it again."):
            raise error
    with (
        pytest.raises(LibraryError, match=r"onnx\.load fails on the model: ValueError: torn"),
        fault_of("onnx.load fails on the model", "Export it again."),
    ):
        raise ValueError("torn")
