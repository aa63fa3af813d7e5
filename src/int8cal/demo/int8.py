"""From a data set to an INT8 model and its accuracy: tensorfile → verify → quantize → score, float and INT8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from int8cal.check.model import try_model
from int8cal.check.verify import Verification, verify
from int8cal.demo.evaluate import Predict
from int8cal.demo.subjects import Subject, TestSet
from int8cal.models.onnx_file import load_model
from int8cal.models.quantize import quantize
from int8cal.models.session import open_as_written
from int8cal.pipeline import make, plan
from int8cal.tensorfile import TensorFile
from int8cal.types import MethodChoice, Progress

Shown: TypeAlias = Callable[[str], Progress | None]
"""What is counted → where its progress is shown."""

TENSORFILE = "calibration.tensorfile"


@dataclass(frozen=True)
class Prepared:
    """A subject with its tensorfile.

    Attributes:
        subject: detector or classifier.
        data: folder of its calibration pictures.
        tensorfile: made from them.
        verification: what `verify` says of it, without a model.
    """

    subject: Subject
    data: Path
    tensorfile: Path
    verification: Verification


def prepare(subject: Subject, folder: Path, shown: Shown) -> Prepared:
    """Draw a subject's calibration pictures, make the tensorfile, verify it.

    Args:
        subject: detector or classifier.
        folder: for its data; created.
        shown: progress of each step.
    """
    spec = subject.make_data(folder, shown(f"pictures for the {subject.name}"))
    tensorfile = folder / TENSORFILE
    make(plan(spec, max_batches=-1), tensorfile, progress=shown("images"))
    return Prepared(subject, folder, tensorfile, verify(tensorfile, progress=shown("images verified")))


def verify_with_model(verification: Verification, model: Path) -> Verification:
    """The same file, also judged by a float model.

    Raises:
        UnavailableError: the extra ``quantize`` is not installed.
    """
    return verification.with_findings(try_model(verification.path, model))


def int8_score(
    subject: Subject, tensorfile: Path, test: TestSet, out: Path, *, method: MethodChoice, progress: Progress | None
) -> float:
    """Quantise a subject's model with a tensorfile, and score the INT8 model, which stays at ``out``.

    Raises:
        UseError: the model cannot be quantised with these images.
        UnavailableError: the extra ``quantize`` is not installed.
    """
    with TensorFile(tensorfile) as images:
        quantize(
            subject.model, images, out, method=method, agreement=False, force=True, overwrite=True, progress=progress
        )
    return test.score(predictor(out))


def predictor(path: Path) -> Predict:
    """An ONNX model as a function, run by ONNX Runtime on the CPU, see `int8cal.models.session.open_as_written`."""
    session = open_as_written(load_model(path))
    name = session.inputs[0].name
    return lambda batch: tuple(session.run(None, {name: batch}))
