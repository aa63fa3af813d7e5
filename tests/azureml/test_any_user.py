"""The component's program runs as root and as a user that the system does not know, and writes nowhere else.

Azure ML starts containers as root, Kubernetes often as a random user without home, entry in ``/etc/passwd`` or groups.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import int8cal

pytestmark = [pytest.mark.extended, pytest.mark.timeout(300)]

UNKNOWN = "54321"
AS_USER = {
    "root": [],
    "unknown": ["setpriv", "--reuid", UNKNOWN, "--regid", UNKNOWN, "--clear-groups", "--no-new-privs", "--"],
}
"""Who is not root can be nobody else: then both are the user of the tests."""


@pytest.fixture
def place(streets) -> Iterator[Path]:
    """A folder that everybody may look into; those of pytest are the user's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(streets.root, folder / "in", copy_function=shutil.copyfile)
        for made in ("specs", "home", "cwd", "tmp", "out"):
            (folder / made).mkdir()
        text = streets.spec.read_text(encoding="utf-8").replace(str(streets.root), "/data")
        (folder / "specs" / "spec.txt").write_text(text, encoding="utf-8")
        yield folder


def state(place: Path) -> dict[str, tuple[int, int, int]]:
    """All but the output and the temporary folder."""
    return {
        str(path): (found.st_mode, found.st_size, found.st_mtime_ns)
        for path in sorted(place.rglob("*"))
        if path.relative_to(place).parts[0] not in ("out", "tmp")
        for found in [path.lstat()]
    }


@pytest.mark.parametrize("user", AS_USER)
def test_it_writes_to_the_output_and_the_temporary_folder(place, user):
    is_root = os.geteuid() == 0
    if is_root and user == "unknown":
        for writable in ("out", "tmp"):
            os.chown(place / writable, int(UNKNOWN), int(UNKNOWN))
    before = state(place)
    inputs = {
        "model_app_name": "app",
        "training_data_dir": place / "in" / "training",
        "specfile_reference_training_data_dir": "/data/training",
        "training_tf_records_dir": place / "in" / "tfrecords",
        "specfile_reference_training_tf_records_dir": "/data/tfrecords",
        "original_specs": place / "specs",
        "specs_file": "spec.txt",
        "max_batches": "2",
        "output_dir": place / "out",
    }
    done = subprocess.run(
        [*(AS_USER[user] if is_root else []), sys.executable, "-m", "int8cal", "component", "--inputs_from", "-"],
        input="".join(f"{name}={value}\n" for name, value in inputs.items()),
        text=True,
        capture_output=True,
        check=False,
        cwd=place / "cwd",
        env={"PATH": "/usr/bin:/bin", "HOME": str(place / "home"), "TMPDIR": str(place / "tmp")},
    )
    assert (done.returncode, "warning" in done.stderr.lower()) == (0, False), done.stderr
    assert state(place) == before
    assert list((place / "tmp").iterdir()) == []
    with int8cal.TensorFile(place / "out" / "app" / "experiment_dir_final" / "calibration.tensor") as file:
        assert len(file) == 2
    owners = {path.stat().st_uid for path in (place / "out").rglob("*")}
    assert owners == {int(UNKNOWN) if is_root and user == "unknown" else os.geteuid()}
