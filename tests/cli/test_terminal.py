"""What a person at a terminal meets: completion, help, colours, logs, and what commands say when they are done."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

import onnx
import pytest
from onnx import helper

from int8cal.cli import app

JOB = ("detectnet_v2", "calibration_tensorfile", "-m", "1")


@pytest.fixture
def offered(monkeypatch, tmp_path, capsysbinary):
    """What a shell is offered for a line, whose last word is being completed."""
    monkeypatch.chdir(tmp_path)

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_INT8CAL_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        assert app.run([]) == 0
        told = capsysbinary.readouterr()
        assert told.err == b""
        return [item.partition(",")[2] for item in told.out.decode().splitlines()]

    return complete


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("int8cal qua", {"quantize"}),
        ("int8cal detect", {"detectnet_v2"}),
        ("int8cal detectnet_v2 ", {"calibration_tensorfile", "plan"}),
        ("int8cal model ss", {"ssd"}),
        ("int8cal cache ", {"show", "convert", "diff"}),
        ("int8cal quantize --meth", {"--method"}),
        ("int8cal quantize --method en", {"entropy"}),
        ("int8cal images --preset ima", {"imagenet"}),
        ("int8cal plan -e s", {"spec.txt", "specs/"}),
        ("int8cal plan -e specs/", {"specs/other.yaml"}),
        ("int8cal quantize m", {"model.onnx", "models/"}),
        ("int8cal verify c", {"calibration.tensor"}),
    ],
)
def test_completion(offered, tmp_path, line, expected):
    for folder in ("specs", "models"):
        (tmp_path / folder).mkdir()
    for name in ("spec.txt", "sample.png", "specs/other.yaml", "model.onnx", "module.py", "calibration.tensor"):
        (tmp_path / name).touch()
    assert set(offered(line)) == expected


def test_completion_of_node_names(offered, tmp_path):
    made = helper.make_node("Relu", ["x"], ["y"], name="head/relu")
    value = [helper.make_tensor_value_info(name, 1, [1, 3, 8, 8]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([made], "g", value[:1], value[1:])), tmp_path / "m.onnx")
    assert offered("int8cal quantize m.onnx c.tensor --exclude he") == ["head/relu"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(run_cli, shell):
    done = run_cli("completion", shell)
    assert done.code == 0
    assert "_INT8CAL_COMPLETE" in done.stdout


def on_terminal(
    command: list[str], typed: bytes, until: bytes, env: dict[str, str], cwd, *, ready: bytes = b""
) -> bytes:
    """What a program shows on a pseudo-terminal, up to the text that is waited for.

    What is typed is typed when ``ready`` has been shown.
    """
    process, terminal = pty.fork()
    if process == 0:
        try:
            os.chdir(cwd)
            os.execvpe(command[0], command, {**os.environ, **env})
        finally:  # where there is no such program: this process would run the tests that are left once more
            os._exit(127)
    shown = b""
    try:
        end = time.monotonic() + 60
        waiting = True
        while (waiting or until not in shown) and time.monotonic() < end:
            if waiting and ready in shown:
                os.write(terminal, typed)
                waiting = False
            if select.select([terminal], [], [], 1)[0]:
                try:
                    shown += os.read(terminal, 4096)
                except OSError:  # the other end is closed
                    break
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    assert until in shown
    return shown


def test_tab_in_bash(tmp_path):
    """The completion as a user has it: a shell that read the script, and the key."""
    program = tmp_path / "bin" / "int8cal"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m int8cal "$@"\n')
    program.chmod(0o755)
    (tmp_path / "rc").write_text(
        "PS1='ready> '\nbind 'set enable-bracketed-paste off'\neval \"$(int8cal completion bash)\"\n"
    )
    env = {"PATH": f"{program.parent}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(tmp_path)}
    shown = on_terminal(
        ["bash", "--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"], b"int8cal comple\t\n", b"--help", env, tmp_path
    )
    assert b"int8cal completion" in shown
    assert b"Traceback" not in shown


def test_errors_are_red_on_a_terminal_alone(tmp_path):
    command = [sys.executable, "-m", "int8cal", "inspect", "nothing"]
    coloured = on_terminal(command, b"", b"Give", {"TERM": "xterm", "NO_COLOR": ""}, tmp_path)
    assert b"\x1b[31m" in coloured
    plain = on_terminal(command, b"", b"Give", {"TERM": "xterm", "NO_COLOR": "1"}, tmp_path)
    assert b"\x1b" not in plain
    piped = subprocess.run(command, capture_output=True, cwd=tmp_path, check=False)
    assert b"\x1b" not in piped.stderr


def test_help_begins_with_the_output_and_cuts_nothing(run_cli):
    text = run_cli("detectnet_v2", "calibration_tensorfile", "--help").stdout
    titles = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Output:", "Options:", "Behaviour:", "Machine and messages:"]
    assert text.index("\n  -o, ") < text.index("\n  -e, ")
    for group in ("spec", "cache", "component"):
        assert "..." not in run_cli(group, "--help").stdout.replace("]...", "")


def test_the_version_has_a_short_option(run_cli):
    assert run_cli("-V").stdout == run_cli("--version").stdout != ""


def test_what_a_run_says_at_its_end(run_cli, tiny_dataset, tmp_path):
    done = run_cli(*JOB, "-e", tiny_dataset.spec, "-o", "c.tensor")
    assert done.code == 0
    assert "c.tensor holds 4 images" in done.stdout
    assert "That is few: 100 to 1000 are usual" in done.stdout
    line = next(line for line in done.stdout.splitlines() if "int8cal verify" in line)
    checked = run_cli(*line.split()[1:])
    assert checked.code == 0, checked.stderr
    assert "int8cal quantize MODEL.onnx c.tensor" in checked.stdout
    assert "int8cal verify c.tensor" in run_cli("inspect", "c.tensor").stdout


def test_a_plan_says_how_it_is_run(run_cli, tiny_dataset):
    for command in (("plan",), ("detectnet_v2", "plan")):
        told = run_cli(*command, "-e", tiny_dataset.spec, "-m", "2")
        assert told.code == 0, told.stderr
        line = f"int8cal detectnet_v2 calibration_tensorfile -e {tiny_dataset.spec} -o FILE -m 2"
        assert line in told.stdout


def test_verbose_runs_and_log_files_say_something(run_cli, tiny_dataset, tmp_path):
    quiet = run_cli(*JOB, "-e", tiny_dataset.spec, "-o", "a.tensor", "--log_file", "run.log")
    assert quiet.stderr == ""
    log = (tmp_path / "run.log").read_text()
    for words in ("detectnet_v2: 1 batch of 4 × 3 × 96 × 160", "engine native", "complete: a.tensor"):
        assert words in log
    loud = run_cli(*JOB, "-e", tiny_dataset.spec, "-o", "b.tensor", "-v")
    assert "int8cal: complete: b.tensor" in loud.stderr


def test_a_cache_is_converted_to_a_named_output(run_cli, tmp_path):
    (tmp_path / "cal.bin").write_text("TRT-8601-EntropyCalibration2\ninput: 3c010a14\n")
    assert run_cli("cache", "convert", "cal.bin", "-o", "cal.json").code == 0
    assert (tmp_path / "cal.json").exists()
    twice = run_cli("cache", "convert", "cal.bin", "a.json", "-o", "b.json")
    assert (twice.code, run_cli("cache", "convert", "cal.bin").code) == (2, 2)


def test_the_next_line_of_a_file_from_a_folder_proves_it(run_cli, tiny_dataset, tmp_path):
    """The report's line, too: it lacked the folder."""
    spec = tmp_path / "spec.txt"
    text = tiny_dataset.spec.read_text()
    spec.write_text(text.replace("preprocessing {", "preprocessing {\n    enable_auto_resize: true"))
    folder = tiny_dataset.root / "training" / "image_2"
    done = run_cli(*JOB, "-e", "spec.txt", "--cal_image_dir", folder, "-o", "c.tensor")
    assert done.code == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "int8cal verify" in line)
    assert run_cli(*line.split()[1:]).code == 0
    assert run_cli("report", "c.tensor", "-o", "r.html", "-e", "spec.txt", "--cal_image_dir", folder).code == 0
    page = (tmp_path / "r.html").read_text()
    assert f"int8cal verify c.tensor -e spec.txt --cal_image_dir {folder}" in page
