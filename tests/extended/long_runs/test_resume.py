"""--resume: killed ten times, the file still comes out as if nothing had happened, at little more work."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image
from tests.extended.long_runs.conftest import classification_spec

import int8cal

pytestmark = pytest.mark.extended

BATCHES = 240
BATCH_SIZE = 4
IMAGES = BATCHES * BATCH_SIZE
KILLS = 10


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def request_of_run(tmp_path) -> dict:
    spec = classification_spec(tmp_path / "data", IMAGES, BATCH_SIZE)
    return {
        "spec": spec,
        "out": tmp_path / "c.tensor",
        "plan": {"max_batches": BATCHES},
        "make": {"resume": True, "workers": 2},
        "count_decoded": tmp_path / "decoded",
    }


def test_killed_ten_times(tmp_path, request_of_run, start_run):
    plan = int8cal.plan(request_of_run["spec"], max_batches=BATCHES)
    int8cal.make(plan, tmp_path / "undisturbed")
    out = tmp_path / "c.tensor"

    for kill in range(1, KILLS + 1):
        run = start_run(**request_of_run, pause=0.002)
        run.wait_for(IMAGES * kill // (KILLS + 1))
        run.kill()
        assert not out.exists()
        assert len(list(tmp_path.glob("c.tensor.*.resume"))) == 1
    last = start_run(**request_of_run).finish()

    assert sha256(out) == sha256(tmp_path / "undisturbed")
    decoded = (tmp_path / "decoded").stat().st_size
    print(f"images decoded: {decoded} for {IMAGES}; reused by the last run: {last['run']['images_reused']}")
    assert IMAGES <= decoded <= 1.2 * IMAGES
    assert not list(tmp_path.glob("*.resume"))


def test_an_image_that_changes_in_between(tmp_path, request_of_run, start_run):
    run = start_run(**request_of_run, pause=0.002)
    run.wait_for(IMAGES // 2)
    run.kill()
    changed = Path(list(int8cal.plan(request_of_run["spec"], max_batches=BATCHES).samples())[100].path)
    changed.unlink()  # it may be a hard link
    Image.new("RGB", (32, 24), "red").save(changed)

    last = start_run(**request_of_run).finish()
    assert last["run"]["images_changed"] == [str(changed)]
    assert f"{changed} has changed since the interrupted run" in last["stderr"]
    int8cal.make(int8cal.plan(request_of_run["spec"], max_batches=BATCHES), tmp_path / "undisturbed")
    assert sha256(tmp_path / "c.tensor") == sha256(tmp_path / "undisturbed")
