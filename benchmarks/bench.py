"""Run the benchmarks and print their tables: ``make bench``.

    python benchmarks/bench.py [QUESTION …] [--quick] [--earlier SRC] [--json FILE]

Everything is measured in one run on one machine, the programs taking turns, and reported as medians: the ratios are
the result, the absolute figures say what machine it was. Nothing here fails because it is slow.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import earlier
import quantize
import readers
import speed
import stages
import startup
import threads
from helper import PYTHON, QUICK_WORKLOADS, WORKLOADS, Settings, machine, print_table, run

import memory

QUESTIONS = {
    "speed": speed,
    "stages": stages,
    "readers": readers,
    "threads": threads,
    "memory": memory,
    "startup": startup,
    "quantize": quantize,
    "earlier": earlier,
}


def main() -> None:
    """Measure, print, write."""
    arguments = _arguments()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory(prefix="int8cal-bench-", dir=arguments.folder) as folder:
        settings = _settings(Path(folder), quick=arguments.quick, repetitions=arguments.repetitions)
        if arguments.earlier:
            run(PYTHON, "-m", "compileall", "-q", arguments.earlier)
            settings = replace(settings, earlier=arguments.earlier)
        result |= {"images": settings.images, "repetitions": {}}
        print(f"{machine()['processor']}, {machine()['cores']} cores, Python {machine()['python']}")
        print(f"{settings.images} images each, {settings.repetitions} repetitions, medians")
        for name in arguments.questions or QUESTIONS:
            rows = QUESTIONS[name].measure(settings)
            if not rows:
                continue
            result[name] = rows
            result["repetitions"][name] = settings.repetitions
            print(f"\n{QUESTIONS[name].__doc__.splitlines()[0]}")
            print_table(QUESTIONS[name].table(rows))
    result["load_after"] = os.getloadavg()[0]
    if arguments.json:
        if arguments.questions and arguments.json.exists():
            result = _with_others(result, json.loads(arguments.json.read_text(encoding="utf-8")))
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"\n{arguments.json}")


def _with_others(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The answers of a file to questions that were not asked again, of the same machine and number of images."""
    if any(new[part] != old[part] for part in ("machine", "images")):
        return new
    return old | new | {"repetitions": old["repetitions"] | new["repetitions"], "load_before": old["load_before"]}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"some of: {', '.join(QUESTIONS)}")
    parser.add_argument("--quick", action="store_true", help="tiny data, once: to see that the benchmarks work")
    parser.add_argument("--repetitions", type=int, help="of each measurement (3)")
    parser.add_argument("--folder", type=Path, help="where data and output go (the system's temporary folder)")
    parser.add_argument("--earlier", type=Path, metavar="SRC", help="folder src of an earlier commit, to compare with")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures here, too; answers to other questions stay"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.questions) - set(QUESTIONS)
    if unknown:
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    return arguments


def _settings(folder: Path, *, quick: bool, repetitions: int | None) -> Settings:
    if quick:
        return Settings(QUICK_WORKLOADS, 4, 2, repetitions or 1, 1, (1, 4), (1, 2), folder)
    return Settings(WORKLOADS, 144, 16, repetitions or 3, 21, (10, 50, 100), (2, 8, 32), folder)


if __name__ == "__main__":
    main()
