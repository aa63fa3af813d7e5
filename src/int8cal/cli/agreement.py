"""How agreement between two models is shown, by ``quantize`` and ``compare`` alike."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from int8cal.io.safe_text import printable
from int8cal.io.summary import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from int8cal.models.agreement import Agreement, TensorAgreement

_HEADINGS = ("SQNR dB", "cosine", "max error", "top-1")


def as_json(agreement: Agreement) -> dict[str, Any]:
    """Figures of one comparison; those that are not finite are null."""
    return {
        "images": agreement.images,
        "outputs": [_facts(tensor) for tensor in agreement.outputs],
        "layers": [_facts(tensor) for tensor in agreement.layers],
        "skipped": dict(agreement.skipped),
    }


def as_lines(agreement: Agreement, title: str) -> list[str]:
    """A table of the outputs and one of the worst layers."""
    return [
        f"{title}, {counted(agreement.images, 'image')}:",
        *_table("output", agreement.outputs),
        *(f"  not compared: {name}: {reason}" for name, reason in agreement.skipped.items()),
        *_table("worst layers", agreement.worst_layers()),
    ]


def _facts(tensor: TensorAgreement) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "finite": tensor.finite,
        "not_finite_in": sorted(tensor.lost_in),
        "identical": tensor.identical,
        "sqnr_db": tensor.sqnr_db,
        "varying_sqnr_db": tensor.varying_db,
        "cosine": tensor.cosine,
        "max_error": tensor.max_error,
        "top1": tensor.top1,
        "equal": tensor.equal if tensor.whole else None,
        "groups": [asdict(group) for group in tensor.groups],
    }


def _table(heading: str, tensors: Sequence[TensorAgreement]) -> list[str]:
    if not tensors:
        return []
    rows = [(heading, *_HEADINGS)]
    for tensor in tensors:
        rows.append((printable(tensor.name), *_cells(tensor)))
        rows += [
            (f"  {group.text} (up to {group.peak:.3g})", f"{group.sqnr_db:.1f}", "", "", "") for group in tensor.groups
        ]
        if tensor.mostly_constant:
            rows.append(("  what varies of it", f"{tensor.varying_db:.1f}", "", "", ""))
    width = max(len(row[0]) for row in rows)
    return [f"  {row[0]:<{width}}" + "".join(f"  {cell:>9}" for cell in row[1:]) for row in rows]


def _cells(tensor: TensorAgreement) -> tuple[str, str, str, str]:
    return (
        tensor.sqnr_text,
        f"{tensor.cosine:.5f}",
        f"{tensor.max_error:.3g}",
        "" if tensor.top1 is None else f"{tensor.top1:.2%}",
    )
