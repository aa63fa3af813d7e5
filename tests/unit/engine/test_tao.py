"""The engine that runs NVIDIA's own command, against a stand-in that behaves as the real one is known to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from int8cal import networks
from int8cal.demo.dataset import make_dataset
from int8cal.engine import tao
from int8cal.errors import EngineFailedError, OutputExistsError, UnavailableError, UsageError
from int8cal.pipeline import make, plan
from int8cal.tensorfile import TensorFile

LAUNCHER = """\
#!{python}
# As NVIDIA's launcher does: its arguments become one unquoted line for a shell, which starts the command proper.
import subprocess, sys
if sys.argv[1:] == ["--help"]:
    print({help!r})
    sys.exit(0)
line = " ".join(["{command}"] + sys.argv[1:])
sys.exit(subprocess.run(line, shell=True).returncode)
"""

COMMAND = """\
#!{python}
import json, os, shutil, signal, sys, time
with open({log!r}, "w") as log:
    json.dump(sys.argv[1:], log)
mode = os.environ.get("FAKE_MODE", "good")
option = "--output_path" if "--output_path" in sys.argv else "--output"
out = sys.argv[sys.argv.index(option) + 1]
assert not os.path.exists(out), "NVIDIA's command refuses an existing file"
print("Writing calibration tensorfile", flush=True)
if mode == "hang":
    def ended(number, frame):
        open({log!r} + ".ended", "w").close()
        sys.exit(1)
    signal.signal(signal.SIGTERM, ended)
    open({log!r} + ".hangs", "w").close()
    time.sleep(60)
if mode == "garbage":
    open(out, "w").write("half a file")
elif mode != "nothing":
    shutil.copyfile(os.environ["FAKE_RESULT"], out)
