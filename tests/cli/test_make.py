"""The main job as users run it: real processes on a small data set of our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.unit.check.files import write_like_tao

import int8cal
from int8cal.tensorfile import TensorFile

COMMAND = ("detectnet_v2", "calibration_tensorfile")


def tensorfile(done, out: Path) -> bytes:
    assert done.code == 0, done.stderr
    return out.read_bytes()


@pytest.fixture
def make(run_cli, tiny_dataset, tmp_path):
    """Run the main job on the tiny data set and return (finished process, output path)."""

    def run(*options: object, out: Path | None = None, **kwargs):
        out = out or tmp_path / "out"
        return run_cli(*COMMAND, "-e", tiny_dataset.spec, "-o", out, *map(str, options), **kwargs), out

    return run


def test_summary_and_record(make, tiny_dataset):
    done, out = make("-m", 2)
    assert done.code == 0, done.stderr
    assert done.stderr == ""
    assert "2 of 4 images, 3 x 96 x 160 float32" in done.stdout
    assert "detectnet_v2.mode0 (bit-exact)" in done.stdout
    record = json.loads(Path(f"{out}.json").read_text())
    assert record["batches"] == 2
    assert record["run"]["spec"] == str(tiny_dataset.spec)
    with TensorFile(out) as file:
        assert record["manifest"] == file.manifest
        assert len(file.samples) == 8


def test_nothing_of_this_machine_is_inside(make, tiny_dataset, tmp_path):
    _, out = make("-m", 2, out=tmp_path / "my-own-folder" / "out")
    with h5py.File(out) as file:
        assert os.uname().nodename not in file.attrs["int8cal"].decode().split('"')
    content = out.read_bytes()
    assert str(tiny_dataset.root).encode() not in content
    assert str(out.parent).encode() not in content


def test_same_bytes_whatever_the_workers_the_folder_and_the_day(make, tmp_path):
    reference = None
    for workers in (1, 2, 8):
        done, out = make("--workers", workers, out=tmp_path / str(workers) / "out")
        reference = reference or tensorfile(done, out)
        assert tensorfile(done, out) == reference
    # Two seconds later, and from another working directory.
    time.sleep(2)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done, out = make(out=tmp_path / "later", cwd=elsewhere)
    assert tensorfile(done, out) == reference


def test_same_bytes_under_a_clock_a_day_ahead(make, tiny_dataset, tmp_path):
    done, out = make()
    program = (
        "import sys, time\n"
        "real = time.time\n"
        "time.time = lambda: real() + 86400\n"
        "import datetime\n"
        "class Ahead(datetime.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, zone=None):\n"
        "        return datetime.datetime.fromtimestamp(real() + 86400, zone)\n"
        "sys.modules['datetime'].datetime = Ahead\n"
        "from int8cal.cli import main\n"
        f"main({[*COMMAND, '-e', str(tiny_dataset.spec), '-o', str(tmp_path / 'ahead')]!r})\n"
    )
    ahead = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ahead.returncode == 0, ahead.stderr
    started = [json.loads(Path(f"{path}.json").read_text())["run"]["started"] for path in (out, tmp_path / "ahead")]
    assert started[0][:10] != started[1][:10]
    assert (tmp_path / "ahead").read_bytes() == tensorfile(done, out)


@pytest.mark.parametrize(
    "words",
    [
        ("model", "detectnet_v2", "calibration_tensorfile"),
        ("calibration_tensorfile",),
        ("detectnet_v2", "calibration-tensorfile"),
    ],
)
def test_other_spellings_of_the_command(run_cli, make, tiny_dataset, tmp_path, words):
    reference = tensorfile(*make("-m", 1))
    out = tmp_path / "other"
    done = run_cli(*words, "--experiment-spec-file", tiny_dataset.spec, "--output-path", out, "--max-batches", "1")
    assert tensorfile(done, out) == reference


def test_launcher_options(make, tmp_path):
    log = tmp_path / "logs" / "run.log"
    done, _ = make("--gpus", 1, "--gpu_index", 0, "-np", 1, "--log_file", log, "-m", 1)
    assert done.code == 0
    assert done.stderr.count("\n") == 1
    assert "no effect" in done.stderr
    assert log.exists()
    for refused in (["--gpus", 2], ["--use_amp"], ["-np", 4]):
        assert make(*refused, out=tmp_path / "refused")[0].code == 2


def test_seed_and_batch_size_override_the_spec(make, tmp_path):
    make(out=tmp_path / "a")
    _, out = make("--seed", 7, "--batch_size", 3, out=tmp_path / "b")
    with TensorFile(tmp_path / "a") as first, TensorFile(out) as second:
        assert (len(first), first.shape[0]) == (2, 4)
        assert (len(second), second.shape[0]) == (3, 3)
        assert second.manifest["seed"] == 7
        assert first.manifest["spec_sha256"] == second.manifest["spec_sha256"]
        assert first.manifest["plan_sha256"] != second.manifest["plan_sha256"]
        assert list(first.samples["frame_id"][:3]) != list(second.samples["frame_id"][:3])


def test_plan_says_what_the_run_does(run_cli, make, tiny_dataset):
    _, out = make("-m", 2)
    done = run_cli("detectnet_v2", "plan", "-e", tiny_dataset.spec, "-m", "2", "--json")
    plan = json.loads(done.stdout)["plan"]
    with TensorFile(out) as file:
        assert plan["plan_sha256"] == file.manifest["plan_sha256"]
        assert [sample["frame_id"].encode() for sample in plan["samples"]] == list(file.samples["frame_id"])
        assert plan["shape"] == list(file.shape)
        assert plan["bytes"] == file.nbytes
    assert plan["missing"] == []


def test_compressions_hold_the_same_values(make, tmp_path):
    values = {}
    sizes = {}
    for name in ("fast", "small", "none"):
        _, out = make("--compression", name, "-m", 1, out=tmp_path / name)
        with TensorFile(out) as file:
            values[name] = file[0].tobytes()
        with h5py.File(out) as file:
            sizes[name] = file["_tensorfile_array_key__0/_tensorfile_array_key_"].id.get_storage_size()
    assert values["fast"] == values["small"] == values["none"]
    assert sizes["small"] <= sizes["fast"] < sizes["none"]


def test_output_exists(make):
    _, out = make("-m", 1)
    before = out.read_bytes()
    done, _ = make("-m", 2)
    assert done.code == 5
    assert "already exists" in done.stderr
    assert "--overwrite" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert out.read_bytes() == before
    done, _ = make("-m", 2, "--overwrite")
    assert done.code == 0
    assert out.read_bytes() != before


def test_foreign_json_beside_the_output_is_kept(make, tmp_path):
    beside = tmp_path / "out.json"
    beside.write_text('{"mine": true}')
    done, out = make("-m", 1)
    assert done.code == 5
    assert beside.read_text() == '{"mine": true}'
    assert not out.exists()


def test_bare_file_name(make, tmp_path):
    done, _ = make("-m", 1, out=Path("bare"))
    assert done.code == 0
    assert (tmp_path / "bare").exists()


def test_read_only_folder(make):
    done, _ = make("-m", 1, out=Path("/proc/int8cal/out"))  # read-only for root, too
    assert done.code == 5
    assert "/proc/int8cal/out: cannot write here" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def run_with_small_files(limit, *words):
    """The command in a process whose files cannot grow beyond some bytes, as on a disk that becomes full."""
    program = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from int8cal.cli import main\n"
        f"main({[*map(str, words)]!r})\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_really_failing_write(tiny_dataset, tmp_path):
    done = run_with_small_files(100_000, *COMMAND, "-e", tiny_dataset.spec, "-o", tmp_path / "full")
    assert done.returncode == 5, done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert f"{tmp_path / 'full'}: cannot write the tensorfile: File too large" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("form", ["raw", "npy", "npz", "tensorfile"])
def test_really_failing_write_of_an_export(tiny_dataset, tmp_path, form):
    int8cal.make(int8cal.plan(tiny_dataset.spec, max_batches=1), tmp_path / "it.tensor")
    there = sorted(os.listdir(tmp_path))
    done = run_with_small_files(5_000, "export", tmp_path / "it.tensor", "--to", form, "-o", tmp_path / "full")
    assert done.returncode == 5, done.stderr
    assert "File too large" in done.stderr
    assert sorted(os.listdir(tmp_path)) == there


@pytest.mark.parametrize(
    ("number", "code", "how"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "hung up")],
)
def test_signals_end_it_cleanly(tiny_dataset, tmp_path, number, code, how):
    # The images are pipes' ends of time: a slow arithmetic keeps the run busy until the signal comes.
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # the tests may run under nohup
        "from int8cal.engine import work\n"
        "real = work.ChunkWork.__call__\n"
        "def slow(self, sample):\n"
        "    time.sleep(0.5)\n"
        "    return real(self, sample)\n"
        "work.ChunkWork.__call__ = slow\n"
        "from int8cal.cli import main\n"
        f"main({[*COMMAND, '-e', str(tiny_dataset.spec), '-o', str(tmp_path / 'out'), '--workers', '1']!r})\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / ".out.part").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    sent = time.monotonic()
    child.send_signal(number)
    _, stderr = child.communicate(timeout=30)
    assert time.monotonic() - sent < 2
    assert child.returncode == code
    assert stderr.splitlines() == [f"int8cal: {how}; nothing was left under the final name"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (["-m", "0"], "0 batches"),
        (["-m", "-2"], "-2 batches"),
        (["-m", "two"], "two"),
        (["--workers", "0"], "workers cannot be 0"),
        (["--seed", "-1"], "seed -1"),
        (["--batch_size", "0"], "0 images"),
        (["--on_bad_image", "skip"], "--max_skipped"),
        (["--max_skipped", "3"], "--on_bad_image skip"),
        (["--max_skipped", "-1"], "max_skipped cannot be -1"),
        (["--on_bad_image", "skip", "--max_skipped", "-1"], "max_skipped cannot be -1"),
        (["--engine", "warp"], "warp"),
        (["--compression", "zstd"], "zstd"),
        (["--no_such_option"], "no_such_option"),
    ],
)
def test_wrong_command_lines(make, tmp_path, options, fact):
    done, _ = make(*options)
    assert done.code == 2
    assert fact in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert os.listdir(tmp_path) == []


def test_unknown_command(run_cli):
    done = run_cli("detectnet", "calibration_tensorfile")
    assert done.code == 2
    assert "detectnet" in done.stderr


def test_batches_that_are_not_there(make, tmp_path):
    done, _ = make("-m", 100)
    assert done.code == 4
    assert "contains 2 minibatches, while the requested amount is 100" in done.stderr
    assert os.listdir(tmp_path) == []


def test_inspect(run_cli, make):
    _, out = make("-m", 2)
    facts = json.loads(run_cli("inspect", out, "--json").stdout)
    with h5py.File(out) as file:
        batch = file["_tensorfile_array_key__0/_tensorfile_array_key_"][()]
    assert facts["tensorfile"]["shape"] == list(batch.shape)
    assert facts["tensorfile"]["filters"] == ["shuffle", "deflate"]
    assert 0 <= facts["tensorfile"]["channels"][0]["min"] < facts["tensorfile"]["channels"][0]["max"] <= 1
    assert facts["manifest"]["network"] == "detectnet_v2"
    text = run_cli("inspect", out).stdout
    assert "bit-exact" in text
    assert "channel 2" in text


def test_inspect_prints_the_keys_of_nvinfer(run_cli, make, tmp_path):
    _, out = make("-m", 1)
    lines = run_cli("inspect", out, "--deepstream").stdout.splitlines()
    assert lines[0] == "[property]"
    assert {"net-scale-factor=0.003921568627", "model-color-format=0", "network-mode=1"} <= set(lines)
    assert json.loads(run_cli("inspect", out, "--deepstream", "--json").stdout)["nvinfer"]["int8-calib-file"]

    with h5py.File(out, "a") as file:  # as NVIDIA's command leaves it
        del file.attrs["int8cal"]
    done = run_cli("inspect", out, "--deepstream")
    assert done.code == 7
    assert "no manifest" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "words",
    [(), ("detectnet_v2",), COMMAND, ("detectnet_v2", "plan"), ("inspect",), ("doctor",), ("networks",), ("model",)],
)
def test_help(run_cli, words):
    done = run_cli(*words, "--help")
    assert done.code == 0
    assert "Usage: int8cal" in done.stdout
    assert done.stderr == ""


def test_version_doctor_networks(run_cli):
    assert run_cli("--version").stdout.startswith("int8cal ")
    assert "imagecodecs" in run_cli("doctor").stdout
    networks = json.loads(run_cli("networks", "--json").stdout)["networks"]
    assert "detectnet_v2" in [network["name"] for network in networks]


def test_inspect_of_values_that_are_no_finite_numbers_says_so_and_nothing_else(run_cli, tmp_path):
    batch = np.zeros((1, 2, 3, 8, 8), np.float32)
    batch[0, 0, :2, 0, 0] = np.inf, np.nan
    done = run_cli("inspect", write_like_tao(tmp_path / "f", batch))
    assert (done.code, done.stderr) == (0, "")
    assert "max inf" in done.stdout
    assert "min nan" in done.stdout
