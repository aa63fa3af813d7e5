"""Runs that are ended from outside, at any moment, or that the disk ends: nothing half done has the final name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from int8cal.demo.dataset import make_dataset
from int8cal.demo.evaluate import CLASSIFIER

COMMAND = ("detectnet_v2", "calibration_tensorfile")

AT_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from int8cal.cli import main
main(sys.argv[2:])
"""

AT_NAMING = """
import os, signal, sys
real = os.link
def link(source, target, **options):
    real(source, target, **options)
    if target.endswith(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGTERM)
os.link = link
from int8cal.cli import main
main(sys.argv[2:])
"""


IN_A_LIBRARY = """
import ctypes, os, signal, threading
import onnxruntime
from int8cal.cli import main
def computes(*_):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):  # the second call waits for itself, which no signal interrupts
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
onnxruntime.InferenceSession.run = computes
main()
"""


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", ["click", "numpy", "h5py"])
def test_signal_while_modules_are_imported(tiny_dataset, tmp_path, module):
    done = run(AT_IMPORT, module, *COMMAND, "-e", tiny_dataset.spec, "-o", tmp_path / "out")
    assert done.returncode == 130
    assert done.stderr.splitlines() in (
        ["int8cal: interrupted"],
        ["int8cal: interrupted; nothing was left under the final name"],
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["out.json", "out"])
def test_signal_while_names_are_given(tiny_dataset, tmp_path, name):
    out = tmp_path / "out"
    done = run(AT_NAMING, name, *COMMAND, "-e", tiny_dataset.spec, "-o", out)
    assert done.returncode == 143
    assert done.stderr == f"int8cal: terminated; {out} is complete\n"
    assert sorted(os.listdir(tmp_path)) == ["out", "out.json"]


def test_commands_that_write_nothing_speak_of_no_file(tiny_dataset):
    done = run(AT_IMPORT, "h5py", "detectnet_v2", "plan", "-e", tiny_dataset.spec)
    assert (done.returncode, done.stderr) == (130, "int8cal: interrupted\n")


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Path:
    """Of pictures that take some seconds."""
    return make_dataset(tmp_path_factory.mktemp("larger") / "data", images=64).spec


@pytest.mark.extended
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scratch", [False, True])
def test_killed_at_any_moment(spec, tmp_path, run_cli, scratch):
    """30 moments spread over the run: never a file under the final name that is not complete; the next run is clean."""
    reference = tmp_path / "reference" / "out"
    started = time.monotonic()
    assert run_cli(*COMMAND, "-e", spec, "-o", reference).code == 0
    seconds = time.monotonic() - started
    folder = tmp_path / "target"
    options = ["--scratch_dir", tmp_path / "scratch"] if scratch else []
    command = [*COMMAND, "-e", spec, "-o", folder / "out", *options]
    finished = 0
    for moment in range(30):
        child = subprocess.Popen(
            [sys.executable, "-m", "int8cal", *map(os.fspath, command)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds * moment / 29)
        child.send_signal(signal.SIGKILL)
        child.wait()
        if (folder / "out").exists():  # only when it was complete
            finished += 1
            assert (folder / "out").read_bytes() == reference.read_bytes()
            assert (folder / "out.json").exists()
            (folder / "out").unlink()
    assert finished < 20  # most of the moments were within the run
    done = run_cli(*command)
    assert done.code == 0, done.stderr
    assert (folder / "out").read_bytes() == reference.read_bytes()
    assert sorted(os.listdir(folder)) == ["out", "out.json"]
    assert not scratch or os.listdir(tmp_path / "scratch") == []


def _file_size_limit(folder: Path, kib: int, command: str) -> str:
    return f"ulimit -f {kib}; {command}"


def _small_disk(folder: Path, kib: int, command: str) -> str:
    mounted = f"mount -t tmpfs -o size={kib}k tmpfs {folder} && {command}; code=$?; ls -A {folder}; exit $code"
    return f"unshare --map-root-user --mount sh -c '{mounted}'"


def _may_mount() -> bool:
    """Whether this user may mount in a name space of its own, as most may outside of containers."""
    try:
        tried = subprocess.run(
            ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return False
    return tried.returncode == 0


@pytest.mark.extended
@pytest.mark.parametrize(
    ("full", "hint"),
    [(_file_size_limit, "ulimit -f"), *([(_small_disk, "Check free space")] if _may_mount() else [])],
)
def test_disk_that_is_full_in_the_middle(tiny_dataset, tmp_path, full, hint):
    raw = 2 * 4 * 3 * 96 * 160 * 4  # bytes: enough for the check before the work, too little for the file around them
    command = f"{sys.executable} -m int8cal {' '.join(COMMAND)} -m 2 --compression none -e {tiny_dataset.spec}"
    done = subprocess.run(
        ["bash", "-c", full(tmp_path, raw // 1024 + 4, f"{command} -o {tmp_path}/out")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert done.stdout == ""  # nor is anything left on the small disk
    assert len(done.stderr.splitlines()) == 2
    assert hint in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_signal_ends_a_library_that_computes_on_and_on(tmp_path: Path) -> None:
    """Python itself would hear it only when the library is done."""
    np.save(tmp_path / "images.npy", np.zeros((4, 3, 64, 64), np.float32))
    before = sorted(os.listdir(tmp_path))
    started = time.monotonic()
    done = run(IN_A_LIBRARY, "quantize", CLASSIFIER, tmp_path / "images.npy", "-o", tmp_path / "int8.onnx")
    assert done.returncode == 143
    assert done.stderr.splitlines() == ["int8cal: terminated"]
    assert sorted(os.listdir(tmp_path)) == before
    assert time.monotonic() - started < 10
