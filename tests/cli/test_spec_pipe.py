"""A spec that comes through a pipe, as shells make them: read once, and by every command."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

INT8CAL = f"{sys.executable} -m int8cal"


@pytest.mark.parametrize(
    "command",
    [
        "cat {spec} | {int8cal} detectnet_v2 plan --json -m 2 -e /dev/stdin",
        "{int8cal} detectnet_v2 plan --json -m 2 -e <(cat {spec})",
        "{int8cal} detectnet_v2 plan --json -m 2 -e <(sleep 1; cat {spec})",
        "{int8cal} detectnet_v2 plan --json -m 2 -e /dev/stdin < {spec}",
    ],
)
def test_a_plan_of_a_spec_in_a_pipe_is_that_of_the_file(run_cli, tiny_dataset, command):
    line = command.format(spec=tiny_dataset.spec, int8cal=INT8CAL)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    of_file = run_cli("detectnet_v2", "plan", "--json", "-m", "2", "-e", tiny_dataset.spec)
    plan, expected = json.loads(done.stdout)["plan"], json.loads(of_file.stdout)["plan"]
    assert {**plan, "spec": None} == {**expected, "spec": None}


def test_the_spec_commands_read_pipes_too(tiny_dataset):
    line = f"cat {tiny_dataset.spec} | {INT8CAL} spec check /dev/stdin"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "/dev/stdin: detectnet_v2 Experiment: sound\n")


def test_a_fault_in_a_pipe_has_its_true_place():
    line = f"printf 'model_config {{\\n  num_layers: x' | {INT8CAL} detectnet_v2 plan -e /dev/stdin"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("int8cal: error: /dev/stdin:1:14: this { is never closed\n")
