"""What long runs need: --resume and --shards, from the command line and from Python."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from tests.stopping import signals_obeyed, stops

import int8cal
from int8cal.cli.process import told_truly
from int8cal.io.signals import Stopped
from int8cal.tensorfile.shards import TensorFileOutput

COMMAND = ("detectnet_v2", "calibration_tensorfile", "-m", "3", "--batch_size", "3", "-e")


class StopAfter:
    """Progress that interrupts the run after so many images."""

    def __init__(self, images: int) -> None:
        self.left = images

    def start(self, total_images: int) -> None:
        pass

    def advance(self, images: int) -> None:
        self.left -= images
        if self.left <= 0:
            raise KeyboardInterrupt

    def finish(self) -> None:
        pass


def interrupted(plan, out: Path, images: int, **options) -> None:
    with pytest.raises(KeyboardInterrupt):
        int8cal.make(plan, out, resume=True, progress=StopAfter(images), workers=1, **options)
    assert not out.exists()


@pytest.fixture
def plan(tiny_dataset):
    return int8cal.plan(tiny_dataset.spec, max_batches=3, batch_size=3)


def files(folder: Path) -> set[str]:
    return set(os.listdir(folder))


def kept(folder: Path) -> Path:
    """The one journal in a folder."""
    (path,) = folder.glob("c.tensor.*.resume")
    return path


def test_an_interrupted_run_goes_on(tiny_dataset, plan, tmp_path, run_cli):
    out = tmp_path / "c.tensor"
    interrupted(plan, out, plan.batch_size)
    assert files(tmp_path) == {kept(tmp_path).name}

    finished = run_cli(*COMMAND, tiny_dataset.spec, "-o", out, "--resume", "--json")
    assert finished.code == 0, finished.stderr
    facts = json.loads(finished.stdout)["run"]
    assert facts["images_reused"] >= plan.batch_size
    assert facts["images_changed"] == []
    assert files(tmp_path) == {"c.tensor", "c.tensor.json"}

    int8cal.make(plan, tmp_path / "undisturbed")
    assert out.read_bytes() == (tmp_path / "undisturbed").read_bytes()


def test_a_signal_while_the_file_gets_its_name_leaves_no_journal(plan, tmp_path, monkeypatch):
    commit = TensorFileOutput.commit

    def commit_and_signal(output: TensorFileOutput) -> None:
        commit(output)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TensorFileOutput, "commit", commit_and_signal)
    with signals_obeyed(), stops():
        int8cal.make(plan, tmp_path / "c.tensor", resume=True)
    assert files(tmp_path) == {"c.tensor", "c.tensor.json"}


@pytest.mark.parametrize("other", ["plan", "compression"])
def test_another_run_does_not_touch_what_is_kept(plan, tiny_dataset, tmp_path, other):
    out = tmp_path / "c.tensor"
    interrupted(plan, out, plan.batch_size)
    journal = kept(tmp_path)
    content = journal.read_bytes()
    seed, compression = (1, "fast") if other == "plan" else (None, "small")
    another = int8cal.plan(tiny_dataset.spec, max_batches=3, batch_size=3, seed=seed)
    manifest = int8cal.make(another, out, resume=True, compression=compression)
    assert manifest.run["images_reused"] == 0
    assert journal.read_bytes() == content
    assert files(tmp_path) == {"c.tensor", "c.tensor.json", journal.name}


def test_a_run_without_resume_keeps_nothing(plan, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        int8cal.make(plan, tmp_path / "c.tensor", progress=StopAfter(1))
    assert files(tmp_path) == set()


def test_shards_hold_the_same_batches(tiny_dataset, plan, tmp_path, run_cli):
    out = tmp_path / "c.tensor"
    finished = run_cli(*COMMAND, tiny_dataset.spec, "-o", out, "--shards", "2", "--json")
    assert finished.code == 0, finished.stderr
    parts = json.loads(finished.stdout)["manifest"]["parts"]
    assert [(part["name"], part["batches"]) for part in parts] == [
        (f"c.tensor-00000-of-00002-{parts[0]['sha256'][:8]}", 2),
        (f"c.tensor-00001-of-00002-{parts[1]['sha256'][:8]}", 1),
    ]
    assert files(tmp_path) == {"c.tensor", "c.tensor.json", *(part["name"] for part in parts)}
    int8cal.make(plan, tmp_path / "one")
    with int8cal.TensorFile(out) as sharded, int8cal.TensorFile(tmp_path / "one") as whole:
        assert [batch.tobytes() for batch in sharded] == [batch.tobytes() for batch in whole]
        assert sharded.samples.tobytes() == whole.samples.tobytes()


def test_shards_have_the_size_of_all_files(plan, tmp_path, run_cli):
    for name, shards in (("whole", None), ("sharded", 3)):
        int8cal.make(plan, tmp_path / name, shards=shards)
    on_disk = sum(path.stat().st_size for path in tmp_path.glob("sharded*") if path.suffix != ".json")
    sharded, whole = (
        json.loads(run_cli("inspect", tmp_path / name, "--quick", "--json").stdout)["tensorfile"]
        for name in ("sharded", "whole")
    )
    assert sharded["bytes"] == on_disk
    assert sharded["ratio"] == pytest.approx(whole["ratio"], rel=0.5)
    assert run_cli("report", tmp_path / "sharded", "-o", tmp_path / "r.html").code == 0
    assert f"{on_disk / 1e6:,.1f} MB" in (tmp_path / "r.html").read_text()
    next(tmp_path.glob("sharded-00001-*")).unlink()
    assert run_cli("inspect", tmp_path / "sharded", "--quick").code == 6
    assert run_cli("report", tmp_path / "sharded", "-o", tmp_path / "missing.html").code == 0
    assert "unknown: a part file is missing" in (tmp_path / "missing.html").read_text()


def test_shards_and_resume_together(plan, tmp_path):
    out = tmp_path / "a" / "c.tensor"
    interrupted(plan, out, plan.batch_size, shards=3)
    assert len(files(tmp_path / "a")) == 1
    int8cal.make(plan, out, resume=True, shards=3)
    int8cal.make(plan, tmp_path / "b" / "c.tensor", shards=3)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    for name in files(tmp_path / "a") - {"c.tensor.json"}:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shards", "0"), "0 part files cannot be made"),
        (("--shards", "4"), "3 batches do not fill 4 part files"),
        (("--ray_address", "auto"), "an address is for --engine ray"),
        (("--engine", "tao", "--resume"), "the engine tao has no option resume"),
        (("--engine", "spark"), "unknown engine 'spark'"),
    ],
)
def test_wrong_options(tiny_dataset, tmp_path, run_cli, arguments, message):
    finished = run_cli(*COMMAND, tiny_dataset.spec, "-o", tmp_path / "c", *arguments)
    assert finished.code == 2
    assert message in finished.stderr
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("resume", "long", "advice"),
    [(False, False, ""), (False, True, "with --resume"), (True, False, "the same command goes on")],
)
def test_advice_when_stopped(monkeypatch, tmp_path, resume, long, advice):
    monkeypatch.setattr("int8cal.cli.process._LONG_RUN_SECONDS", -1.0 if long else 300.0)
    with pytest.raises(Stopped) as caught, told_truly(str(tmp_path / "out"), resume=resume):
        raise Stopped(signal.SIGINT)
    first, *others = caught.value.advice
    assert first == "nothing was left under the final name"
    assert len(others) == bool(advice)
    assert all(advice in other for other in others)


def test_old_file_is_spoken_of_when_stopped(tmp_path):
    out = tmp_path / "out"
    out.write_bytes(b"old")
    with pytest.raises(Stopped) as caught, told_truly(str(out), resume=False):
        raise Stopped(signal.SIGINT)
    assert caught.value.advice == (f"{out} is what it was before",)


def stopped_after_commit(out: Path) -> None:
    with told_truly(str(out), resume=True):
        out.write_bytes(b"new and larger")
        raise Stopped(signal.SIGTERM)


@pytest.mark.parametrize("before", [None, b"old"])
def test_finished_file_is_spoken_of_when_stopped_late(tmp_path, before):
    out = tmp_path / "out"
    if before:
        out.write_bytes(before)
    with pytest.raises(Stopped) as caught:
        stopped_after_commit(out)
    assert caught.value.advice == (f"{out} is complete",)
