"""``int8cal verify`` as its users call it."""

from __future__ import annotations

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image
from tests.unit.check.files import replace_batches, write_like_tao

import int8cal


@pytest.fixture
def made(tiny_dataset, tmp_path):
    int8cal.make(int8cal.plan(tiny_dataset.spec), tmp_path / "made")
    return tmp_path / "made"


def test_a_sound_file(made, run_cli):
    done = run_cli("verify", made)
    assert done.code == 0, done.stderr
    assert "2 batches of 4 x 3 x 96 x 160" in done.stdout
    assert "0 errors, 0 warnings" in done.stdout
    assert "RGB or BGR" in done.stdout
    assert done.stderr == ""


def test_an_unsound_file_is_exit_6_with_its_findings(made, run_cli):
    replace_batches(made, lambda x: x * 255)
    done = run_cli("verify", made)
    assert done.code == 6
    assert "values-outside" in done.stdout
    assert len(done.stderr.splitlines()) == 2
    assert f"{made}: do not use this file: 1 error, 0 warnings" in done.stderr
    assert done.stdout.count("the manifest's arithmetic") == 1
    assert "the manifest's arithmetic" not in done.stderr


def test_json_is_one_object(made, run_cli):
    sound = run_cli("verify", made, "--json")
    facts = json.loads(sound.stdout)["verification"]
    assert (sound.code, facts["sound"], facts["shape"]) == (0, True, [4, 3, 96, 160])
    assert {"level", "code", "message", "hint"} == set(facts["findings"][0])
    assert 0 <= facts["channels"][0]["min"] < facts["channels"][0]["mean"] < facts["channels"][0]["max"] <= 1

    replace_batches(made, lambda x: x * 0)
    unsound = run_cli("verify", made, "--json")
    assert unsound.code == 6
    assert json.loads(unsound.stdout)["verification"]["sound"] is False
    assert unsound.stderr == ""


def test_no_tensorfile(tmp_path, run_cli):
    (tmp_path / "f").write_bytes(b"no HDF5")
    done = run_cli("verify", tmp_path / "f")
    assert (done.code, done.stdout) == (6, "")
    assert "is a text file, and not a tensorfile" in done.stderr


def test_equal_to_the_spec(made, tiny_dataset, run_cli):
    done = run_cli("verify", made, "-e", tiny_dataset.spec)
    assert done.code == 0, done.stderr
    assert "all 8 images were made again from their source: equal in every bit, in order" in done.stdout
    assert "RGB or BGR" not in done.stdout  # now it was seen
    assert "made again as the manifest says: split training, seed " in done.stdout
    stated = run_cli("verify", made, "-e", tiny_dataset.spec, "--seed", "0")
    assert "made again as the manifest says: split training [" in stated.stdout


def test_one_changed_bit_is_named(made, tiny_dataset, run_cli):
    def change(batch):
        batch[2, 1, 5, 7] = np.nextafter(batch[2, 1, 5, 7], np.float32(2))
        return batch

    replace_batches(made, change)
    assert run_cli("verify", made).code == 0  # nothing that statistics could show
    done = run_cli("verify", made, "-e", tiny_dataset.spec)
    assert done.code == 6
    assert "2 of 8 images are not what their source makes" in done.stdout
    assert "batch 0 image 2" in done.stdout
    assert "channel 1, y 5, x 7: the file has" in done.stdout
    assert "1 values differ" in done.stdout
    with int8cal.TensorFile(made) as file:
        name = file.samples[2]["frame_id"].decode()
    assert f"{tiny_dataset.root}/training/{name}.png" in done.stdout


def test_a_file_of_nvidia_in_another_order(made, tiny_dataset, tmp_path, run_cli):
    with int8cal.TensorFile(made) as file:
        batches = np.stack(list(file))
    path = write_like_tao(tmp_path / "tao", batches[::-1, ::-1])
    in_order = run_cli("verify", path, "-e", tiny_dataset.spec)
    assert in_order.code == 6
    assert "--any_order" in in_order.stdout
    done = run_cli("verify", path, "-e", tiny_dataset.spec, "--any_order")
    assert done.code == 0, done.stdout
    assert "in any order" in done.stdout

    batches[1, 3, 0, 0, 0] += 0.25
    write_like_tao(path, batches)
    done = run_cli("verify", path, "-e", tiny_dataset.spec, "--any_order")
    assert done.code == 6
    assert "batch 1 image 3" in done.stdout
    assert "channel 0, y 0, x 0" in done.stdout


def test_split_and_seed_come_from_the_manifest_or_the_options(tiny_dataset, tmp_path, run_cli):
    path, plain = tmp_path / "made", tmp_path / "plain"
    int8cal.make(int8cal.plan(tiny_dataset.spec, split="validation", batch_size=3, seed=5), path)
    with int8cal.TensorFile(path) as file:
        write_like_tao(plain, np.stack(list(file)))
    assert run_cli("verify", path, "-e", tiny_dataset.spec).code == 0
    assert run_cli("verify", plain, "-e", tiny_dataset.spec).code == 6
    assert run_cli("verify", plain, "-e", tiny_dataset.spec, "--use_validation_set", "--seed", "5").code == 0


