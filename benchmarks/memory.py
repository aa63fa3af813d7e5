"""Does memory stay flat however many batches are made?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from helper import Settings, make, remove, spec_of


def measure(settings: Settings) -> list[dict[str, Any]]:
    """Peak memory at several file lengths."""
    out = settings.folder / "ours.tensorfile"
    rows = []
    for workload in settings.detection:
        spec = spec_of(workload, settings)
        peaks = []
        for batches in settings.batches:
            sources = -(-batches * settings.batch_size // settings.images)
            peaks.append(round(make(with_sources(spec, sources), out, "-m", str(batches)).rss))
        remove(out)
        rows.append({"workload": workload.name, "batches": list(settings.batches), "peak_mb": peaks})
    return rows


def with_sources(spec: Path, count: int) -> Path:
    """The spec with its data source named ``count`` times, so that few pictures make a long file."""
    text = spec.read_text(encoding="utf-8")
    source = re.search(r"  data_sources \{.*?\n  \}\n", text, re.DOTALL)
    if source is None:
        raise SystemExit(f"{spec}: no data source")
    longer = spec.with_name(f"experiment_spec_{count}.txt")
    longer.write_text(text.replace(source[0], source[0] * count), encoding="utf-8")
    return longer


def table(rows: list[dict[str, Any]]) -> list[list[object]]:
    """For people."""
    return [
        ["data", *(f"peak MB at {batches} batches" for batches in rows[0]["batches"])],
        *([row["workload"], *row["peak_mb"]] for row in rows),
    ]