print("\\x1b[31mTime taken\\x1b[0m", flush=True)
sys.exit(3 if mode == "fail" else 0)
"""


class Fake:
    """NVIDIA's programs in a folder that is all of PATH."""

    def __init__(self, folder, monkeypatch):
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.log = folder / "arguments.json"
        self.command = folder / "command.py"
        self._write(self.command, COMMAND.format(python=sys.executable, log=str(self.log)))
        monkeypatch.setenv("PATH", f"{self.bin}:/usr/bin:/bin")

    def install(self, name, help_text="usage: tao [-h] {list,stop,info,detectnet_v2,classification} ..."):
        self._write(self.bin / name, LAUNCHER.format(python=sys.executable, command=self.command, help=help_text))

    @staticmethod
    def _write(path, text):
        path.write_text(text)
        path.chmod(0o755)

    @property
    def arguments(self):
        return json.loads(self.log.read_text())


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return Fake(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """Six training and two validation pictures, two to a batch."""
    folder = tmp_path_factory.mktemp("streets") / "data"
    return make_dataset(folder, images=8, size=(48, 64), network_size=(48, 64), batch_size=2)


@pytest.fixture(scope="module")
def native(streets, tmp_path_factory):
    """The tensorfile that the command would make: batches → path."""
    folder = tmp_path_factory.mktemp("native")
    for batches in (1, 2):
        make(plan(streets.spec, max_batches=batches), folder / str(batches))
    return folder


@pytest.fixture
def two_batches(streets, native, monkeypatch):
    monkeypatch.setenv("FAKE_RESULT", str(native / "2"))
    return plan(streets.spec, max_batches=2)


def test_direct_command(fake, two_batches, tmp_path):
    fake.install("detectnet_v2")
    out = tmp_path / "with space & $(touch PWNED)" / "c.tensor"
    manifest = make(two_batches, out, engine="tao")
    task, *options = fake.arguments
    assert task == "calibration_tensorfile"
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert list(given) == ["--experiment_spec_file", "--output_path", "--max_batches"]
    assert given["--max_batches"] == "2"
    assert "with space" not in " ".join(options)  # only safe paths are handed over
    assert manifest.facts["arithmetic"]["evidence"] == "reference"
    with TensorFile(out) as file:
        assert len(file) == 2
    assert {path.name for path in out.parent.iterdir()} == {"c.tensor", "c.tensor.json"}
    assert not list(tmp_path.rglob("PWNED"))


def test_the_spec_that_is_handed_over_is_the_plans(fake, two_batches, tmp_path, monkeypatch):
    keeper = '#!/bin/sh\ncp "$3" ' + str(tmp_path / "spec.txt") + f'\nexec {fake.command} "$@"\n'
    Fake._write(fake.bin / "detectnet_v2", keeper)
    make(two_batches, tmp_path / "c.tensor", engine="tao")
    assert (tmp_path / "spec.txt").read_bytes() == two_batches.origin.document.to_bytes()


def test_validation_split(fake, streets, native, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_RESULT", str(native / "1"))
    fake.install("detectnet_v2")
    make(plan(streets.spec, max_batches=1, split="validation"), tmp_path / "c.tensor", engine="tao")
    assert fake.arguments[-1] == "--use_validation_set"


@pytest.mark.parametrize(
    ("help_text", "words"),
    [
        ("usage: tao [-h] {list,stop,info,dataset,deploy,model} ...", ["model", "detectnet_v2"]),
        ("usage: tao [-h] {list,stop,info,augment,detectnet_v2} ...", ["detectnet_v2"]),
    ],
    ids=["TAO 5", "TAO 3 and 4"],
)
def test_launcher(fake, two_batches, tmp_path, help_text, words):
    fake.install("tao", help_text)
    make(two_batches, tmp_path / "c.tensor", engine="tao")
    assert fake.arguments[: len(words) + 1] == [*words, "calibration_tensorfile"]


def test_command_goes_before_launcher(fake):
    fake.install("tao")
    fake.install("detectnet_v2")
    assert tao.find_program(networks.get("detectnet_v2").reference_command)[0] == str(fake.bin / "detectnet_v2")


@pytest.mark.parametrize("name", ["classification", "classification_tf1"])
def test_classification_has_its_own_spelling(fake, name):
    fake.install(name)
    command = networks.get("classification").reference_command
    assert tao.find_program(command) == [str(fake.bin / name), "calibration_tensorfile"]
    assert (command.spec_option, command.output_option) == ("--experiment_spec", "--output")


def test_not_installed(fake, two_batches, tmp_path):
    with pytest.raises(UnavailableError, match="none of detectnet_v2, tao is on PATH") as caught:
        make(two_batches, tmp_path / "c.tensor", engine="tao")
    assert caught.value.exit_code == 8
    assert not list(tmp_path.glob("c.*"))


def test_network_without_the_command(fake, two_batches, tmp_path):
    from dataclasses import replace

    other = replace(two_batches, origin=replace(two_batches.origin, network=networks.get("ssd")))
    with pytest.raises(UnavailableError, match="no calibration_tensorfile command for ssd") as caught:
        make(other, tmp_path / "c.tensor", engine="tao")
    assert caught.value.exit_code == 8
    assert "classification and detectnet_v2" in caught.value.hint


@pytest.mark.parametrize("options", [{"seed": 7}, {"batch_size": 3}])
def test_what_the_command_has_no_option_for(fake, streets, tmp_path, options):
    fake.install("detectnet_v2")
    with pytest.raises(UsageError, match=f"no option {next(iter(options))}"):
        make(plan(streets.spec, max_batches=1, **options), tmp_path / "c.tensor", engine="tao")


def test_skipping_is_refused(two_batches, tmp_path):
    with pytest.raises(UsageError, match="the engine tao has no option max_skipped"):
        make(two_batches, tmp_path / "c.tensor", engine="tao", on_bad_image="skip", max_skipped=1)


@pytest.mark.parametrize(
    ("mode", "message", "code"),
    [
        ("fail", "failed with exit code 3", 3),
        ("garbage", "made no sound tensorfile", 0),
        ("nothing", "made no sound tensorfile", 0),
    ],
)
def test_failure(fake, two_batches, tmp_path, monkeypatch, mode, message, code):
    monkeypatch.setenv("FAKE_MODE", mode)
    fake.install("detectnet_v2")
    out = tmp_path / "c.tensor"
    with pytest.raises(EngineFailedError, match=message) as caught:
        make(two_batches, out, engine="tao", record={"component": {"edits": []}})
    assert caught.value.exit_code == 9
    record = json.loads((tmp_path / "c.tensor.json").read_text())
    assert record["run"]["exit_code"] == code
    assert message in record["error"]["message"]
    assert record["component"] == {"edits": []}
    assert not out.exists()
    monkeypatch.setenv("FAKE_MODE", "good")  # and the record of the failure does not stand in the way
    make(two_batches, out, engine="tao")
    assert "error" not in json.loads((tmp_path / "c.tensor.json").read_text())


def test_too_few_batches(fake, two_batches, native, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_RESULT", str(native / "1"))
    fake.install("detectnet_v2")
    with pytest.raises(EngineFailedError, match=r"is \(1, 2, 3, 48, 64\).*not \(2, 2, 3, 48, 64\)"):
        make(two_batches, tmp_path / "c.tensor", engine="tao")


def test_existing_output_is_kept(fake, two_batches, tmp_path):
    fake.install("detectnet_v2")
    (tmp_path / "c.tensor").write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        make(two_batches, tmp_path / "c.tensor", engine="tao")
    assert (tmp_path / "c.tensor").read_bytes() == b"precious"
    assert not fake.log.exists()


def test_unsafe_scratch_folder_is_not_handed_over(fake, two_batches, tmp_path):
    fake.install("detectnet_v2")
    scratch = tmp_path / "a b; touch PWNED"
    scratch.mkdir()
    make(two_batches, tmp_path / "c.tensor", engine="tao", scratch_dir=str(scratch))
    assert not any("PWNED" in argument for argument in fake.arguments)


def test_output_is_streamed_to_the_log(fake, two_batches, tmp_path, caplog):
    fake.install("detectnet_v2")
    with caplog.at_level("INFO", logger="int8cal"):
        make(two_batches, tmp_path / "c.tensor", engine="tao")
    assert "Writing calibration tensorfile" in caplog.messages


def test_launcher_that_cannot_be_started(fake, two_batches, tmp_path):
    Fake._write(fake.bin / "detectnet_v2", "no program")
    with pytest.raises(UnavailableError, match="cannot be started"):
        make(two_batches, tmp_path / "c.tensor", engine="tao")


def test_termination_is_passed_on(fake, streets, tmp_path):
    fake.install("detectnet_v2")
    out = tmp_path / "out" / "c.tensor"
    command = [sys.executable, "-m", "int8cal", "detectnet_v2", "calibration_tensorfile", "-m", "2", "--engine", "tao"]
    with subprocess.Popen(
        [*command, "-e", streets.spec, "-o", out],
        env={**os.environ, "FAKE_MODE": "hang", "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(Path(f"{fake.log}.hangs"))
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Writing calibration tensorfile" in stderr
    wait_for(Path(f"{fake.log}.ended"))
    assert not out.parent.exists()
    assert not list(tmp_path.glob("int8cal-tao-*"))


def wait_for(path, seconds=20.0):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)
