"""Quantising the demo's detector: does memory stay flat, and what do onnxruntime's own calibrators take and give?"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from helper import HERE, INT8CAL, PYTHON, Cost, Settings, make, remove, rounded, run, spec_of

from memory import with_sources

MODEL = HERE.parent / "src" / "int8cal" / "demo" / "models" / "detector.onnx"
METHODS = ("entropy", "minmax")


def measure(settings: Settings) -> list[dict[str, Any]]:
    """Cost at several numbers of images; at the smallest of them also that of ``quantize_static``, with its result."""
    spec = spec_of(settings.workloads[0], settings)
    tensor, out = settings.folder / "quantize.tensorfile", settings.folder / "int8.onnx"
    rows = []
    for batches in settings.quantize_batches:
        sources = -(-batches * settings.batch_size // settings.images)
        make(with_sources(spec, sources), tensor, "-m", str(batches))
        for method in METHODS:
            images = batches * settings.batch_size
            rows.append(_row("int8cal", method, images, _ours(tensor, out, method), _sqnr(out, tensor)))
            if batches == settings.quantize_batches[0]:
                cost = run(PYTHON, HERE / "ort_static.py", MODEL, tensor, out, method)
                rows.append(_row("quantize_static", method, images, cost, _sqnr(out, tensor)))
    remove(tensor)
    out.unlink()
    return rows


def _ours(tensor: Path, out: Path, method: str) -> Cost:
    command = ("quantize", MODEL, tensor, "-o", out, "--method", method, "--no_agreement", "--overwrite")
    return run(*INT8CAL, *command)


def _sqnr(int8: Path, tensor: Path) -> dict[str, float]:
    """SQNR of each output in dB, on the first images of the calibration file."""
    command = [*INT8CAL, "compare", MODEL, int8, tensor, "--max_images", "16", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, cwd=HERE.parent)
    return {output["name"]: output["sqnr_db"] for output in json.loads(done.stdout)["compare"]["outputs"]}


def _row(program: str, method: str, images: int, cost: Cost, sqnr: dict[str, float]) -> dict[str, Any]:
    return {"program": program, "method": method, "images": images, **rounded(cost), "sqnr_db": sqnr}


def table(rows: list[dict[str, Any]]) -> list[list[object]]:
    """For people."""
    names = list(rows[0]["sqnr_db"])
    return [
        ["program", "method", "images", "wall s", "peak MB", *(f"SQNR {name.partition('/')[0]}" for name in names)],
        *(
            [row["program"], row["method"], row["images"], round(row["wall"], 1), round(row["rss"])]
            + [f"{row['sqnr_db'][name]:.1f} dB" for name in names]
            for row in rows
        ),
    ]
