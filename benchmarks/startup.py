"""What does starting the command cost over starting Python?"""

from __future__ import annotations

from statistics import median
from typing import Any

from helper import INT8CAL, PYTHON, Settings, run


def measure(settings: Settings) -> list[dict[str, Any]]:
    """CPU seconds of ``int8cal --help`` and of an empty program, taking turns."""
    pairs = [(run(PYTHON, "-c", "pass").cpu, run(*INT8CAL, "--help").cpu) for _ in range(settings.startup_rounds)]
    bare, helped = (median(values) for values in zip(*pairs, strict=True))
    return [{"bare_python": round(bare, 3), "int8cal_help": round(helped, 3), "difference": round(helped - bare, 3)}]


def table(rows: list[dict[str, Any]]) -> list[list[object]]:
    """For people."""
    row = rows[0]
    return [
        ["CPU s of python -c pass", "of int8cal --help", "difference", "(target)"],
        [row["bare_python"], row["int8cal_help"], row["difference"], 0.15],
    ]
