"""``int8cal verify -e``: the manifest, too, must be what spec and data give, for its readers compute with its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import tensorfiles
from tests.unit.check.files import write_like_tao

import int8cal


@pytest.fixture
def made(tiny_dataset, tmp_path):
    int8cal.make(int8cal.plan(tiny_dataset.spec, seed=0), tmp_path / "made")
    return tmp_path / "made"


def edit(path: Path, change) -> None:
    """Put ``change(manifest)`` in the place of the manifest; what ``change`` does to its argument counts as well."""
    tensorfiles.edit(path, manifest=change)


def options(**values):
    return lambda manifest: manifest["arithmetic"]["options"].update(values)


def arithmetic(**values):
    return lambda manifest: manifest["arithmetic"].update(values)


def fields(**values):
    return lambda manifest: manifest.update(values)


def wrong(done) -> str:
    """The one line that says what is wrong with the manifest."""
    assert done.code == 6, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.endswith("[manifest-wrong]")]
    return line


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (options(channel_order="BGR"), ["arithmetic.options.channel_order is 'BGR', not 'RGB'"]),
        (options(value_range=[-1.0, 1.0]), ["arithmetic.options.value_range is [-1.0, 1.0], not [0.0, 1.0]"]),
        (options(value_range=[0.0, 255.0]), ["arithmetic.options.value_range is [0.0, 255.0], not [0.0, 1.0]"]),
        (options(raw_float16=True), ["arithmetic.options.raw_float16 is True, not False"]),
        (options(crop="centre"), ["arithmetic.options.crop is 'centre', not None"]),
        (arithmetic(name="ssd.torch"), ["arithmetic.name is 'ssd.torch', not 'detectnet_v2.mode"]),
        (arithmetic(evidence="reference"), ["arithmetic.evidence is 'reference', not 'bit-exact'"]),
        (fields(plan_sha256="0" * 64), [f"plan_sha256 is '{'0' * 64}', not '"]),
        (fields(plan_sha256="0" * 64, spec_sha256="1" * 64), ["plan_sha256 is '00", "spec_sha256 is '11"]),
        (fields(network="ssd"), ["network is 'ssd', not 'detectnet_v2'"]),
    ],
)
def test_words_that_the_images_do_not_bear_out(made, tiny_dataset, run_cli, change, named):
    edit(made, change)
    said = wrong(run_cli("verify", made, "-e", tiny_dataset.spec))
    for field in named:
        assert field in said
    assert said.count(", not ") == len(named)  # and nothing that is right
    assert wrong(run_cli("verify", made, "-e", tiny_dataset.spec, "--any_order")) == said


def test_images_of_a_proved_file_are_judged_by_the_arithmetic_that_made_them(made, tiny_dataset, run_cli):
    """The manifest's range is a lie: that the values fill little of it says nothing about the data."""
    edit(made, options(value_range=[0.0, 255.0]))
    done = run_cli("verify", made, "-e", tiny_dataset.spec)
    assert "1 error, 0 warnings" in done.stdout
    assert "The data set itself is so" not in done.stdout


def test_who_forges_the_hash_as_well_does_not_get_through_with_numbers(made, tiny_dataset, run_cli):
    plan = int8cal.plan(tiny_dataset.spec, seed=0)

    def forged(manifest):
        manifest["arithmetic"]["options"]["channel_order"] = "BGR"
        manifest["plan_sha256"] = plan.hashed({name: manifest[name] for name in plan.facts()})

    edit(made, forged)
    assert "channel_order is 'BGR', not 'RGB'" in wrong(run_cli("verify", made, "-e", tiny_dataset.spec))


def test_another_version_may_word_it_otherwise(made, tiny_dataset, run_cli):
    """Evidence, other options, the same normalisation written otherwise: the hash is of these words."""
    plan = int8cal.plan(tiny_dataset.spec, seed=0)

    def other_version(manifest):
        arithmetic = manifest["arithmetic"]
        arithmetic["evidence"] = "bit-identical"
        arithmetic["options"] |= {"padding": "none", "mean": [0.0], "scale": 1 / 255}
        del arithmetic["options"]["value_range"], manifest["images"]
        stated = {name: manifest[name] for name in plan.facts() if name in manifest}
        manifest |= {"int8cal": "0.0.1", "spec_sha256": "1" * 64}
        manifest["plan_sha256"] = plan.hashed(stated | {"spec_sha256": "1" * 64})

    edit(made, other_version)
    made.with_name("made.json").unlink()  # the record of this version
    done = run_cli("verify", made, "-e", tiny_dataset.spec)
    assert done.code == 0, done.stdout
    assert "0 errors, 0 warnings" in done.stdout
    assert "[other-record]" in done.stdout
    assert "arithmetic.evidence is 'bit-identical', not 'bit-exact'" in done.stdout


