"""Groups of commands that help with a misspelt one, and let no option of any go unheard."""

from __future__ import annotations

import difflib

import click

from int8cal.cli.options import refuse_empty_texts


class SuggestingGroup(click.Group):
    """A group that names what an unknown command was likely meant to be."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0].replace("-", "_")
        if args[0].startswith("-") or ctx.resilient_parsing or self.get_command(ctx, name):
            found = super().resolve_command(ctx, args)
            if found[1]:
                refuse_empty_texts(found[1])
            return found
        near = difflib.get_close_matches(name, self.known_names(ctx), n=1)
        meant = f"did you mean {near[0]!r}?" if near else "see: int8cal networks"
        raise click.UsageError(f"there is no command or network {args[0]!r}; {meant}", ctx)

    def known_names(self, ctx: click.Context) -> list[str]:
        """Everything that `get_command` knows."""
        return self.list_commands(ctx)
