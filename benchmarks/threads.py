"""What does a second thread bring?"""

from __future__ import annotations

from typing import Any

from helper import Cost, Settings, make, median_cost, remove, spec_of


def measure(settings: Settings) -> list[dict[str, Any]]:
    """Wall time with one and with two threads, taking turns."""
    rows = []
    out = settings.folder / "ours.tensorfile"
    for workload in settings.detection:
        spec = spec_of(workload, settings)
        costs: dict[str, list[Cost]] = {"1": [], "2": []}
        for _ in range(settings.repetitions):
            for workers, measured in costs.items():
                measured.append(make(spec, out, "--workers", workers))
        remove(out)
        one, two = (median_cost(measured) for measured in costs.values())
        rows.append(
            {
                "workload": workload.name,
                "images_per_second": [round(settings.images / cost.wall, 1) for cost in (one, two)],
                "wall_ratio": round(one.wall / two.wall, 2),
                "best_wall_ratio": round(min(c.wall for c in costs["1"]) / min(c.wall for c in costs["2"]), 2),
                "cpu_ratio": round(two.cpu / one.cpu, 2),
            }
        )
    return rows


def table(rows: list[dict[str, Any]]) -> list[list[object]]:
    """For people."""
    return [
        ["data", "images/s, 1 thread", "2 threads", "ratio", "of the best runs"],
        *([r["workload"], *r["images_per_second"], f"{r['wall_ratio']}x", f"{r['best_wall_ratio']}x"] for r in rows),
    ]