def test_more_images_than_the_data_have(made, tiny_dataset, tmp_path, run_cli):
    with int8cal.TensorFile(made) as file:
        path = write_like_tao(tmp_path / "more", np.stack([*file, *file]))
    done = run_cli("verify", path, "-e", tiny_dataset.spec)
    assert done.code == 6
    assert "the file has 16 images, their source gives 9" in done.stdout


def test_another_shape(tiny_dataset, tmp_path, run_cli):
    scenes = np.random.default_rng(0).random((1, 2, 3, 8, 8), np.float32)
    done = run_cli("verify", write_like_tao(tmp_path / "f", scenes), "-e", tiny_dataset.spec)
    assert done.code == 6
    assert "shape (2, 3, 8, 8), their source gives (2, 3, 96, 160)" in done.stdout


def test_skipped_images_are_skipped_again(tiny_dataset, tmp_path, run_cli):
    with int8cal.TensorFile(_made_with_a_bad_image(tiny_dataset, tmp_path)) as file:
        assert file.manifest["skipped"] == 1
    done = run_cli("verify", tmp_path / "made", "-e", tmp_path / "spec.txt")
    assert done.code == 0, done.stdout + done.stderr
    assert "equal in every bit, in order" in done.stdout


def _made_with_a_bad_image(tiny_dataset, folder):
    images = folder / "training" / "image_2"
    images.mkdir(parents=True)
    for picture in tiny_dataset.images:
        (images / picture.name).write_bytes(picture.read_bytes())
    text = tiny_dataset.spec.read_text()
    spec = folder / "spec.txt"
    spec.write_text(text.replace(str(tiny_dataset.root / "training"), str(folder / "training")))
    plan = int8cal.plan(spec)
    second = list(plan.samples())[1]
    (images / f"{second.frame_id.rpartition('/')[2]}.png").write_bytes(b"broken")
    int8cal.make(plan, folder / "made", on_bad_image="skip", max_skipped=1)
    return folder / "made"


def test_images_that_cannot_be_used_are_named_in_any_order_too(tiny_dataset, tmp_path, run_cli):
    path = _made_with_a_bad_image(tiny_dataset, tmp_path)
    plan = int8cal.plan(tmp_path / "spec.txt")
    bad, other = (tmp_path / "training" / f"{list(plan.samples())[index].frame_id}.png" for index in (1, 4))
    done = run_cli("verify", path, "-e", tmp_path / "spec.txt", "--any_order")
    assert done.code == 0, done.stdout + done.stderr  # all that the file holds is there

    kept = other.read_bytes()
    other.write_bytes(kept[: len(kept) // 2])
    done = run_cli("verify", path, "-e", tmp_path / "spec.txt", "--any_order")
    assert done.code == 6
    assert "1 of 8 different images are not what their source makes" in done.stdout
    assert any(f"2 of its images cannot be used; the first: {one}: " in done.stdout for one in (bad, other))
    assert "Mend the images of the split that cannot be used" in done.stdout


def test_an_image_that_is_gone_is_exit_4(made, tiny_dataset, tmp_path, run_cli):
    spec = tmp_path / "spec.txt"
    (tmp_path / "empty").mkdir()
    text = tiny_dataset.spec.read_text()
    spec.write_text(text.replace(str(tiny_dataset.root / "training"), str(tmp_path / "empty")))
    done = run_cli("verify", made, "-e", spec)
    assert done.code == 4
    assert "No such file or directory" in done.stderr


def test_options_that_need_a_spec(made, run_cli):
    done = run_cli("verify", made, "--any_order")
    assert (done.code, done.stdout) == (2, "")


def test_values_at_the_end_of_float32_are_judged_without_a_warning_of_numpy(tmp_path, run_cli):
    values = np.random.default_rng(0).uniform(-3e38, 3e38, (1, 2, 3, 8, 8)).astype(np.float32)
    done = run_cli("verify", write_like_tao(tmp_path / "f", values))
    assert done.code == 6
    assert "noise" in done.stdout
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("arithmetic", [None, {"options": [1]}, {"options": {"mean": [float("nan")], "scale": 1}}])
def test_inspect_shows_an_edited_manifest_as_it_is(made, run_cli, arithmetic):
    with h5py.File(made, "a") as file:
        manifest = json.loads(bytes(file.attrs["int8cal"])) | {"arithmetic": arithmetic}
        file.attrs["int8cal"] = np.bytes_(json.dumps(manifest))
    assert run_cli("inspect", made).code == 0
    done = run_cli("inspect", made, "--json")
    json.loads(done.stdout, parse_constant=pytest.fail)
    assert run_cli("inspect", made, "--deepstream").code == 7


def test_warnings_of_the_images_read_as_those_of_every_command(tmp_path):
    """What a decoder finds odd while the images are made again."""
    (tmp_path / "im").mkdir()
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(tmp_path / "im" / "deep.png")
    start = [sys.executable, "-m", "int8cal"]
    made = ["images", "im", "-o", "c.tensor", "--size", "20x30", "--resize", "stretch", "--scale", "1/255"]
    for words in (made, ["verify", "c.tensor", "--images", "im"]):
        done = subprocess.run([*start, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "int8cal: warning: im/deep.png: grey of 16 bits" in done.stderr
