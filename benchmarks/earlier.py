"""Against an earlier commit: what do reading, verify, quantize and export take now?

Only asked with ``--earlier SRC``, the folder ``src`` of that commit. Both programs run in the same environment, on
files that they made themselves from the same images, and take turns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helper import INT8CAL, PYTHON, Cost, Settings, make, median_cost, remove, rounded, run, spec_of
from quantize import MODEL

from memory import with_sources

_READ = "import sys, int8cal\nfor batch in int8cal.TensorFile(sys.argv[1]): pass"
_QUANTIZE = ("quantize", MODEL, "{file}", "-o", "{out}.onnx", "--no_agreement", "--overwrite", "--method")
TASKS: dict[str, tuple[str | Path, ...]] = {
    "read": (PYTHON, "-c", _READ, "{file}"),
    "verify": (*INT8CAL, "verify", "{file}"),
    "quantize, entropy": (*INT8CAL, *_QUANTIZE, "entropy"),
    "quantize, auto": (*INT8CAL, *_QUANTIZE, "auto"),
    "export to npz": (*INT8CAL, "export", "{file}", "--to", "npz", "-o", "{out}.npz", "--overwrite"),
}
NEW = ("quantize, auto",)
"""What the earlier commit may not have: measured now alone."""
TARGETS = {"read": 2.0, "verify": 2.5, "quantize, entropy": 1.6}
"""Of the ratio of wall times, but of CPU times for reading."""


def measure(settings: Settings) -> list[dict[str, Any]]:
    """One row per task."""
    if settings.earlier is None:
        return []
    sources = {"earlier": settings.earlier, "now": None}
    batches = settings.quantize_batches[-1]
    spec = with_sources(spec_of(settings.workloads[0], settings), -(-batches * settings.batch_size // settings.images))
    files = {name: settings.folder / f"{name}.tensorfile" for name in sources}
    for name, file in files.items():
        make(spec, file, "-m", str(batches), source=sources[name])
    rows = []
    for task, words in TASKS.items():
        costs: dict[str, list[Cost]] = {name: [] for name in sources if name == "now" or task not in NEW}
        for _ in range(settings.repetitions):
            for name, found in costs.items():
                out = settings.folder / "made"
                command = [str(word).format(file=files[name], out=out) for word in words]
                found.append(run(*command, source=sources[name]))
                for made in out.parent.glob("made.*"):
                    made.unlink()
        medians = {name: median_cost(found) for name, found in costs.items()}
        rows.append({"task": task, "images": batches * settings.batch_size} | _row(medians))
    for file in files.values():
        remove(file)
    return rows


def _row(medians: dict[str, Cost]) -> dict[str, Any]:
    row: dict[str, Any] = {name: rounded(cost) for name, cost in medians.items()}
    if "earlier" in medians:
        before, now = medians["earlier"], medians["now"]
        row["cpu_ratio"] = round(before.cpu / now.cpu, 2)
        row["wall_ratio"] = round(before.wall / now.wall, 2)
    return row


def table(rows: list[dict[str, Any]]) -> list[list[object]]:
    """For people."""
    head = ["command", "images", "wall s", "now", "ratio", "CPU s", "now", "ratio", "(target)", "peak MB", "now"]
    return [head, *map(_cells, rows)]


def _cells(row: dict[str, Any]) -> list[object]:
    before, now = row.get("earlier"), row["now"]
    cells: list[object] = [row["task"], row["images"]]
    for part in ("wall", "cpu"):
        cells += [round(before[part], 1) if before else "", round(now[part], 1)]
        cells.append(f"{row[f'{part}_ratio']}x" if before else "")
    target = TARGETS.get(row["task"], "")
    return [*cells, target, round(before["rss"]) if before else "", round(now["rss"])]
