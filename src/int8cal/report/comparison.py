"""A float model against its INT8 model: a part of the report, and a page of its own for ``compare --html``."""

from __future__ import annotations

from dataclasses import dataclass

from int8cal import __version__
from int8cal.models.agreement import TensorAgreement
from int8cal.models.compare import Comparison
from int8cal.report.web_page import rendered

_FULL_BAR_DB = 60.0  # above it, INT8 and float are as good as equal
_WORDS = {
    "good": ("good", "Good"),
    "look": ("fair", "Look before you use it"),
    "poor": ("bad", "Poor"),
    "not measured": ("fair", "Not measured"),
}


@dataclass(frozen=True)
class Row:
    """A tensor, or a group of its channels, in a table.

    Attributes:
        name: of the tensor; of a group, its channels.
        is_group: whether it is one.
        sqnr: in dB, as text.
        bar: length of its bar, 0..100.
        cosine, max_error, top1: as text; empty where there is none.
    """

    name: str
    is_group: bool
    sqnr: str
    bar: float
    cosine: str = ""
    max_error: str = ""
    top1: str = ""


@dataclass(frozen=True)
class ModelPart:
    """Everything that is shown of a comparison. Names from data are made printable by the template.

    Attributes:
        is_quantised: whether the second model is INT8 at all.
        level: class of the verdict in the style sheet.
        verdict: in a word or two.
        reason: why.
        facts: name–value rows.
        skipped: outputs that could not be compared, and why.
        outputs: their rows, each followed by those of its groups of channels.
        layers: lowest SQNR first.
        ranges: activations of the INT8 model: name, smallest and largest value that INT8 can hold.
        note: about the images; empty if there is nothing to say.
    """

    is_quantised: bool
    level: str
    verdict: str
    reason: str
    facts: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    outputs: tuple[Row, ...]
    layers: tuple[Row, ...]
    ranges: tuple[tuple[str, str, str], ...]
    note: str = ""

    @classmethod
    def of(cls, comparison: Comparison, note: str = "") -> ModelPart:
        """What is shown of a comparison."""
        agreement = comparison.agreement
        verdict = comparison.verdict
        level, word = _WORDS[verdict.level]
        foreign = [f"{node.name} ({node.operator})" for node in comparison.foreign if not node.computed]
        return cls(
            is_quantised=comparison.is_quantised,
            level=level,
            verdict=word,
            reason=verdict.why,
            facts=(
                ("Images compared", f"{agreement.images:,}"),
                ("Float model", f"{comparison.float_bytes / 1e6:.3f} MB"),
                ("INT8 model", f"{comparison.int8_bytes / 1e6:.3f} MB"),
                *((("Not computed here", ", ".join(foreign)),) if foreign else ()),
            ),
            skipped=tuple(agreement.skipped.items()),
            outputs=tuple(row for tensor in agreement.outputs for row in (_row(tensor), *_groups(tensor))),
            layers=tuple(_row(tensor) for tensor in agreement.worst_layers(len(agreement.layers))),
            ranges=tuple((name, f"{low:.4g}", f"{high:.4g}") for name, (low, high) in comparison.ranges.items()),
            note=note,
        )


def page_of(comparison: Comparison, *, title: str) -> bytes:
    """The comparison as a page of its own.

    Args:
        comparison: what `int8cal.models.compare.compare` found.
        title: heading, e.g. the names of the two models.

    Raises:
        UnavailableError: the extra ``report`` is not installed.
    """
    return rendered(
        "int8cal.report",
        "compare.html.j2",
        "page.css",
        title=title,
        model=ModelPart.of(comparison),
        version=__version__,
    )


def _row(tensor: TensorAgreement) -> Row:
    return Row(
        tensor.name,
        False,
        tensor.sqnr_text,
        _bar(tensor.sqnr_db) if tensor.finite else 0.0,
        f"{tensor.cosine:.5f}",
        f"{tensor.max_error:.3g}",
        "" if tensor.top1 is None else f"{tensor.top1:.2%}",
    )


def _groups(tensor: TensorAgreement) -> list[Row]:
    rows = [
        Row(f"{group.text}, up to {group.peak:.3g}", True, f"{group.sqnr_db:.1f}", _bar(group.sqnr_db))
        for group in tensor.groups
    ]
    if tensor.mostly_constant and tensor.varying_db is not None:
        rows.append(Row("what varies of it", True, f"{tensor.varying_db:.1f}", _bar(tensor.varying_db)))
    return rows


def _bar(sqnr_db: float) -> float:
    return round(100.0 * min(max(sqnr_db / _FULL_BAR_DB, 0.0), 1.0), 1)