def test_a_spec_changed_in_what_does_not_decide_the_images(made, tiny_dataset, tmp_path, run_cli):
    text = tiny_dataset.spec.read_text()
    spec = tmp_path / "longer.txt"
    spec.write_text(text.replace("num_epochs: ", "num_epochs: 1", 1))
    assert spec.read_text() != text
    done = run_cli("verify", made, "-e", spec)
    assert done.code == 0, done.stdout
    assert "0 errors, 0 warnings" in done.stdout
    assert "does not change these images: spec_sha256 is '" in done.stdout


@pytest.mark.parametrize("arguments", [["--shards", "2"], ["--batch_size", "3", "-m", "2"]])
def test_files_in_parts_and_of_other_sizes_raise_no_alarm(tiny_dataset, tmp_path, run_cli, arguments):
    out = tmp_path / "out"
    asked = ("calibration_tensorfile", "-e", tiny_dataset.spec, "-o", out)
    assert run_cli("detectnet_v2", *asked, *arguments).code == 0
    done = run_cli("verify", out, "-e", tiny_dataset.spec)
    assert "0 errors, 0 warnings" in done.stdout
    assert "other-record" not in done.stdout


def test_a_rebatched_file_raises_no_alarm(made, tiny_dataset, tmp_path, run_cli):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run_cli("export", made, "--to", "tensorfile", "--rebatch", "2", "-o", first).code == 0
    assert run_cli("export", first, "--to", "tensorfile", "--rebatch", "8", "-o", second).code == 0
    for path in (first, second):
        done = run_cli("verify", path, "-e", tiny_dataset.spec)
        assert "0 errors, 0 warnings" in done.stdout
        assert "other-record" not in done.stdout
    edit(second, options(channel_order="BGR"))
    assert "channel_order" in wrong(run_cli("verify", second, "-e", tiny_dataset.spec))


def test_another_spec_is_not_blamed_on_the_manifest(made, tiny_dataset, run_cli):
    done = run_cli("verify", made, "-e", tiny_dataset.spec, "--use_validation_set")
    assert done.code == 6
    assert "[differs]" in done.stdout
    assert "manifest-wrong" not in done.stdout


def test_a_file_without_manifest_has_no_words_to_compare(made, tiny_dataset, tmp_path, run_cli):
    with int8cal.TensorFile(made) as file:
        plain = write_like_tao(tmp_path / "plain", np.stack(list(file)))
    done = run_cli("verify", plain, "-e", tiny_dataset.spec, "--seed", "0")
    assert done.code == 0
    assert "[other-record]" not in done.stdout


@pytest.mark.parametrize("seed", [-1, 2**70])
@pytest.mark.parametrize("more", [(), ("--seed", "0"), ("--any_order",)])
def test_an_impossible_seed_is_the_manifests_fault(made, tiny_dataset, run_cli, seed, more):
    edit(made, fields(seed=seed))
    assert f"seed is {seed}, not a number from 0" in wrong(run_cli("verify", made))
    done = run_cli("verify", made, "-e", tiny_dataset.spec, *more)
    assert f"seed is {seed}, not a number from 0" in wrong(done)
    assert "--seed" not in done.stderr
    assert f"seed {seed}" not in done.stdout  # nothing was made with it


def test_an_option_that_the_network_does_not_have_is_the_manifests_fault(made, tiny_dataset, run_cli):
    edit(made, fields(options={"cal_image_dir": "/etc", "recursive": True}))
    done = run_cli("verify", made, "-e", tiny_dataset.spec)
    assert "the manifest holds an option that cannot be" in wrong(done)
    assert "'cal_image_dir'" in wrong(done)
    assert "made again as the manifest says" not in done.stdout


def test_an_option_of_another_network_means_another_spec(made, tiny_dataset, run_cli):
    edit(made, fields(options={"resize": "nearest"}, network="classification"))
    done = run_cli("verify", made, "-e", tiny_dataset.spec)
    assert done.code == 6
    assert "the file is of the network classification, the spec of detectnet_v2 [differs]" in done.stdout


def test_a_split_that_the_spec_does_not_have_is_a_finding(made, tiny_dataset, run_cli):
    edit(made, fields(split="holdout"))
    done = run_cli("verify", made, "-e", tiny_dataset.spec)
    assert done.code == 6
    assert "there is no split 'holdout'" in done.stdout


def test_a_record_of_another_run_beside_the_file_is_told_of(tiny_dataset, tmp_path, run_cli):
    """As it is where a run died between the names of the two."""
    for seed in ("1", "2"):
        command = ("detectnet_v2", "calibration_tensorfile", "-m", "1", "-e", tiny_dataset.spec, "--seed", seed)
        assert run_cli(*command, "-o", tmp_path / f"{seed}.t").code == 0
    assert "[record-beside]" not in run_cli("verify", tmp_path / "1.t").stdout
    (tmp_path / "2.t.json").replace(tmp_path / "1.t.json")
    done = run_cli("verify", tmp_path / "1.t")
    assert "1.t.json tells of another run than the manifest in the file [record-beside]" in done.stdout
    assert "[record-beside]" not in run_cli("verify", tmp_path / "2.t").stdout  # whose record is gone
