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

    from int8cal.check.inspection import Inspection, inspect
    from int8cal.check.rebuild import Claim
    from int8cal.check.verify import Verification, verify
    from int8cal.engine.batches import PlanBatches
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
        ResourceError,
        SpecError,
        TensorFileError,
        UnavailableError,
        UsageError,
        UseError,
    )
    from int8cal.exports import readers
    from int8cal.exports.formats import Exported, export
    from int8cal.manifest import Manifest
    from int8cal.models.agreement import Agreement
    from int8cal.models.compare import Comparison, compare
    from int8cal.models.quantize import QuantizeReport, quantize
    from int8cal.models.scales import ScalesReport, quantize_from_scales
    from int8cal.origins.experiment import Spec, read_spec
    from int8cal.pipeline import make, plan
    from int8cal.plans import Plan
    from int8cal.report.build import write_report
    from int8cal.tensorfile import TensorFile
    from int8cal.tensorfile.findings import Finding
    from int8cal.types import Batches

_HOME = {
    "Agreement": "models.agreement",
    "Batches": "types",
    "Claim": "check.rebuild",
    "Comparison": "models.compare",
    "Exported": "exports.formats",
    "Finding": "tensorfile.findings",
    "Inspection": "check.inspection",
    "Manifest": "manifest",
    "Plan": "plans",
    "PlanBatches": "engine.batches",
    "QuantizeReport": "models.quantize",
    "ScalesReport": "models.scales",
    "Spec": "origins.experiment",
    "TensorFile": "tensorfile",
    "Verification": "check.verify",
    "compare": "models.compare",
    "export": "exports.formats",
    "inspect": "check.inspection",
    "make": "pipeline",
    "plan": "pipeline",
    "quantize": "models.quantize",
    "quantize_from_scales": "models.scales",
    "read_spec": "origins.experiment",
    "readers": "exports.readers",
    "verify": "check.verify",
    "write_report": "report.build",
}

__all__ = [
    "Agreement",
    "Batches",
    "Claim",
    "Comparison",
    "DataError",
    "EngineFailedError",
    "Exported",
    "Finding",
    "ImageError",
    "ImageShapeError",
    "Inspection",
    "Int8calError",
    "Manifest",
    "MissingDataError",
    "OutOfMemoryError",
    "OutputError",
    "OutputExistsError",
    "Plan",
    "PlanBatches",
    "QuantizeReport",
    "RecordError",
    "ResourceError",
    "ScalesReport",
    "Spec",
    "SpecError",
    "TensorFile",
    "TensorFileError",
    "UnavailableError",
    "UsageError",
    "UseError",
    "Verification",
    "__version__",
    "compare",
    "export",
    "inspect",
    "make",
    "plan",
    "quantize",
    "quantize_from_scales",
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
