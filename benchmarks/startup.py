"""What does starting the command cost over starting Python?"""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Any

from helper import INT8CAL, PYTHON, Settings, Workload, make, remove, run, spec_of

LIBRARIES = (
    "numpy, h5py, click, google.protobuf.text_format, google_crc32c, simplejpeg, isal.isal_zlib, imagecodecs, xxhash"
)
"""What a run from JPEG files uses, the decoders among them."""

SMALL = Workload("eight small pictures", "jpg", (96, 160), network_size=(96, 160))


def measure(settings: Settings) -> list[dict[str, Any]]:
    """CPU seconds, the programs taking turns: an empty one and ``--help``; only imports and a run of 8 images."""
    spec = spec_of(SMALL, replace(settings, images=8, batch_size=4))
    out = settings.folder / "small.tensorfile"
    costs: dict[str, list[float]] = {"bare_python": [], "int8cal_help": [], "only_imports": [], "eight_images": []}
    for _ in range(settings.startup_rounds):
        costs["bare_python"].append(run(PYTHON, "-c", "pass").cpu)
        costs["int8cal_help"].append(run(*INT8CAL, "--help").cpu)
        costs["only_imports"].append(run(PYTHON, "-c", f"import {LIBRARIES}").cpu)
        costs["eight_images"].append(make(spec, out, "-m", "-1").cpu)
    remove(out)
    row = {name: round(median(values), 3) for name, values in costs.items()}
    row["difference"] = round(_paired(costs["int8cal_help"], costs["bare_python"]), 3)
    row["run_difference"] = round(_paired(costs["eight_images"], costs["only_imports"]), 3)
    return [row]


def _paired(these: list[float], those: list[float]) -> float:
    return median(one - other for one, other in zip(these, those, strict=True))


def table(rows: list[dict[str, Any]]) -> list[list[object]]:
    """For people."""
    row = rows[0]
    lines: list[list[object]] = [
        ["CPU s of", "", "of", "", "difference", "(target)"],
        ["python -c pass", row["bare_python"], "int8cal --help", row["int8cal_help"], row["difference"], 0.15],
    ]
    if "eight_images" in row:
        lines.append(
            [
                "python that imports the same libraries",
                row["only_imports"],
                "calibration_tensorfile of 8 images",
                row["eight_images"],
                row["run_difference"],
                0.05,
            ]
        )
    return lines
