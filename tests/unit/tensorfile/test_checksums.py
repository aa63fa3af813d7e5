"""What was written can be told from what is read, whatever the compression; older files, which cannot, still verify."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import xxhash
from numpy.lib.recfunctions import repack_fields
from tests.tensorfiles import batch_name, edit

import int8cal
from int8cal.check.verify import verify
from int8cal.errors import TensorFileError
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.checksums import image_checksum

OLD_FILES = Path(__file__).parents[2] / "data" / "tensorfiles_8e82fdb"


@pytest.fixture(params=["fast", "small", "none"])
def made(request, tiny_dataset, tmp_path) -> Path:
    """A file of 2 batches of 4 images."""
    int8cal.make(int8cal.plan(tiny_dataset.spec), tmp_path / "made", compression=request.param)
    return tmp_path / "made"


def errors(path: Path) -> dict[str, str]:
    return {found.code: found.message for found in verify(path).findings if found.level == "error"}


def test_anybody_can_compute_them(made):
    """By the words of docs/reference/tensorfile.md, with h5py and xxhash alone."""
    with h5py.File(made) as file:
        text, table = bytes(file.attrs["int8cal"]), file["int8cal_samples"][()]
        for row in table:
            image = file[batch_name(row["batch"])][row["position"]]
            assert xxhash.xxh3_128_digest(image.astype("<f4").tobytes()) == row["xxh3_128"].tobytes()
    stated = json.loads(text)["record_xxh3_128"]
    blank = text.replace(stated.encode(), b"0" * 32)
    assert xxhash.xxh3_128_hexdigest(blank + table.tobytes()) == stated
    assert json.loads(text)["schema"] == 2


def test_an_image_checksum_is_of_its_values(made):
    image = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert image_checksum(image) == image_checksum(image.astype(">f4")) == image_checksum(np.asfortranarray(image))
    assert image_checksum(image) != image_checksum(-image)


def test_an_image_that_was_changed_is_named_and_not_read(made):
    with h5py.File(made, "r+") as file:
        file[batch_name(1)][2, 1, 5, 7] += 1
    with TensorFile(made) as file:
        assert len(file[0]) == 4
        with pytest.raises(TensorFileError, match="batch 1 image 2 is not what was written"):
            file[1]
    assert list(errors(made)) == ["batch-unreadable"]


def test_a_manifest_or_table_that_was_changed_is_noticed(made):
    with h5py.File(made, "r+") as file:
        manifest = json.loads(bytes(file.attrs["int8cal"])) | {"seed": 5}
        file.attrs["int8cal"] = np.bytes_(json.dumps(manifest))
    assert list(errors(made)) == ["record-changed"]
    edit(made)
    assert errors(made) == {}
    with h5py.File(made, "r+") as file:
        table = file["int8cal_samples"][()]
        table["width"][3] += 1
        file["int8cal_samples"][...] = table
    assert list(errors(made)) == ["record-changed"]


def test_a_byte_that_moves_to_the_next_text_is_noticed(made):
    """The table's bytes stay as they are: only the widths of its columns tell."""
    with h5py.File(made, "r+") as file:
        table = file["int8cal_samples"][()]
        widths = {
            "frame_id": table.dtype["frame_id"].itemsize - 1,
            "record_file": table.dtype["record_file"].itemsize + 1,
        }
        columns = [(name, f"S{widths[name]}" if name in widths else table.dtype[name]) for name in table.dtype.names]
        del file["int8cal_samples"]
        file["int8cal_samples"] = np.frombuffer(table.tobytes(), columns)
    assert list(errors(made)) == ["record-changed"]


@pytest.mark.parametrize("place", ["manifest", "table"])
def test_texts_that_are_said_to_be_utf8_are_noticed(made, place):
    """The bytes are the same; h5py tells of another type."""
    with h5py.File(made, "r+") as file:
        if place == "manifest":
            text = bytes(file.attrs["int8cal"])
            del file.attrs["int8cal"]
            file.attrs.create("int8cal", text, dtype=h5py.string_dtype("utf-8", len(text)))
        else:
            table = file["int8cal_samples"][()]
            columns = [(name, table.dtype[name]) for name in table.dtype.names]
            columns[3] = ("frame_id", h5py.string_dtype("utf-8", table.dtype["frame_id"].itemsize))
            del file["int8cal_samples"]
            file["int8cal_samples"] = np.frombuffer(table.tobytes(), columns)
    assert errors(made)


def test_files_that_do_not_state_the_widths_of_texts_still_verify(made):
    def without(manifest):
        del manifest["sample_text_bytes"]

    edit(made, manifest=without)
    assert errors(made) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"manifest": lambda manifest: manifest.pop("record_xxh3_128") and None},
        {"manifest": lambda manifest: manifest.update(schema=1)},
        {"manifest": lambda manifest: manifest.update(schema="2")},
        {"table": lambda table: repack_fields(table[list(table.dtype.names[:-1])])},
    ],
    ids=["no checksum", "version 1", "a version that is text", "no column"],
)
def test_checksums_cannot_be_left_out(made, change):
    edit(made, **change)
    assert "record-changed" in errors(made)


@pytest.mark.parametrize("name", ["fast.tensor", "parts.tensor"])
def test_files_without_checksums_still_verify(name):
    assert errors(OLD_FILES / name) == {}
    with TensorFile(OLD_FILES / name) as file:
        assert (file.format_version, file.checksums) == (1, None)
        batches = list(file)
    with h5py.File(OLD_FILES / name) as plain:
        for number, batch in enumerate(batches):
            np.testing.assert_array_equal(batch, plain[batch_name(number)])


def test_what_commit_8e82fdb_says_of_a_new_file(made):
    """Its rules, copied: batches are read, and only what needs the sample table is refused."""
    columns = ["batch", "position", "source", "frame_id", "record_file", "record_offset", "record_crc"]
    columns += ["height", "width", "encoded_bytes", "sha256"]
    with h5py.File(made) as file:
        manifest = json.loads(bytes(file.attrs["int8cal"]))
        assert file.attrs["int8cal"].dtype.kind == "S"
        assert type(manifest["schema"]) is int
        assert manifest["schema"] >= 0
        assert manifest["batches"] == len(file) - 1
        assert file[batch_name(0)].dtype == "<f4"
        assert list(file["int8cal_samples"].dtype.names) != columns, (
            "its verify: 'other columns than this version knows'"
        )


def test_inspect_says_whether_there_are_checksums(made, run_cli):
    new, old = run_cli("inspect", "--quick", made), run_cli("inspect", "--quick", OLD_FILES / "fast.tensor")
    assert "version 2, checksums: of each image, of manifest and sample table" in new.stdout
    assert "version 1, checksums: none" in old.stdout
    facts = json.loads(run_cli("inspect", "--quick", "--json", made).stdout)["tensorfile"]
    assert (facts["format_version"], facts["checksums"]) == (2, True)


@pytest.mark.parametrize("options", [{"shards": 2}, {"resume": True}])
def test_however_it_is_made(tiny_dataset, tmp_path, options):
    plan = int8cal.plan(tiny_dataset.spec)
    int8cal.make(plan, tmp_path / "whole")
    int8cal.make(plan, tmp_path / "made", **options)
    with TensorFile(tmp_path / "whole") as whole, TensorFile(tmp_path / "made") as made:
        assert made.samples.tobytes() == whole.samples.tobytes()
    assert errors(tmp_path / "made") == {}
