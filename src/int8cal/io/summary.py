"""How results show themselves in Python: one short line, and a table in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from int8cal.io.safe_text import printable, shortened

_LONGEST = 200
"""Characters of a line, and of a value in a table."""


class Summarised:
    """A base for results that people look at. Subclasses say `summary` and, for notebooks, `summary_rows`."""

    __slots__ = ()

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        raise NotImplementedError

    def summary_rows(self) -> Iterable[tuple[str, object]]:
        """(name, value) of the few facts that a table shows."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {shortened(printable(self.summary()), _LONGEST)}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{_escaped(name)}</th>'
            f'<td style="text-align:left">{_escaped(str(value))}</td></tr>'
            for name, value in self.summary_rows()
        )
        caption = f"{type(self).__name__} {self.summary()}"
        return f'<table><caption style="text-align:left">{_escaped(caption)}</caption>{rows}</table>'


def _escaped(text: str) -> str:
    import html  # late: for notebooks alone

    return html.escape(shortened(printable(text), _LONGEST))


def times(shape: Sequence[int]) -> str:
    """A shape for people: ``4 × 3 × 384 × 1248``."""
    return " × ".join(map(str, shape))


def counted(number: int, word: str) -> str:
    """A number of things: ``1 batch``, ``2 batches``."""
    plural = f"{word}es" if word.endswith(("s", "x", "ch", "sh")) else f"{word}s"
    return f"{number} {word if number == 1 else plural}"
