"""A node of a spec → a value of the type that the schema declares, by the rules of OmegaConf's typed nodes.

A text is taken for a number or for true and false where one is wanted, a number for a text; 1.0 is not a whole number,
and true is not a number. Null is allowed where the type says so. A list where single values are declared is let pass,
as there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from int8cal.errors import SpecError
from int8cal.io.safe_text import short_repr
from int8cal.spec.yaml.interpolation import InterpolationError, Path, Resolver, is_interpolated, path_text
from int8cal.spec.yaml.text import ListNode, MappingNode, Scalar


@dataclass(frozen=True)
class Typing:
    """Converts the nodes of one spec.

    Attributes:
        where: node, path → position for messages.
        resolver: of its interpolations; None: these are left as they are.
    """

    where: Callable[[Any, Path], str]
    resolver: Resolver | None

    def converted(self, node: Any, type_: str, path: Path) -> Any:
        """The value of a node.

        Args:
            node: of the spec, or a value that an interpolation gave.
            type_: of the schema, such as ``[int]?``.
            path: where it stands.

        Raises:
            SpecError: it has no such value.
        """
        value = node.value if isinstance(node, Scalar) else node
        if is_interpolated(value):
            if self.resolver is None:
                return value
            try:
                value = self.resolver.resolve(str(value), path)
            except InterpolationError as error:
                raise SpecError(str(error), where=self.where(node, path), hint=error.hint) from None
            value = value.value if isinstance(value, Scalar) else value
        base = type_.removesuffix("?")
        if value is None:
            if base != type_ or base == "any":
                return None
            raise self._misfit(node, path, f"null is not allowed, {_kind(base)} is")
        if base.startswith("["):
            return self._list(value, node, base[1:-1], path)
        if base.startswith("{"):
            return self._mapping(value, node, base[1:-1], path)
        if base == "any":
            return self._anything(value, path)
        if _is_container(value):
            raise self._misfit(node, path, f"a {_shape(value)} stands where {_kind(base)} is needed")
        try:
            return _CONVERTERS[base](value)
        except ValueError:
            raise self._misfit(node, path, f"{short_repr(value)} is not {_kind(base)}") from None

    def _list(self, value: Any, node: Any, element: str, path: Path) -> list[Any]:
        items = value.items if isinstance(value, ListNode) else value
        if not isinstance(items, tuple | list):
            raise self._misfit(node, path, f"a {_shape(value)} stands where a list is needed", _as_list(value))
        if element == "{str}":
            return [self._texts(item, (*path, index)) for index, item in enumerate(items)]
        return [
            self.converted(item, "any" if _is_container(item) else element, (*path, index))
            for index, item in enumerate(items)
        ]

    def _texts(self, item: Any, path: Path) -> dict[Any, str]:
        """A mapping of texts in a list, whose values OmegaConf does not convert."""
        mapping: dict[Any, str] = self.converted(item, "{any}", path)
        if not isinstance(mapping, dict):
            return mapping  # a reference that is not resolved here
        for key, value in mapping.items():
            if isinstance(value, str):
                continue
            if value is None or _is_container(value):
                what = "null" if value is None else f"a {_shape(value)}"
                raise self._misfit(item, (*path, key), f"{what} stands where text is needed", "Give one text.")
            raise self._misfit(item, (*path, key), f"{short_repr(value)} is not text", "Put it in quotes.")
        return mapping

    def _mapping(self, value: Any, node: Any, element: str, path: Path) -> dict[Any, Any]:
        pairs: list[tuple[Any, Any]]
        if isinstance(value, MappingNode):
            pairs = [(one.key, one.value) for one in value.entries]
        elif isinstance(value, dict):
            pairs = list(value.items())
        else:
            hint = "Take away the [ ], or the -: it is one mapping." if _shape(value) == "list" else None
            raise self._misfit(node, path, f"a {_shape(value)} stands where a mapping is needed", hint)
        return {key: self.converted(one, "any" if _is_container(one) else element, (*path, key)) for key, one in pairs}

    def _anything(self, value: Any, path: Path) -> Any:
        if isinstance(value, MappingNode | dict):
            return self._mapping(value, value, "any", path)
        if isinstance(value, ListNode | list):
            return self._list(value, value, "any", path)
        return value

    def _misfit(self, node: Any, path: Path, message: str, hint: str | None = None) -> SpecError:
        return SpecError(f"{path_text(path)}: {message}", where=self.where(node, path), hint=hint)


def _is_container(value: Any) -> bool:
    return isinstance(value, MappingNode | ListNode | list | dict)


def _shape(value: Any) -> str:
    if isinstance(value, MappingNode | dict):
        return "mapping"
    return "list" if isinstance(value, ListNode | list) else "single value"


def _as_list(value: Any) -> str:
    return "Write a dash before its first key: - key: value." if _shape(value) == "mapping" else "Put it in [ ]."


def _kind(base: str) -> str:
    if base.startswith("["):
        return "a list"
    if base.startswith("{"):
        return "a mapping"
    return {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}[base]


def _to_int(value: Any) -> int:
    if type(value) not in (int, str):
        raise ValueError
    return int(value)


def _to_float(value: Any) -> float:
    if type(value) not in (int, str, float):
        raise ValueError
    try:
        return float(value)
    except OverflowError:
        raise ValueError from None


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool | int):
        return bool(value)
    if not isinstance(value, str):
        raise ValueError
    try:
        return int(value) != 0
    except ValueError:
        if value.lower() in ("yes", "y", "on", "true"):
            return True
        if value.lower() in ("no", "n", "off", "false"):
            return False
        raise


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {"int": _to_int, "float": _to_float, "bool": _to_bool, "str": str}
