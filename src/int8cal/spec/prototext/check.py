"""Is a spec sound by the tables beside its message definition? Section and text are walked side by side.

    Spec (message + text) + Checks → findings, each with the place of the field, or of the message that lacks it

The order of the findings is that in which the reference's validator would meet them; it stops at the first.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from int8cal.io.safe_text import printable, shown
from int8cal.spec.document import SpecFinding
from int8cal.spec.prototext.document import PrototextSpec
from int8cal.spec.prototext.fields import is_map, is_repeated
from int8cal.spec.prototext.schema import Checks, schema_of
from int8cal.spec.prototext.text import Field, Scalar, Section, SpecText
from int8cal.types import Message

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
    "in": lambda value, allowed: value in allowed,
    "%": lambda value, divisor: value % divisor == 0,
}
Numbers: TypeAlias = "float | list[Numbers]"

_MAX_CHARACTERS = 2_000
_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[float], float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}

_PREFIX = "Experiment Spec Setting Error: "


def check(spec: PrototextSpec) -> tuple[SpecFinding, ...]:
    """All checks of the spec's tables that fail. Checks that need more than a table are the network's own."""
    walk = _Walk(spec.text, spec.path, schema_of(spec.root).checks[spec.root])
    return tuple(walk.message(spec.message, _Place("", None, (spec.live_text.root,)), walk.checks.required))


class _Place(NamedTuple):
    """Where a message stands: its field path, the offset to point at, and the braces that it was written in."""

    path: str
    offset: int | None
    parts: tuple[Section, ...]

    def child(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def values(self, name: str) -> list[tuple[Field, Scalar | Section]]:
        fields = (field for part in self.parts for field in part.fields if field.name == name)
        return [(field, value) for field in fields for value in field.values]


@dataclass(frozen=True, slots=True)
class _Walk:
    text: SpecText
    path: str
    checks: Checks

    def message(self, message: Message, place: _Place, required: tuple[str, ...]) -> Iterator[SpecFinding]:
        """Findings in a message and everything in it."""
        yield from self._alternatives(message, place, required)
        for field in message.DESCRIPTOR.fields:
            if field.enum_type is not None:
                yield from self._enum(message, field, field.enum_type, place)
            if field.message_type is None:
                yield from self._scalar(message, field, place)
            elif field.name in required and not _is_present(message, field):
                yield self._missing(field.name, place)
            else:
                for inner, inner_place in self._messages_in(message, field, place):
                    yield from self.message(inner, inner_place, self.checks.required_in.get(field.name, ()))

    def _alternatives(self, message: Message, place: _Place, required: tuple[str, ...]) -> Iterator[SpecFinding]:
        """Required fields of which one of several will do: ``a or b``."""
        for choice in required:
            names = choice.split(" or ")
            if len(names) > 1 and not any(_is_present(message, message.DESCRIPTOR.fields_by_name[n]) for n in names):
                yield self._missing(choice, place)

    def _missing(self, name: str, place: _Place) -> SpecFinding:
        return SpecFinding(
            self._where(place.offset), place.child(name), f"{name} should be set in experiment spec file."
        )

    def _messages_in(self, message: Message, field: FieldDescriptor, place: _Place) -> Iterator[tuple[Message, _Place]]:
        """The messages that a field holds, each with its place."""
        value = getattr(message, field.name)
        written = place.values(field.name)
        path = place.child(field.name)
        if field.message_type is not None and is_map(field):
            yield from self._map_values(value, field.message_type, written, path)
        elif is_repeated(field):
            for index, item in enumerate(value):
                yield item, _place(f"{path}[{index}]", written[index : index + 1])
        elif message.HasField(field.name):
            yield value, _place(path, written)

    def _map_values(
        self, value: Any, entry: Descriptor, written: list[tuple[Field, Scalar | Section]], path: str
    ) -> Iterator[tuple[Message, _Place]]:
        """Section values of a map in file order; of entries with equal keys the last one counts."""
        if entry.fields_by_name["value"].message_type is None:
            return  # the reference's validator does not look into maps of scalars
        last_of_key = {
            self._key(one): (index, one) for index, (_, one) in enumerate(written) if isinstance(one, Section)
        }
        for key in sorted(value, key=lambda key: last_of_key.get(str(key), (len(written), None))[0]):
            index, one = last_of_key.get(str(key), (0, None))
            inside = _Place("", None, (one,)).values("value") if one else []
            field = written[index][0] if one else None
            yield value[key], _place(f"{path}[{index}].value", inside or ([(field, one)] if field and one else []))

    def _key(self, entry: Section) -> str:
        """The key of a map entry as text; an absent one is the empty string."""
        keys = _Place("", None, (entry,)).values("key")
        if not keys or not isinstance(key := keys[-1][1], Scalar):
            return ""
        content = self.text.string(key)
        return self.text[key] if content is None else content

    def _enum(
        self, message: Message, field: FieldDescriptor, kind: EnumDescriptor, place: _Place
    ) -> Iterator[SpecFinding]:
        """A number for which the definition has no name. protobuf keeps it; the reference fails where it is used."""
        known = {one.number: one.name for one in kind.values}
        value = getattr(message, field.name)
        for item in value if is_repeated(field) else (value,):
            if item not in known:
                allowed = ", ".join(f"{name} ({number})" for number, name in known.items())
                words = f"{field.name} has no value {item}. Allowed: {allowed}."
                yield SpecFinding(self._where_written(field.name, place), place.child(field.name), _PREFIX + words)

    def _scalar(self, message: Message, field: FieldDescriptor, place: _Place) -> Iterator[SpecFinding]:
        tests = self.checks.values.get(field.name, ())
        value = getattr(message, field.name)
        if field.name in self.checks.if_set and not _holds(*self.checks.if_set[field.name], value):
            return
        where = self._where_written(field.name, place)
        for item in value if is_repeated(field) else (value,):
            failed = next((words for words in (_failure(field.name, *test, item) for test in tests) if words), None)
            if failed:
                hint = None if place.values(field.name) else _missing_hint(field.name, place.path, tests)
                yield SpecFinding(where, place.child(field.name), shown(_PREFIX + failed, 400), hint)

    def _where_written(self, name: str, place: _Place) -> str:
        """Where the value of a field that counts stands; where its message does when it is not there."""
        written = place.values(name)
        return self._where(written[-1][0].value_start(written[-1][1]) if written else place.offset)

    def _where(self, offset: int | None) -> str:
        return printable(self.path) if offset is None else self.text.place(self.path, offset)


def _missing_hint(name: str, parent: str, tests: Iterable[tuple[str, Any]]) -> str:
    """What to write for a scalar that is not in the spec, and whose default will not do."""
    known = next((limit for op, limit in tests if op == "in"), ())
    among = f", one of {', '.join(map(repr, known))}" if known else ""
    return f"{name} is missing: add it to {parent or 'the spec'}{among}."


def _place(path: str, written: list[tuple[Field, Scalar | Section]]) -> _Place:
    parts = tuple(value for _, value in written if isinstance(value, Section))
    offset = written[-1][0].value_start(written[-1][1]) if written else None
    return _Place(path, offset, parts)


def _is_present(message: Message, field: FieldDescriptor) -> bool:
    if is_repeated(field):
        return len(getattr(message, field.name)) > 0
    return bool(message.HasField(field.name))


def _holds(op: str, limit: Any, value: Any) -> bool:
    return _OPERATORS[op](value, tuple(limit) if isinstance(limit, list) else limit)


def _failure(name: str, op: str, limit: Any, value: Any) -> str | None:
    """What the reference says when ``value op limit`` does not hold; None when it does."""
    how, _, plain_op = op.rpartition(" ")
    if not how:
        return None if _holds(op, limit, value) else _words(name, "should", op, limit, value)
    try:
        numbers = parse_numbers(value)
    except ValueError:
        return f"{name} can not be parsed correct. Wrong value: {value}"
    if how == "length":
        count = len(numbers) if isinstance(numbers, list) else 0
        return (
            None
            if _holds(plain_op, limit, count)
            else _words(f"The length of {name}", "should", plain_op, limit, count)
        )
    wrong = next((number for number in _flat(numbers) if not _holds(plain_op, limit, number)), None)
    return None if wrong is None else _words(name, "should be", plain_op, limit, wrong)


def _words(name: str, verb: str, op: str, limit: Any, value: Any) -> str:
    return f"{name} should be set." if limit == "" else f"{name} {verb} {op} {limit}. Wrong value: {value}"


def _flat(numbers: Numbers) -> Iterator[float]:
    if isinstance(numbers, list):
        for number in numbers:
            yield from _flat(number)
    else:
        yield numbers


def parse_numbers(text: str) -> Numbers:
    """A number, or a (nested) list or tuple of numbers, with ``+ - * /`` between them.

    Raises:
        ValueError: the text is anything else.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"longer than {_MAX_CHARACTERS} characters")
    try:
        return _evaluate(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ValueError(f"no numbers: {error}") from None


def _evaluate(node: ast.expr) -> Numbers:
    if isinstance(node, ast.List | ast.Tuple):
        return [_evaluate(element) for element in node.elts]
    return _number(node)


def _number(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_number(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_number(node.left), _number(node.right))
    raise ValueError("only numbers, lists and + - * / are understood")
