"""A command of the program in a process of its own, with the time and memory that it took.

The process is a fork of one that has imported what commands need: memory is measured with these imports, time without.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.memory import PEAK_MIB

SECONDS = 2.0
"""CPU that a refusal may take: what the threat-model page promises."""

MEBIBYTES = 200
_HANG_SECONDS = 20

_SERVER = (
    PEAK_MIB
    + """
import json, os, resource, sys

import h5py, onnx, onnxruntime
import int8cal.check.verify, int8cal.cli.quantize, int8cal.exports.formats
import int8cal.models.quantize, int8cal.report.build
from int8cal.cli import main


def run(arguments, folder, log):
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    said = os.open(f"{log}/said", os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    code = "no exit"
    try:
        main(arguments)
    except SystemExit as ended:
        code = ended.code
        sys.stdout.flush()
    finally:
        children_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        with open(f"{log}/facts", "w") as facts:
            json.dump([code, sum(os.times()[:4]), max(peak_mib(), children_mib)], facts)
        os._exit(0)


for line in sys.stdin:
    child = os.fork()
    if not child:
        run(*json.loads(line))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)


class Measured(NamedTuple):
    """How a command ended, what it said, and what it took."""

    code: int
    said: str
    seconds: float
    mebibytes: float


@functools.cache
def _server() -> subprocess.Popen[bytes]:
    started = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # as the command line has it before it imports NumPy
    )
    atexit.register(lambda: (started.kill(), started.wait()))
    return started


def measure(*arguments: str | os.PathLike[str], cwd: Path) -> Measured:
    """Run the command line to its end, and measure it and its children. One that hangs is ended, and the test fails."""
    server = _server()
    assert server.stdin
    assert server.stdout
    with tempfile.TemporaryDirectory() as log:
        request = [[os.fspath(argument) for argument in arguments], str(cwd), log]
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        child = int(server.stdout.readline())
        ended, _, _ = select.select([server.stdout], [], [], _HANG_SECONDS)
        if not ended:
            os.kill(child, signal.SIGKILL)
        status = int(server.stdout.readline())
        said = Path(log, "said").read_text(errors="replace")
        assert ended, f"no end after {_HANG_SECONDS} s: {said}"
        assert status == 0, f"the process ended with {status}: {said}"
        code, seconds, mebibytes = json.loads(Path(log, "facts").read_text())
    return Measured(code, said, seconds, mebibytes)


def assert_refused(code: int, *arguments: str | os.PathLike[str], cwd: Path) -> str:
    """The command ends with that code, within the time and memory that a hostile file may cost; what it said."""
    measured = measure(*arguments, cwd=cwd)
    assert measured.code == code, measured.said
    assert "Traceback" not in measured.said
    assert measured.seconds < SECONDS, measured.said
    assert measured.mebibytes < MEBIBYTES, measured.said
    return measured.said
