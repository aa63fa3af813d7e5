"""What right and wrong calibration data cost a network of the demo, and what ``verify`` says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from int8cal.check.verify import Verification, verify
from int8cal.demo.int8 import Prepared, Shown, int8_score, predictor, verify_with_model
from int8cal.demo.mistakes import MISTAKES, write_mistaken
from int8cal.demo.subjects import BATCH_SIZE, TestSet
from int8cal.types import MethodChoice

FLOAT, RIGHT = "float model", "right"


@dataclass(frozen=True)
class Row:
    """One model or tensorfile.

    Attributes:
        data: what it was calibrated with.
        scores: method → score, 0..1; for the float model the same under every method.
        verified: what ``verify`` said of the tensorfile; None for the float model.
        verified_with_model: what ``verify --model`` said.
    """

    data: str
    scores: Mapping[MethodChoice, float]
    verified: Verification | None = None
    verified_with_model: Verification | None = None


def rows(
    prepared: Prepared, test: TestSet, shown: Shown, *, methods: Sequence[MethodChoice], mistakes: bool = False
) -> Iterator[Row]:
    """Score the float model, the INT8 models of the right tensorfile and, if asked, those of wrong ones.

    Args:
        prepared: a network with its right tensorfile; the INT8 model is written beside it.
        test: its test set.
        shown: progress of each quantisation.
        methods: how ranges are chosen, one INT8 model for each.
        mistakes: go on with every one of `MISTAKES`.

    Raises:
        UnavailableError: the extra ``quantize`` is not installed.
    """
    subject = prepared.subject
    yield Row(FLOAT, dict.fromkeys(methods, test.score(predictor(subject.model))))

    def row(data: str, tensorfile: Path, verified: Verification) -> Row:
        scores: dict[MethodChoice, float] = {}
        for method in methods:
            progress = shown(f"images for the {subject.name} ({data}, {method})")
            out = prepared.data / "int8.onnx"
            scores[method] = int8_score(subject, tensorfile, test, out, method=method, progress=progress)
        return Row(data, scores, verified, verify_with_model(verified, subject.model))

    yield row(RIGHT, prepared.tensorfile, prepared.verification)
    if mistakes:
        pictures = sorted(prepared.data.glob(subject.pattern))
        wrong = prepared.data / "wrong.tensorfile"
        for name, mistake in MISTAKES.items():
            write_mistaken(mistake, pictures, subject.normalise, wrong, batch_size=BATCH_SIZE)
            yield row(name, wrong, verify(wrong))
        wrong.unlink()


def said(verified: Verification | None) -> str:
    """Errors and warnings by their names; notes are left out, every file has some."""
    if verified is None:
        return ""
    loud = [f"{finding.level} {finding.code}" for finding in verified.findings if finding.level != "note"]
    return ", ".join(dict.fromkeys(loud)) or "nothing"


def as_cells(of: Sequence[Row]) -> list[list[str]]:
    """A table with headings; scores in percent."""
    return [
        ["calibrated with", *of[0].scores, "verify", "verify --model"],
        *(
            [row.data, *map("{:.1%}".format, row.scores.values()), said(row.verified), said(row.verified_with_model)]
            for row in of
        ),
    ]


def to_json(of: Sequence[Row]) -> list[dict[str, object]]:
    """The same as JSON types."""
    return [
        {
            "calibrated_with": row.data,
            "scores": dict(row.scores),
            "verify": said(row.verified),
            "verify_model": said(row.verified_with_model),
        }
        for row in of
    ]
