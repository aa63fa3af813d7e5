"""The look of ``--help``: options in groups, the output first; nothing of a line is cut."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import click

_OUTPUT = (
    "output output_path output_dir overwrite shards compression json html trt_cache trt_version deepstream to keep"
)
_BEHAVIOUR = "on_bad_image max_skipped resume strict strict_network allow_unknown_fields dry_run any_order quick"
_MACHINE = "workers scratch_dir engine ray_address log_file verbose help version"
_GROUPS: dict[str, list[str]] = {
    "Output": _OUTPUT.split(),
    "Behaviour": _BEHAVIOUR.split(),
    "Machine and messages": _MACHINE.split(),
}
"""Title of a group → long names of its options; all others are in the group Options."""

_FEW = 6
"""So many options need no groups."""

_LONG_NAME = re.compile(r"--(\w+)")


class GroupedFormatter(click.HelpFormatter):
    """Writes the options of a command in groups."""

    _options = False

    def write_heading(self, heading: str) -> None:
        """The heading of a section; that of the options is written by each group."""
        self._options = heading == "Options"
        if not self._options:
            super().write_heading(heading)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """A list of terms and texts."""
        if not self._options:
            super().write_dl(rows, col_max, col_spacing)
            return
        self._options, rows = False, list(rows)
        groups = _grouped(rows) if len(rows) > _FEW else {"Options": rows}
        for number, (title, members) in enumerate(groups.items()):
            if number:
                self.write_paragraph()
            self.dedent()
            super().write_heading(title)
            self.indent()
            super().write_dl(members, col_max, col_spacing)


def _grouped(rows: Sequence[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {"Output": [], "Options": []}
    found |= {title: [] for title in _GROUPS}
    for row in rows:
        names = set(_LONG_NAME.findall(row[0]))
        found[next((title for title, members in _GROUPS.items() if names & set(members)), "Options")].append(row)
    found["Output"].sort(key=lambda row: not row[0].startswith("-o"))
    return {title: members for title, members in found.items() if members}


class HelpContext(click.Context):
    """The context of every command."""

    formatter_class = GroupedFormatter


def in_groups(command: click.Command) -> None:
    """Give a command, and those below it, this help."""
    command.context_class = HelpContext
    if command.help and not command.short_help:
        command.short_help = _first_sentence(command.help)
    if isinstance(command, click.Group):
        for child in command.commands.values():
            in_groups(child)


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.?]) ", paragraph)[0]
