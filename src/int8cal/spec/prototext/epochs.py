"""The number of epochs in a spec: where it stands, or where it has to be inserted."""

from __future__ import annotations

import re

from int8cal.errors import SpecError, UsageError
from int8cal.io.safe_text import printable
from int8cal.spec.prototext.fields import visit_fields
from int8cal.spec.prototext.spec import Spec
from int8cal.spec.prototext.text import Edit, Message, Scalar, SpecText

EPOCH_FIELDS = ("training_config.num_epochs", "train_config.n_epochs")
"""The fields that hold it; each kind of experiment spec knows one of them."""

MAX_EPOCHS = 2**31 - 1

_REST_OF_LINE = re.compile(r"[^\S\n]*(?:#[^\n]*)?\n")


def set_epochs(spec: Spec, num_epochs: int) -> tuple[str, Edit]:
    """The edit that sets the number of epochs, and the path of its field.

    Raises:
        UsageError: the number is out of range.
        SpecError: the spec's message has no such field, or the section that holds it is not there.
    """
    if not 1 <= num_epochs <= MAX_EPOCHS:
        raise UsageError(f"the number of epochs must be from 1 to {MAX_EPOCHS}, not {num_epochs}")
    path = _epochs_field(spec)
    section = path.partition(".")[0]
    written = [visit.value for visit in visit_fields(spec.text, spec.message.DESCRIPTOR) if visit.path == path]
    if written and isinstance(last := written[-1], Scalar):
        return path, Edit(last.start, last.end, str(num_epochs))
    sections = [value for _, value in spec.text.find(section) if isinstance(value, Message)]
    if not sections:
        raise SpecError(
            f"the spec has no {section}, so the number of epochs cannot be set",
            where=printable(spec.path),
            hint="Leave the number of epochs out.",
        )
    return path, _insertion(spec.text, sections[-1], f"{path.partition('.')[2]}: {num_epochs}")


def _epochs_field(spec: Spec) -> str:
    for path in EPOCH_FIELDS:
        section, _, name = path.partition(".")
        field = spec.message.DESCRIPTOR.fields_by_name.get(section)
        if field is not None and field.message_type is not None and name in field.message_type.fields_by_name:
            return path
    raise SpecError(
        "this kind of spec has no number of epochs",
        where=printable(spec.path),
        hint="Leave the number of epochs out, or give the training spec.",
    )


def _insertion(text: SpecText, section: Message, line: str) -> Edit:
    """A new first line in a message, indented as its first field; within the line where it is written on one."""
    inside = section.start + 1
    rest = _REST_OF_LINE.match(text.text, inside)
    if rest is None:
        return Edit(inside, inside, f" {line}")
    line_end = "\r\n" if rest.group().endswith("\r\n") else "\n"
    return Edit(rest.end(), rest.end(), f"{_indent(text, section)}{line}{line_end}")


def _indent(text: SpecText, section: Message) -> str:
    """The white space before the message's first field, or two spaces more than before the line of its brace."""
    line = text.line_at(section.fields[0].start if section.fields else section.start)
    indent = line[: len(line) - len(line.lstrip())]
    return indent if section.fields else f"{indent}  "
