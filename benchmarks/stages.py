"""Where does the time of an image go, and what could no program do without?

Decoding alone and writing alone are the floors. With ``--earlier SRC`` the same of an earlier commit stands beside it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

from helper import HERE, PYTHON, Settings, Workload, make, remove, spec_of, variables

STEPS = ("read", "decode", "to tensor", "encode", "checksums")


def measure(settings: Settings) -> list[dict[str, Any]]:
    """One row per workload and program, which take turns: the earlier commit, without the kernels, now."""
    programs: dict[str, tuple[Path | None, dict[str, str]]] = {}
    if settings.earlier:
        programs["earlier"] = (settings.earlier, {})
    programs |= {"without kernels": (None, {"INT8CAL_NATIVE": "0"}), "now": (None, {})}
    return [row for workload in settings.workloads for row in _rows(workload, settings, programs)]


def _rows(
    workload: Workload, settings: Settings, programs: dict[str, tuple[Path | None, dict[str, str]]]
) -> list[dict[str, Any]]:
    spec, out = spec_of(workload, settings), settings.folder / "ours.tensorfile"
    images = settings.images * workload.uses
    found: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for _ in range(settings.repetitions):
        for name, (source, environment) in programs.items():
            steps = _steps(spec, out, source, environment)
            whole, first = (
                make(spec, out, "-m", batches, network=workload.network, source=source, environment=environment).cpu
                for batches in ("-1", "1")
            )
            each = 1000 * (whole - first) / (images - settings.batch_size)
            steps["start and end"] = 1000 * whole / images - each
            steps["the rest"] = each - sum(steps[step] for step in STEPS)
            steps["whole"] = 1000 * whole / images
            found[name].append(steps)
    remove(out)
    return [
        {"workload": workload.name, "program": name, "ms_per_image": {step: _median(runs, step) for step in runs[0]}}
        for name, runs in found.items()
    ]


def _steps(spec: Path, out: Path, source: Path | None, environment: dict[str, str]) -> dict[str, float]:
    command = [PYTHON, HERE / "stage_times.py", spec, out]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=variables(source, environment))
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _median(runs: list[dict[str, float]], step: str) -> float:
    return round(median(run[step] for run in runs), 2)


def table(rows: list[dict[str, Any]]) -> list[list[object]]:
    """For people."""
    head = ["CPU ms/image", "", *STEPS, "the rest", "start and end", "whole", "decode only", "write only"]
    return [head, *map(_cells, rows)]


def _cells(row: dict[str, Any]) -> list[object]:
    took = row["ms_per_image"]
    shown = [took[step] for step in (*STEPS, "the rest", "start and end", "whole")]
    return [row["workload"], row["program"], *shown, round(took["read"] + took["decode"], 2), took["write only"]]
