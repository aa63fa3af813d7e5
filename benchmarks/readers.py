"""Do chunks of our own encoder inflate as fast as those of igzip, and how large are they?"""

from __future__ import annotations

from statistics import median
from typing import Any

from helper import Settings, make, plain_read, remove, spec_of

READERS = ("zlib", "ISA-L", "zlib-ng", "libdeflate")
"""Those of `plain_read.py`, which imports their libraries: memory is measured from here, and would count them."""

BATCHES = "2"


def measure(settings: Settings) -> list[dict[str, Any]]:
    """One row per workload: with the kernels over without, the readers taking turns."""
    rows = []
    ours, igzip = settings.folder / "ours.tensorfile", settings.folder / "igzip.tensorfile"
    for workload in settings.workloads:
        spec = spec_of(workload, settings)
        make(spec, ours, "-m", BATCHES, network=workload.network)
        make(spec, igzip, "-m", BATCHES, network=workload.network, environment={"INT8CAL_NATIVE": "0"})
        ratios: dict[str, list[float]] = {name: [] for name in READERS}
        for _ in range(settings.repetitions):
            for name, found in ratios.items():
                found.append(plain_read("inflate", ours, name) / plain_read("inflate", igzip, name))
        size_ratio = round(ours.stat().st_size / igzip.stat().st_size, 3)
        medians = {name: round(median(found), 3) for name, found in ratios.items()}
        rows.append({"workload": workload.name, "size_ratio": size_ratio, "inflate_time_ratio": medians})
        remove(ours)
        remove(igzip)
    return rows


def table(rows: list[dict[str, Any]]) -> list[list[object]]:
    """For people."""
    head = ["data", "size, of igzip's", *(f"time of {name}" for name in READERS)]
    return [
        head,
        *(
            [row["workload"], f"{row['size_ratio']:.2f}x", *(f"{r:.2f}x" for r in row["inflate_time_ratio"].values())]
            for row in rows
        ),
    ]
