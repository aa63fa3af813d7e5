"""A command of the program as a process of its own, with the time and memory that it took, imports included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.memory import PEAK_MIB

SECONDS = 2.0
"""CPU that a refusal may take: what the threat-model page promises."""

MEBIBYTES = 200

_SCRIPT = (
    PEAK_MIB
    + """
import json, os, resource, sys
from int8cal.cli import main

facts = os.fdopen(int(sys.argv[1]), "w")
try:
    main(sys.argv[2:])
except SystemExit as ended:
    children_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    json.dump([ended.code, sum(os.times()[:4]), max(peak_mib(), children_mib)], facts)
    facts.close()
    raise
"""
)


class Measured(NamedTuple):
    """How a command ended, what it said, and what it took."""

    code: int
    said: str
    seconds: float
    mebibytes: float


def measure(*arguments: str | os.PathLike[str], cwd: Path) -> Measured:
    """Run the command line to its end, and measure it and its children. One that hangs is ended, and the test fails."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as facts:
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(writing), *map(os.fspath, arguments)],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=[writing],
            timeout=20,
            check=False,
        )
        os.close(writing)
        written = facts.read()
    assert written, f"the process ended with {done.returncode}: {done.stdout}"
    code, seconds, mebibytes = json.loads(written)
    assert done.returncode == code
    return Measured(code, done.stdout, seconds, mebibytes)


def assert_refused(code: int, *arguments: str | os.PathLike[str], cwd: Path) -> str:
    """The command ends with that code, within the time and memory that a hostile file may cost; what it said."""
    measured = measure(*arguments, cwd=cwd)
    assert measured.code == code, measured.said
    assert "Traceback" not in measured.said
    assert measured.seconds < SECONDS, measured.said
    assert measured.mebibytes < MEBIBYTES, measured.said
    return measured.said
