"""Several jobs over one output folder: side by side, and on nodes whose mounts do not share locks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from int8cal.errors import OutputError
from int8cal.io import files, locks
from int8cal.tensorfile import TensorFile

CLI = [sys.executable, "-m", "int8cal", "component"]


def options(inputs):
    return [part for name, value in inputs.items() for part in (f"--{name}", value)]


def result_of(path):
    """Spec facts, record and samples of a finished result, which must be whole."""
    with TensorFile(path) as file:
        for _ in file:
            pass
        facts = file.manifest
    record = json.loads(Path(f"{path}.json").read_text())
    assert record["manifest"]["plan_sha256"] == facts["plan_sha256"]
    return record


def test_four_jobs_with_mounts_of_their_own(site, tmp_path):
    names = ("day", "night", "rain", "fog")
    jobs = {}
    for name in names:
        inputs = site.inputs(
            training_data_dir=site.pictures(f"{name}/pictures"),
            training_tf_records_dir=site.records(f"{name}/records"),
            output_subfolder=name,
            max_batches=str(1 + names.index(name) % 2),
        )
        jobs[name] = subprocess.Popen([*CLI, *options(inputs)], stderr=subprocess.PIPE, text=True)
    for name, job in jobs.items():
        _, said = job.communicate(timeout=100)
        assert job.returncode == 0, f"{name}: {said}"
    for name in names:
        record = result_of(site.out / "app" / name / "calibration.tensor")
        assert all(f"/{name}/" in edit["new"] for edit in record["component"]["edits"])
    assert (site.out / "app" / "specs" / "spec.txt").is_file()
    assert not list(site.out.rglob(".*"))


# --- without locks -------------------------------------------------------------------------------


@pytest.fixture
def no_shared_locks(monkeypatch):
    """Every node gets the lock, as on mounts that keep them to themselves."""
    monkeypatch.setattr(locks, "locked", lambda descriptor: True)


def other_run_at(site, monkeypatch, place):
    """Have another request run as a whole when the first one comes to ``place``; returns where it says how it went."""
    module, name = place
    real, went = getattr(module, name), []

    def with_other(*arguments, **named):
        if not went:
            went.append(None)
            try:
                went[0] = site.run(max_batches="2", seed="7").manifest
            except OutputError as error:
                went[0] = error
        return real(*arguments, **named)

    monkeypatch.setattr(module, name, with_other)
    return went


def places():
    from int8cal import manifest
    from int8cal.engine import work
    from int8cal.io import files

    return {
        "decoding": (work, "read_encoded"),
        "publishing": (manifest, "commit_together"),
        "copying": (files, "_copy"),
        "linking": (locks.KnownFile, "link_as"),
        "flushing": (files, "_flush"),
    }


@pytest.mark.parametrize("place", list(places()))
def test_two_nodes_at_least_one_finishes_and_its_record_is_its_own(site, monkeypatch, no_shared_locks, place):
    other = other_run_at(site, monkeypatch, places()[place])
    try:
        ours = site.run().manifest
    except OutputError as error:
        ours = error
    finished = [run for run in (ours, *other) if not isinstance(run, OutputError)]
    assert finished
    record = result_of(site.tensorfile)
    assert record["manifest"]["plan_sha256"] in [run.facts["plan_sha256"] for run in finished]
    left = {path.name for path in site.tensorfile.parent.iterdir()}
    assert left <= {"calibration.tensor", "calibration.tensor.json", "calibration.tensor.html"}


@pytest.mark.parametrize("moment", ["write", "prepare"])
def test_a_record_that_the_other_run_cleans_away_as_its_own_is_written_again(site, monkeypatch, moment):
    """It has asked whether the file is its own, and removes the one that has come in its place."""
    real, removed = getattr(files.OutputFile, moment), []

    def after_removal(output, *arguments):
        if output.path.endswith(".json") and not removed:
            removed.append(output._part)
            os.unlink(output._part)
        return real(output, *arguments)

    monkeypatch.setattr(files.OutputFile, moment, after_removal)
    manifest = site.run().manifest
    assert removed
    assert result_of(site.tensorfile)["manifest"]["plan_sha256"] == manifest.facts["plan_sha256"]


def test_two_nodes_at_the_same_time(site, tmp_path):
    """Real processes, of which neither sees the other's lock."""
    script = "import sys\nfrom int8cal.io import locks\nlocks.locked = lambda descriptor: True\n"
    script += "from int8cal.cli.app import run\nsys.exit(run(sys.argv[1:]))\n"
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", script, "component", *options(site.inputs(seed=str(seed), max_batches="3"))],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        for seed in (1, 2)
    ]
    said = [job.communicate(timeout=100)[1] for job in jobs]
    codes = [job.returncode for job in jobs]
    assert 0 in codes, said
    assert set(codes) <= {0, 5}, said
    record = result_of(site.tensorfile)
    seeds = [seed for seed, code in zip((1, 2), codes, strict=True) if code == 0]
    assert record["component"]["inputs"]["seed"] in seeds
