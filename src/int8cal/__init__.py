"""INT8 calibration data for NVIDIA TAO models, bit for bit as NVIDIA's own tool makes it.

    import int8cal

    plan = int8cal.plan("spec.txt", max_batches=10)   # the dry run
    manifest = int8cal.make(plan, "calibration.tensor")
    with int8cal.TensorFile("calibration.tensor") as file:
        for batch in file:                            # float32 (B, C, H, W)
            ...
    int8cal.verify("calibration.tensor").require_sound()

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

TYPE_CHECKING = False  # to type checkers it is true; importing it takes longer than all else here
if TYPE_CHECKING:
    from typing import Any

    from int8cal.check.rebuild import Claim
    from int8cal.check.verify import verify
    from int8cal.errors import (
        DataError,
        EngineFailedError,
        ImageError,
        ImageShapeError,
        Int8calError,
        MissingDataError,
        OutOfMemoryError,
        OutputError,
        OutputExistsError,
        RecordError,
        SpecError,
        TensorFileError,
        UnavailableError,
        UsageError,
        UseError,
    )
    from int8cal.exports import readers
    from int8cal.exports.formats import export
    from int8cal.manifest import Manifest
    from int8cal.models.compare import compare
    from int8cal.models.quantize import quantize
    from int8cal.origins.experiment import Spec, read_spec
    from int8cal.pipeline import make, plan
    from int8cal.plans import Plan
    from int8cal.report.build import write_report
    from int8cal.tensorfile import TensorFile

_HOME = {
    "Manifest": "manifest",
    "Claim": "check.rebuild",
    "Plan": "plans",
    "Spec": "origins.experiment",
    "TensorFile": "tensorfile",
    "compare": "models.compare",
    "export": "exports.formats",
    "make": "pipeline",
    "plan": "pipeline",
    "readers": "exports.readers",
    "quantize": "models.quantize",
    "read_spec": "origins.experiment",
    "verify": "check.verify",
    "write_report": "report.build",
}

__all__ = [
    "Claim",
    "DataError",
    "EngineFailedError",
    "ImageError",
    "ImageShapeError",
    "Int8calError",
    "Manifest",
    "MissingDataError",
    "OutOfMemoryError",
    "OutputError",
    "OutputExistsError",
    "Plan",
    "RecordError",
    "Spec",
    "SpecError",
    "TensorFile",
    "TensorFileError",
    "UnavailableError",
    "UsageError",
    "UseError",
    "__version__",
    "compare",
    "export",
    "make",
    "plan",
    "quantize",
    "read_spec",
    "readers",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'int8cal' has no attribute {name!r}")
    home = _HOME.get(name, "errors")
    module = importlib.import_module(f"int8cal.{home}")
    return module if name == "readers" else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
