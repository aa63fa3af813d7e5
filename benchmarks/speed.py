"""What does a tensorfile cost, against the baseline? And: its size, and the time to read it back."""

from __future__ import annotations

from statistics import median
from typing import Any

from helper import (
    HERE,
    PYTHON,
    Cost,
    Settings,
    Workload,
    make,
    median_cost,
    plain_read,
    plan_of,
    remove,
    rounded,
    run,
    spec_of,
)

TARGETS = {
    "JPEG 960x544": (11.0, 17.0),
    "PNG 1242x375": (10.0, 14.0),
    "JPEG 1920x1080 resized": (9.0, 12.0),
    "classification 224x224": (5.5, None),
    "SSD 300x300": (4.7, None),
}
"""Ratios of CPU time and of wall time, the latter on two processors."""


def measure(settings: Settings) -> list[dict[str, Any]]:
    """One row per workload; the baseline, int8cal as it is and int8cal with one worker take turns.

    Workers share caches and the way to memory, which the baseline's one thread has for itself; one worker has, too.
    """
    return [_measure_one(workload, settings) for workload in settings.workloads]


def _measure_one(workload: Workload, settings: Settings) -> dict[str, Any]:
    spec = spec_of(workload, settings)
    plan = plan_of(workload, spec)
    reference, ours = settings.folder / "baseline.h5", settings.folder / "ours.tensorfile"
    costs: dict[str, list[Cost]] = {"baseline": [], "int8cal": [], "one_worker": []}
    reading: dict[str, list[float]] = {"baseline": [], "int8cal": []}
    for _ in range(settings.repetitions):
        reference.unlink(missing_ok=True)
        costs["baseline"].append(run(PYTHON, HERE / "baseline.py", plan, reference))
        costs["int8cal"].append(make(spec, ours, "-m", "-1", network=workload.network))
        costs["one_worker"].append(make(spec, ours, "-m", "-1", "--workers", "1", network=workload.network))
        reading["baseline"].append(plain_read("time", reference))
        reading["int8cal"].append(plain_read("time", ours))
    differing = plain_read("compare", reference, ours)
    if differing:
        raise SystemExit(f"{workload.name}: {differing:.0f} values differ from the baseline's")
    sizes = reference.stat().st_size, ours.stat().st_size
    reference.unlink()
    remove(ours)
    images = settings.images * workload.uses
    cpu_target, wall_target = TARGETS.get(workload.name, (None, None))
    base, new, one = (median_cost(measured) for measured in costs.values())
    return {
        "workload": workload.name,
        "images": images,
        "baseline": rounded(base),
        "one_worker": rounded(one),
        "int8cal": rounded(new),
        "baseline_cpu_ms_per_image": round(1000 * base.cpu / images, 2),
        "cpu_ms_per_image": round(1000 * new.cpu / images, 2),
        "cpu_ratio": round(base.cpu / new.cpu, 2),
        "cpu_ratio_range": _range(costs["baseline"], costs["int8cal"]),
        "cpu_ratio_of_one_worker": round(base.cpu / one.cpu, 2),
        "cpu_ratio_range_of_one_worker": _range(costs["baseline"], costs["one_worker"]),
        "cpu_ratio_target": cpu_target,
        "wall_ratio": round(base.wall / new.wall, 2),
        "wall_ratio_target": wall_target,
        "file_mb": round(sizes[1] / 1e6, 1),
        "file_size_ratio": round(sizes[1] / sizes[0], 3),
        "read_time_ratio": round(median(reading["int8cal"]) / median(reading["baseline"]), 3),
    }


def _range(before: list[Cost], after: list[Cost]) -> list[float]:
    """Least and largest ratio of CPU time, turn by turn."""
    ratios = [b.cpu / a.cpu for b, a in zip(before, after, strict=True)]
    return [round(min(ratios), 2), round(max(ratios), 2)]


def table(rows: list[dict[str, Any]]) -> list[list[object]]:
    """For people."""
    head = ["data", "CPU ms/image", "baseline", "ratio", "(target)", "one worker", "wall", "(target)"]
    return [[*head, "file MB", "of baseline", "read time", "peak MB"], *map(_cells, rows)]


def _cells(row: dict[str, Any]) -> list[object]:
    return [
        row["workload"],
        row["cpu_ms_per_image"],
        row["baseline_cpu_ms_per_image"],
        f"{row['cpu_ratio']}x",
        row["cpu_ratio_target"] or "",
        f"{row['cpu_ratio_of_one_worker']}x",
        f"{row['wall_ratio']}x",
        row["wall_ratio_target"] or "",
        row["file_mb"],
        f"{row['file_size_ratio']:.2f}x",
        f"{row['read_time_ratio']:.2f}x",
        round(row["int8cal"]["rss"]),
    ]
