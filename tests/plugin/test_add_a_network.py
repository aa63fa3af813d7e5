"""The network of the documentation: taken from its page, installed as a distribution, run in processes of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.pictures import encode

from int8cal.tensorfile import TensorFile

PAGE = "docs/explanation/add-a-network.md"
NAMED_BLOCK = re.compile(r"`(tinynet/[\w.]+)`:\n\n(?:<!-- [^\n]* -->\n)?```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPEC = 'image_directory: "images" batch_size: 2 side: 8'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distribution, as an installer would leave it."""
    page = (Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8")
    root = tmp_path_factory.mktemp("site")
    (root / "tinynet").mkdir()
    files = dict(NAMED_BLOCK.findall(page))
    assert set(files) == {"tinynet/spec.proto", "tinynet/checks.json", "tinynet/__init__.py"}
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    (command,) = re.findall(r"^python (-m grpc_tools.*)$", page, re.MULTILINE)
    subprocess.run([sys.executable, *command.split()], cwd=root, check=True, capture_output=True)

    information = root / "tinynet-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: tinynet\nVersion: 1.0\n")
    section, entry = re.search(r"\[project.entry-points.\"([\w.]+)\"\]\n(.*) = \"tinynet:NETWORK\"", page).groups()
    (information / "entry_points.txt").write_text(f"[{section}]\n{entry} = tinynet:NETWORK\n")
    return root


@pytest.fixture
def run(site, tmp_path, run_process):
    """Run int8cal with the distribution installed, on a folder of five pictures."""
    (tmp_path / "images").mkdir()
    for number in range(5):
        (tmp_path / "images" / f"{number}.png").write_bytes(encode(np.full((9, 9), number, np.uint8)))
    (tmp_path / "spec.txt").write_text(SPEC)
    environment = {"PYTHONPATH": f"{site}:{':'.join(filter(None, sys.path))}", "DATA_BASE_PATH": str(tmp_path)}
    return lambda *arguments: run_process(*arguments, env=environment)


@pytest.mark.parametrize("command", [("tinynet",), ("model", "tinynet"), ()])
def test_it_makes_tensorfiles(run, tmp_path, command):
    done = run(*command, "calibration_tensorfile", "-e", "spec.txt", "-o", "out")
    assert done.code == 0, done.stderr
    with TensorFile(tmp_path / "out") as file:
        batches = np.concatenate(list(file))
        assert file.manifest["network"] == "tinynet"
    order = np.random.RandomState(42).permutation(5)[:4]
    expected = (order.astype(np.float32) / np.float32(255))[:, None, None, None]
    np.testing.assert_array_equal(batches, np.broadcast_to(expected, (4, 1, 8, 8)))


def test_it_is_listed(run):
    listed = json.loads(run("networks", "--json").stdout)["networks"]
    assert "tinynet" in [network["name"] for network in listed]
    assert "made for the documentation" in run("tinynet", "--help").stdout


def test_its_checks_have_positions(run, tmp_path):
    (tmp_path / "spec.txt").write_text(SPEC.replace("side: 8", "\n  side: 5000"))
    done = run("tinynet", "plan", "-e", "spec.txt")
    assert done.code == 3
    assert "spec.txt:2:" in done.stderr
    assert "side should <= 4096" in done.stderr


@pytest.mark.parametrize("named", [(), ("--network", "tinynet")])
def test_its_specs_are_shown_checked_and_updated(run, tmp_path, named):
    shown = run("spec", "show", "spec.txt", *named, "--json")
    assert shown.code == 0, shown.stderr
    assert json.loads(shown.stdout)["spec"] == {"image_directory": "images", "batch_size": 2, "side": 8}
    checked = run("spec", "check", "spec.txt", *named)
    assert checked.code == 0
    assert checked.stdout.startswith("spec.txt: tinynet Experiment: sound\n")
    command = "tinynet plan" if named else "plan"
    assert checked.stdout.endswith(f"Next:\n  int8cal {command} -e spec.txt\n")
    updated = run("spec", "update", "spec.txt", "-o", "new.txt", *named, "--training_data", "images", "/mnt/data")
    assert updated.code == 0, updated.stderr
    assert (tmp_path / "new.txt").read_text() == SPEC.replace("images", "/mnt/data")


@pytest.mark.parametrize("named", [(), ("--network", "tinynet")])
def test_a_finding_in_its_spec_is_exit_3(run, tmp_path, named):
    (tmp_path / "spec.txt").write_text(SPEC.replace("side: 8", "side: 5000"))
    checked = run("spec", "check", "spec.txt", *named)
    assert checked.code == 3
    assert "side should <= 4096" in checked.stdout


def test_its_paths_do_not_change_the_plan(run, tmp_path):
    def spec_hash() -> str:
        return json.loads(run("tinynet", "plan", "-e", "spec.txt", "--json").stdout)["plan"]["spec_sha256"]

    before = spec_hash()
    (tmp_path / "images").rename(tmp_path / "moved")
    (tmp_path / "spec.txt").write_text(SPEC.replace("images", "moved"))
    assert spec_hash() == before


@pytest.mark.parametrize(
    "code",
    [
        "import a_module_that_is_not_there",
        "raise SystemExit('a_module_that_is_not_there')",
        "class Odd(Exception): pass\nraise Odd('a_module_that_is_not_there')",
    ],
)
def test_what_cannot_be_loaded_is_an_error_only_for_those_who_ask_for_it(run, site, code):
    init = site / "tinynet" / "__init__.py"
    kept = init.read_text(encoding="utf-8")
    init.write_text(code)
    try:
        listed, done = run("networks"), run("tinynet", "plan", "-e", "spec.txt")
    finally:
        init.write_text(kept, encoding="utf-8")
    assert listed.code == 0
    assert "detectnet_v2" in listed.stdout
    assert listed.stderr.startswith("int8cal: warning: The network 'tinynet' (tinynet:NETWORK) cannot be loaded: ")
    assert "a_module_that_is_not_there" in listed.stderr
    assert done.code == 8
    assert "tinynet" in done.stderr
    assert "a_module_that_is_not_there" in done.stderr
