"""Path roles: what the path fields of a spec mean. The tables are data of the networks; this is the mechanism.

A table maps field patterns to roles (``training_data``) or to ``none: reason`` for path fields that no run-time path is
for. Patterns are those of `int8cal.spec.prototext.fields`: ``dataset_config.data_sources[].tfrecords_path``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from int8cal.spec.prototext.fields import visit_fields
from int8cal.spec.prototext.spec import Spec
from int8cal.spec.prototext.text import Scalar

ROLES = ("training_data", "training_tfrecords", "validation_data", "validation_tfrecords", "base_model")
"""The roles that exist, in the order in which the command line names them."""

GLOB_ROLES = frozenset({"training_tfrecords", "validation_tfrecords"})
"""Roles whose fields hold glob patterns, not plain paths."""

_NO_ROLE = "none:"


@dataclass(frozen=True, slots=True)
class PathValue:
    """A path in a spec that has a role.

    Attributes:
        role: its role.
        path: field path.
        value: where it stands.
        content: the path written there.
    """

    role: str
    path: str
    value: Scalar
    content: str


def path_values(spec: Spec, path_roles: Mapping[str, str]) -> Iterator[PathValue]:
    """The non-empty paths with a role, in file order."""
    for visit in visit_fields(spec.text, spec.message.DESCRIPTOR):
        role = path_roles.get(visit.pattern, _NO_ROLE)
        if role.startswith(_NO_ROLE) or not isinstance(visit.value, Scalar):
            continue
        if content := spec.text.string(visit.value):
            yield PathValue(role, visit.path, visit.value, content)
