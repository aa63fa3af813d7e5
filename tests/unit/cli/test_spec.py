"""``int8cal spec show｜check｜update`` as a user meets them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from int8cal.cli.app import run

SPECS = Path(__file__).parents[2] / "golden" / "specs"
SOUND = str(SPECS / "detectnet_v2" / "default_spec.txt")
LEGACY = str(SPECS / "own" / "detectnet_v2_windows.txt")

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def spec(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``int8cal spec ARGUMENTS`` → exit code, stdout, stderr."""
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test run keeps its own handlers
    monkeypatch.setattr(logging.getLogger("int8cal"), "handlers", [])

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(["spec", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def test_show_prints_the_normal_form(spec: Command) -> None:
    code, out, err = spec("show", SOUND)
    assert (code, err) == (0, "")
    assert out.startswith("random_seed: 42\ndataset_config {\n  data_sources {\n    tfrecords_path: ")


def test_show_as_json_is_one_object(spec: Command) -> None:
    code, out, err = spec("show", "--json", LEGACY)
    shown = json.loads(out)
    assert (code, err) == (0, "")
    assert shown["message"] == "Experiment"
    assert shown["networks"] == ["detectnet_v2"]
    assert shown["spec"]["training_config"]["num_epochs"] == 8
    assert len(shown["warnings"]) == 1


def test_check_of_a_sound_spec(spec: Command) -> None:
    code, out, err = spec("check", SOUND)
    assert (code, err) == (0, "")
    assert out.startswith(f"{SOUND}: detectnet_v2 Experiment: sound\n\n")


def test_check_of_a_form_that_is_no_longer_read(spec: Command, tmp_path: Path) -> None:
    (tmp_path / "tlt1.txt").write_text("random_seed: 42\nnetwork_config { feature_extractor: 'resnet:18' }")
    code, out, _ = spec("check", str(tmp_path / "tlt1.txt"))
    assert code == 3
    assert out.startswith(f"{tmp_path}/tlt1.txt:2:1: network_config is the form of TLT 1.0")
    assert "Rename network_config to model_config" in out
    assert "1 finding" in out


def test_check_says_what_is_missing(spec: Command) -> None:
    path = str(SPECS / "classification" / "default_spec.txt")
    code, out, _ = spec("check", path)
    assert code == 3
    assert "preprocess_mode is missing: add it to train_config, one of 'tf', 'caffe', 'torch'." in out
    _, out, _ = spec("check", "--json", path)
    assert "preprocess_mode is missing" in json.loads(out)["findings"][0]["hint"]


def test_check_warns_of_legacy_fields_and_refuses_them_when_strict(spec: Command) -> None:
    code, out, err = spec("check", LEGACY)
    assert code == 0
    assert ": sound\n\n" in out
    assert f"{LEGACY}:12:45: legacy value 0.05" in err
    code, out, err = spec("check", "--strict", LEGACY)
    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 2


def test_check_lists_every_finding_and_ends_with_3(spec: Command, tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(
        Path(SOUND).read_text().replace("output_image_width: 1248", "output_image_width: 95").replace("120", "0")
    )
    code, out, err = spec("check", str(path))
    assert (code, err) == (3, "")
    assert "output_image_width should % 16. Wrong value: 95" in out
    findings, verdict = out.partition("\n\n")[0].splitlines()[:-1], out.partition("\n\n")[0].splitlines()[-1]
    assert verdict == f"{path}: detectnet_v2 Experiment: {len(findings)} findings"
    code, out, _ = spec("check", "--json", str(path))
    result = json.loads(out)
    assert code == 3
    assert result["sound"] is False
    fields = {finding["field"] for finding in result["findings"]}
    assert fields == {"augmentation_config.preprocessing.output_image_width", "training_config.num_epochs"}


def test_a_number_that_no_enum_knows_is_refused_by_check_and_plan(
    spec: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(Path(SOUND).read_text() + "dataset_config { dataloader_mode: 9 }")
    place = f"{path}:{len(Path(SOUND).read_text().splitlines()) + 1}:18"
    words = "dataloader_mode has no value 9. Allowed: MULTISOURCE (0), LEGACY (1), DEFAULT (2)."
    code, out, _ = spec("check", str(path))
    assert code == 3
    assert out.startswith(f"{place}: Experiment Spec Setting Error: {words}\n")
    assert run(["detectnet_v2", "plan", "-e", str(path)]) == 3
    assert f"{place}: Experiment Spec Setting Error: {words}" in capsys.readouterr().err


def test_a_misspelt_field_is_two_lines_on_stderr(spec: Command, tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(Path(SOUND).read_text().replace("num_epochs", "num_epoch"))
    code, out, err = spec("check", str(path))
    assert (code, out) == (3, "")
    first, second = err.splitlines()
    assert 'unknown field "num_epoch" in training_config' in first
    assert 'Did you mean "num_epochs"?' in second
    assert spec("check", "--allow-unknown-fields", str(path))[0] == 3  # num_epochs is 0 then
    assert spec("show", "--allow_unknown_fields", str(path))[0] == 0


def test_update_writes_the_spec_and_says_what_changed(spec: Command, tmp_path: Path) -> None:
    out_path = tmp_path / "new" / "spec.txt"
    old = Path(SOUND).read_text()
    reference = "/workspace/tao-experiments"
    code, out, err = spec(
        "update", SOUND, "-o", str(out_path), "--training_data", reference, "/mnt/my data", "--num-epochs", "3"
    )
    assert code == 0, err
    assert "dataset_config.data_sources[0].image_directory_path" in out
    assert "num_epochs: 120 -> 3" in out
    new = out_path.read_text()
    changed = [(a, b) for a, b in zip(old.split("\n"), new.split("\n"), strict=True) if a != b]
    assert all("image_directory_path" in a or "num_epochs" in a for a, _ in changed)
    code, _, err = spec("update", SOUND, "-o", str(out_path), "--num_epochs", "4")
    assert code == 5
    assert out_path.read_text() == new
    assert spec("update", SOUND, "-o", str(out_path), "--num_epochs", "4", "--overwrite")[0] == 0
    assert "num_epochs: 4" in out_path.read_text()


def test_a_dry_run_prints_the_diff_and_writes_nothing(spec: Command, tmp_path: Path) -> None:
    out_path = tmp_path / "spec.txt"
    code, out, _ = spec("update", SOUND, "-o", str(out_path), "--dry-run", "--num_epochs", "3")
    assert code == 0
    assert "-  num_epochs: 120\n+  num_epochs: 3\n" in out
    assert not out_path.exists()


def test_the_edits_as_json(spec: Command) -> None:
    code, out, _ = spec("update", SOUND, "--dry_run", "--json", "--map", "/workspace", "/mnt")
    edits = json.loads(out)["edits"]
    assert code == 0
    assert json.loads(out)["written"] is None
    assert {"field", "line", "old", "new"} == set(edits[0])
    assert all(edit["old"].startswith("/workspace/") and edit["new"].startswith("/mnt/") for edit in edits)


def test_an_update_keeps_unknown_fields_at_every_level_and_says_so(spec: Command, tmp_path: Path) -> None:
    path, out_path = tmp_path / "mine.txt", tmp_path / "new.txt"
    text = Path(SOUND).read_text().replace("training_config {", "training_config {\n  our_own: 3 # mine\n", 1)
    text = f"our_notes {{ made_by: 'me' }}\r\n{text}"
    path.write_bytes(text.encode())
    for network in ([], ["--network", "detectnet_v2"]):
        code, _, err = spec("update", str(path), "-o", str(out_path), "--num_epochs", "3", "--overwrite", *network)
        assert code == 0, err
        assert out_path.read_bytes() == text.replace("num_epochs: 120", "num_epochs: 3").encode()
        assert f'{path}:1:1: unknown field "our_notes" at the top level, ignored; it stays in the file' in err
        assert 'unknown field "our_own" in training_config' in err
    warnings = json.loads(spec("update", str(path), "--dry_run", "--json", "--num_epochs", "3")[1])["warnings"]
    assert [("our_notes" in warning, "our_own" in warning) for warning in warnings] == [(True, False), (False, True)]


def test_a_misspelt_name_at_the_top_is_refused_with_its_place(spec: Command, tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text("our_notes: 1\n" + Path(SOUND).read_text())
    code, _, err = spec("check", str(path))
    assert code == 3
    assert f'{path}:1:1: unknown field "our_notes" at the top level' in err


def test_an_update_says_which_role_was_forgotten(spec: Command, tmp_path: Path) -> None:
    path = tmp_path / "spec.txt"
    path.write_text(
        re.sub(r'(tfrecords_path|image_directory_path): *"[^"]*"', r'\1: "/ref/data"', Path(SOUND).read_text())
    )
    code, _, err = spec("update", str(path), "--dry_run", "--training_data", "/ref", "/mnt")
    assert code == 0
    assert "--training_tfrecords REF PATH" in err
    assert "tfrecords_path" in err
    everything = ("--training_data", "/ref", "/mnt", "--training_tfrecords", "/ref", "/mnt")
    assert spec("update", str(path), "--dry_run", *everything)[2] == ""
    assert spec("update", str(path), "--dry_run", "--map", "/ref", "/mnt")[2] == ""
    code, _, err = spec(
        "update", SOUND, "--dry_run", "--training_tfrecords", "/workspace/tao-experiments/data/training", "/"
    )
    assert code == 3
    assert "The reference is the beginning of paths for: training_data." in err


def test_mistakes_of_the_user_have_their_exit_codes(spec: Command, tmp_path: Path) -> None:
    assert spec("update", SOUND)[0] == 2
    assert spec("update", SOUND, "--dry_run", "--training_data", "/nowhere", "/x")[0] == 3
    assert spec("update", SOUND, "--dry_run", "--training_data", "", "/x")[0] == 2
    assert spec("show", str(tmp_path / "missing.txt"))[0] == 3
    assert spec("show", SOUND, "--network", "yolo")[0] == 2
    code, out, err = spec("show", "--json", str(tmp_path / "missing.txt"))
    assert (code, err) == (3, "")
    assert json.loads(out)["error"]["exit_code"] == 3


@pytest.mark.parametrize("command", [[], ["show"], ["check"], ["update"]])
def test_every_help_has_examples(spec: Command, command: list[str]) -> None:
    code, out, _ = spec(*command, "--help")
    assert code == 0
    assert "Examples:\n" in out


@pytest.mark.parametrize(
    "field", ["tfrecords_path", "image_directory_path", "image_extension", "arch", "checkpoint", "output_image_width"]
)
@pytest.mark.parametrize("arguments", [("spec", "check"), ("detectnet_v2", "plan", "-e")])
def test_a_value_of_a_megabyte_does_not_flood_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spec: Command, arguments: tuple[str, ...], field: str
) -> None:
    path = tmp_path / "long.txt"
    text = re.sub(rf'\b{field}: *("[^"]*"|\d+)', f'{field}: "{"x" * (1 << 20)}"', Path(SOUND).read_text())
    path.write_text(text)
    assert run([*arguments, str(path)]) in (0, 3, 4)
    shown = capsys.readouterr()
    assert len(shown.err) + len(shown.out) < 12_000


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_network_that_is_not_there_is_a_usage_error(spec: Command, command: str) -> None:
    code, out, err = spec(command, SOUND, "--network", "yolo")
    assert (code, out) == (2, "")
    assert "there is no network 'yolo'" in err
    assert "Known networks: classification, classification_pyt, deformable_detr, detectnet_v2, dino, " in err


def test_a_spec_that_fits_two_networks_is_read_as_that_of_the_named_one(spec: Command, tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text("dataset_config { image_extension: 'png' }")
    code, _, err = spec("show", str(path))
    assert code == 3
    assert "this could be detectnet_v2 Experiment or faster_rcnn Experiment" in err
    assert json.loads(spec("show", str(path), "--json", "--network", "faster_rcnn")[1])["networks"] == ["faster_rcnn"]


def test_a_spec_of_another_network_than_the_named_one_is_no_spec_of_it(spec: Command) -> None:
    code, out, err = spec("check", SOUND, "--network", "classification")
    assert (code, out) == (3, "")
    assert f"{SOUND}:" in err
    assert "unknown field" in err
