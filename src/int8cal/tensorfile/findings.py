"""What a check has to say about a tensorfile: plain data, one sentence of what is and one of what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

Level: TypeAlias = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""error: do not use the file; warning: look at it first; note: good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        level: how much it matters.
        code: stable short name for scripts (``batch-unreadable``).
        message: what was found, and where in the file.
        hint: what to do about it.
    """

    level: Level
    code: str
    message: str
    hint: str

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON types."""
        return asdict(self)


def by_level(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then notes; each level in the order in which it was found."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
