"""A comparison as one self-contained HTML page: no scripts, no network, every name escaped."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

from int8cal.files import write_file
from int8cal.text_safety import printable
from int8cal.use import extras
from int8cal.use.agreement import TensorAgreement
from int8cal.use.compare import Comparison

_FULL_BAR_DB = 60.0  # above it, INT8 and float are as good as equal


def write_page(
    comparison: Comparison, path: str, *, title: str, overwrite: bool = False, inputs: Iterable[str] = ()
) -> None:
    """Write the page.

    Args:
        comparison: what `int8cal.use.compare.compare` found.
        path: file to write.
        title: heading, e.g. the names of the two models.
        overwrite: replace an existing file.
        inputs: files that it compares, which are never replaced.

    Raises:
        UnavailableError: the extra ``report`` is not installed.
        OutputError: the file cannot be written, or exists already.
    """
    jinja2 = extras.need("jinja2", "report")
    source = resources.files("int8cal.use").joinpath("compare.html").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    agreement = comparison.agreement
    page = template.render(
        title=printable(title),
        images=agreement.images,
        skipped=[(printable(name), printable(reason)) for name, reason in agreement.skipped.items()],
        sizes=[f"{size / 1e6:.3f} MB" for size in (comparison.float_bytes, comparison.int8_bytes)],
        tables=[
            ("Outputs", [_row(tensor) for tensor in agreement.outputs]),
            ("Layers, in the order of the model", [_row(tensor) for tensor in agreement.layers]),
        ],
    )
    write_file(path, page.encode(), overwrite=overwrite, inputs=inputs)


def _row(tensor: TensorAgreement) -> dict[str, str | float]:
    return {
        "name": printable(tensor.name),
        "sqnr": tensor.sqnr_text,
        "bar": 100.0 * min(max(tensor.sqnr_db / _FULL_BAR_DB, 0.0), 1.0) if tensor.finite else 0.0,
        "cosine": f"{tensor.cosine:.5f}",
        "max_error": f"{tensor.max_error:.3g}",
        "top1": "" if tensor.top1 is None else f"{tensor.top1:.2%}",
    }
