"""A comparison as one self-contained HTML page."""

from __future__ import annotations

from int8cal.models.agreement import TensorAgreement
from int8cal.models.compare import Comparison
from int8cal.report.web_page import rendered

_FULL_BAR_DB = 60.0  # above it, INT8 and float are as good as equal


def page_of(comparison: Comparison, *, title: str) -> bytes:
    """The page as HTML.

    Args:
        comparison: what `int8cal.models.compare.compare` found.
        title: heading, e.g. the names of the two models.

    Raises:
        UnavailableError: the extra ``report`` is not installed.
    """
    agreement = comparison.agreement
    return rendered(
        "int8cal.report",
        "compare.html.j2",
        "compare.css",
        title=title,
        images=agreement.images,
        skipped=agreement.skipped,
        sizes=[f"{size / 1e6:.3f} MB" for size in (comparison.float_bytes, comparison.int8_bytes)],
        tables=[
            ("Outputs", [_row(tensor) for tensor in agreement.outputs]),
            ("Layers, in the order of the model", [_row(tensor) for tensor in agreement.layers]),
        ],
    )


def _row(tensor: TensorAgreement) -> dict[str, str | float]:
    return {
        "name": tensor.name,
        "sqnr": tensor.sqnr_text,
        "bar": 100.0 * min(max(tensor.sqnr_db / _FULL_BAR_DB, 0.0), 1.0) if tensor.finite else 0.0,
        "cosine": f"{tensor.cosine:.5f}",
        "max_error": f"{tensor.max_error:.3g}",
        "top1": "" if tensor.top1 is None else f"{tensor.top1:.2%}",
    }
