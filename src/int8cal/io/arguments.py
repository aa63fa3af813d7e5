"""Arguments of public functions, held to what the signature says of them.

A type checker refuses ``exclude="head/*"`` and ``layout="NCHW"``; a notebook has none. Without this, a misspelt choice
is taken for the default, a text for a list of letters, and ``"no"`` for yes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from numbers import Integral, Real
from typing import Any, NamedTuple, ParamSpec, TypeVar

from int8cal.errors import UsageError
from int8cal.io.safe_text import short_repr
from int8cal.types import COMPRESSIONS, FORMATS, LAYOUTS, METHODS, ON_BAD_IMAGE, PRECISIONS, TARGETS

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class _Kind(NamedTuple):
    """What an argument can be.

    Attributes:
        words: what to give, for the hint.
        fits: whether a value is such.
        plain: the value as the work takes it: JSON does not know the numbers of NumPy.
    """

    words: str
    fits: Callable[[Any], bool]
    plain: Callable[[Any], Any] = lambda value: value


def _is_number(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind) and not isinstance(value, bool)


def _has(*methods: str) -> Callable[[Any], bool]:
    """Whether a value is an object (no class) with these methods."""
    return lambda value: not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in methods)


def _is_collection(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping)) and all(map(fits, value))
    )


def _is_path(value: object) -> bool:
    return isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)


def _choice(choices: Collection[str]) -> _Kind:
    return _Kind(f"one of: {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices)


_TEXT = _Kind("a str", lambda value: isinstance(value, str))
_MAPPING = _Kind("a mapping of names to values", lambda value: isinstance(value, Mapping))
_KINDS: Mapping[str, _Kind] = {
    "None": _Kind("", lambda value: value is None),
    "bool": _Kind("True or False", lambda value: isinstance(value, bool)),
    "int": _Kind("a whole number", _is_number(Integral), int),
    "float": _Kind("a number", _is_number(Real), float),
    "str": _TEXT,
    "SplitName": _TEXT,
    "os.PathLike[str]": _Kind("a pathlib.Path", _is_path),
    "Sequence[str]": _Kind("a list of str", _is_collection(_TEXT.fits), tuple),
    "Sequence[Watcher]": _Kind("a list of objects with the method add(first, batch)", _is_collection(_has("add"))),
    "Mapping[str, Any]": _MAPPING,
    "Mapping[str, str]": _MAPPING,
    "Constants": _MAPPING,
    "Callable[[Any], float]": _Kind("a function of one argument that returns a number", callable),
    "Callable[[str], None]": _Kind("a function of one argument", callable),
    "Progress": _Kind(
        "an object with the methods start(total_images), advance(images) and finish()",
        _has("start", "advance", "finish"),
    ),
    "CompressionName": _choice(COMPRESSIONS),
    "Format": _choice(FORMATS),
    "Layout": _choice(LAYOUTS),
    "MethodChoice": _choice(["auto", *METHODS]),
    "OnBadImage": _choice(ON_BAD_IMAGE),
    "Precision": _choice(PRECISIONS),
    "Target": _choice(TARGETS),
}
"""Annotation as it is written → what it stands for. What is not listed is checked by the function itself."""


def checked_arguments(**least: int) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Decorates a public function: its arguments are checked before it begins.

    Args:
        least: argument → the smallest number that it can be.

    Raises:
        UsageError: of the function that is decorated: an argument is not what its annotation says.
    """

    def decorate(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        annotations, code = function.__annotations__, function.__code__
        names = code.co_varnames[: code.co_argcount]

        @wraps(function)
        def with_checked(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
            given = {**dict(zip(names, args, strict=False)), **options}
            plain = checked_values(given, annotations, least)
            rest = args[len(names) :]  # too many, of which the function itself will tell
            by_place = [plain[name] for name in names[: len(args)]]
            return function(*by_place, *rest, **{name: plain[name] for name in options})  # type: ignore[arg-type]

        return with_checked

    return decorate


def checked_values(
    given: Mapping[str, Any], annotations: Mapping[str, str], least: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Values by name, as the work takes them.

    Args:
        given: argument → value.
        annotations: argument → what it can be, as it is written in the source.
        least: argument → the smallest number that it can be.

    Raises:
        UsageError: a value is something else.
    """
    plain = dict(given)
    for name, value in given.items():
        parts = annotations.get(name, "").split(" | ")
        if not all(part in _KINDS for part in parts):
            continue
        kinds = [_KINDS[part] for part in parts]
        kind = next((kind for kind in kinds if kind.fits(value)), None)
        words = " or ".join(kind.words for kind in kinds if kind.words)
        smallest = (least or {}).get(name)
        is_small = kind is not None and value is not None and smallest is not None and value < smallest
        if kind is None or is_small:
            more = "" if smallest is None else f", {smallest} or more"
            raise UsageError(f"{name} cannot be {short_repr(value)}", hint=f"Give {words}{more}.")
        plain[name] = kind.plain(value)
    return plain
