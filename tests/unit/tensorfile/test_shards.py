"""A tensorfile in parts: one file to every reader, an error as soon as a part is not what the head declares."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from int8cal.errors import OutputError, OutputExistsError, TensorFileError, UsageError
from int8cal.io.files import OutputFile
from int8cal.tensorfile import TensorFile, parts
from int8cal.tensorfile.check import ValueCheck, check_structure
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.shards import TensorFileOutput

ENCODER = Compression.named("fast")
BATCHES = np.random.default_rng(0).random((7, 2, 1, 4, 5), np.float32)


def fill(output: TensorFileOutput, batches: np.ndarray = BATCHES, at_most: int | None = None) -> dict:
    with output.writer(batches.shape[1:], ENCODER, at_most or len(batches)) as writer:
        for image in batches.reshape(-1, *batches.shape[2:]):
            writer.append(ENCODER.encode(image))
        return writer.finish({"network": "x"}, ())


def write(path: Path, shards: int | None = 3, batches: np.ndarray = BATCHES, **options) -> Path:
    with TensorFileOutput(str(path), shards=shards, **options) as output:
        fill(output, batches)
        output.commit()
    return path


def parts_of(head: Path) -> list[str]:
    """Paths of the parts that a head declares."""
    with h5py.File(head) as file:
        manifest = json.loads(bytes(file.attrs["int8cal"]))
    return [str(head.with_name(part["name"])) for part in manifest["parts"]]


def listing(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.fixture
def head(tmp_path) -> Path:
    return write(tmp_path / "c.tensor")


def test_one_file_to_our_reader(head):
    for number, part in enumerate(map(Path, parts_of(head))):
        assert part.name == f"c.tensor-0000{number}-of-00003-{hashlib.sha256(part.read_bytes()).hexdigest()[:8]}"
    assert listing(head.parent) == ["c.tensor", *(Path(part).name for part in parts_of(head))]
    with TensorFile(head) as file:
        np.testing.assert_array_equal(np.stack(list(file)), BATCHES)
        np.testing.assert_array_equal(file[-1], BATCHES[-1])
        np.testing.assert_array_equal(file[0], BATCHES[0])
        assert [part["batches"] for part in file.manifest["parts"]] == [3, 2, 2]
        assert file.filters(6) == ("shuffle", "deflate")
        values = ValueCheck(file)
        assert sum(len(images) for _, images, _ in values.images()) == 14
        assert values.findings == []
        assert not [f for f in check_structure(file) if "manifest" not in f.message]


def test_one_file_to_any_hdf5_reader_from_anywhere(head, monkeypatch):
    monkeypatch.chdir("/")
    with h5py.File(head) as file:
        assert head.read_bytes()[8] == 0, "superblock 0, for the oldest readers"
        assert file.attrs["count"] == 7
        for number, batch in enumerate(BATCHES):
            array = file[f"_tensorfile_array_key__{number}"]["_tensorfile_array_key_"][()]
            np.testing.assert_array_equal(array, batch)


def test_each_part_is_a_tensorfile_of_its_own(head):
    with TensorFile(parts_of(head)[1]) as part:
        np.testing.assert_array_equal(np.stack(list(part)), BATCHES[3:5])


def test_the_folder_can_be_moved_and_the_head_renamed(head, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in listing(tmp_path):
        if name != "elsewhere":
            shutil.move(tmp_path / name, moved / name)
    (moved / "c.tensor").rename(moved / "renamed")
    with TensorFile(moved / "renamed") as file:
        np.testing.assert_array_equal(file[5], BATCHES[5])


FIRST_BATCH = {0: 0, 1: 3, 2: 5}
"""First batch of each part."""


@pytest.mark.parametrize(("number", "first"), FIRST_BATCH.items())
def test_a_missing_part(head, number, first):
    part = parts_of(head)[number]
    os.unlink(part)
    with TensorFile(head) as file, pytest.raises(TensorFileError, match="missing") as caught:
        list(file)
    assert caught.value.where == part
    with h5py.File(head) as file, pytest.raises(KeyError):
        file[f"_tensorfile_array_key__{first}"]


@pytest.mark.parametrize(("number", "first"), FIRST_BATCH.items())
def test_a_changed_part(head, number, first):
    part = Path(parts_of(head)[number])
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    with TensorFile(head) as file:
        for _ in range(2):
            with pytest.raises(TensorFileError, match="not the one that its head file was made with") as caught:
                file[first]
        assert caught.value.where == str(part)


@pytest.mark.parametrize(("kind", "named"), [("symlink", "a link"), ("folder", "a folder"), ("pipe", "a named pipe")])
def test_a_part_that_is_no_regular_file(head, tmp_path, kind, named):
    part = Path(parts_of(head)[0])
    part.rename(tmp_path / "aside")
    if kind == "symlink":
        part.symlink_to(tmp_path / "aside")
    elif kind == "folder":
        part.mkdir()
    else:
        os.mkfifo(part)
    with TensorFile(head) as file, pytest.raises(TensorFileError, match=f"is not a regular file but {named}"):
        file[0]


def test_verifying_tells_of_each_part_once(head):
    missing, changed, _ = parts_of(head)
    os.unlink(missing)
    with open(changed, "ab") as file:
        file.write(b"more")
    with TensorFile(head) as file:
        values = ValueCheck(file)
        assert [first for first, *_ in values.images()] == [10, 12]
        found = {finding.message: finding.hint for finding in values.findings}
    assert found == {
        f"{missing}: this part file is missing (3 batches)": parts._KEEP,
        f"{changed}: this part file is not the one that its head file was made with (2 batches)": parts._KEEP,
    }


def test_a_head_behind_a_link_in_another_folder(head, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(head)
    with TensorFile(tmp_path / "elsewhere" / "link") as file:
        np.testing.assert_array_equal(file[5], BATCHES[5])


@pytest.mark.parametrize("damaged", [False, True])
def test_parts_beside_a_link_are_those_that_hdf5_reads(head, tmp_path, damaged):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link"
    link.symlink_to(head)
    copies = [shutil.copy(part, tmp_path / "elsewhere") for part in parts_of(head)]
    if damaged:
        with h5py.File(copies[1], "r+") as file:
            file["_tensorfile_array_key__0/_tensorfile_array_key_"][...] = 0.5
    with h5py.File(link) as file:
        assert file["_tensorfile_array_key__3"].file.filename == str(copies[1])
    with TensorFile(link) as file:
        assert file.paths == (str(link), *map(str, copies))
        np.testing.assert_array_equal(file[0], BATCHES[0])
        if damaged:
            with pytest.raises(TensorFileError, match="not the one that its head file was made with"):
                file[3]


def edited(head: Path, change) -> Path:
    """The head with another manifest."""
    with h5py.File(head, "r+") as file:
        manifest = json.loads(bytes(file.attrs["int8cal"]))
        change(manifest["parts"])
        file.attrs["int8cal"] = np.bytes_(json.dumps(manifest))
    return head


@pytest.mark.parametrize(
    "name", ["../c.tensor-00000-of-00003", "/etc/passwd", "", ".", "..", "a\0b", "\ud800", 3, None, "sub/part"]
)
def test_names_that_are_no_siblings(head, name):
    with pytest.raises(TensorFileError, match="list of part files is unsound"):
        TensorFile(edited(head, lambda parts: parts[0].update(name=name)))


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: parts[0].update(batches=-3),
        lambda parts: parts[0].update(batches=True),
        lambda parts: parts[0].update(sha256="00"),
        lambda parts: parts[0].update(more=1),
        lambda parts: parts.append("x"),
        lambda parts: parts.extend(parts * 40),
    ],
)
def test_unsound_declarations(head, change):
    with pytest.raises(TensorFileError, match="list of part files is unsound"):
        TensorFile(edited(head, change))


def test_declared_batches_must_add_up(head):
    with pytest.raises(TensorFileError, match="another number of batches"):
        TensorFile(edited(head, lambda parts: parts.pop()))


def test_links_must_lead_where_the_manifest_says(head):
    name = "_tensorfile_array_key__4"
    part = Path(parts_of(head)[1]).name
    with h5py.File(head, "r+") as file:
        del file[name]
        file[name] = h5py.ExternalLink(part, "/_tensorfile_array_key__0")
    with TensorFile(head) as file, pytest.raises(TensorFileError, match="batch 4 does not lie where"):
        file[4]


def test_links_of_files_without_declared_parts_are_not_followed(head):
    edited(head, lambda parts: parts.clear())
    with TensorFile(head) as file, pytest.raises(TensorFileError, match="link to another place"):
        file[0]


def test_a_part_of_another_shape(tmp_path, head):
    other = write(tmp_path / "other", 1, BATCHES[:3, :1])
    swapped = json.loads(json.dumps(TensorFile(other).manifest["parts"]))
    shutil.copy(other.with_name(swapped[0]["name"]), parts_of(head)[0])
    edited(head, lambda parts: parts[0].update(sha256=swapped[0]["sha256"]))
    with TensorFile(head) as file, pytest.raises(TensorFileError, match=r"holds 3 batches of .*declares 3 of"):
        file[0]


def test_its_size_is_that_of_all_files(head):
    paths = [head, *map(Path, parts_of(head))]
    with TensorFile(head) as file:
        assert file.file_bytes == sum(path.stat().st_size for path in paths)
        paths[2].unlink()
        with pytest.raises(TensorFileError, match="this part file is missing") as caught:
            _ = file.file_bytes
    assert caught.value.where == str(paths[2])


def test_nothing_is_left_without_commit(tmp_path):
    with TensorFileOutput(str(tmp_path / "c"), shards=3) as output:
        fill(output)
        assert [name for name in listing(tmp_path) if not name.startswith(".")] == []
    assert listing(tmp_path) == []


def test_a_failed_publication_leaves_no_part(tmp_path):
    with TensorFileOutput(str(tmp_path / "c"), shards=3) as output:
        taken = tmp_path / fill(output)["parts"][2]["name"]
        taken.write_text("mine")
        with pytest.raises(OutputExistsError) as caught:
            output.commit()
    assert caught.value.where == str(taken)
    assert listing(tmp_path) == [taken.name]


@pytest.mark.parametrize("published", [1, 2, 3])
def test_the_same_run_takes_over_what_a_dead_one_published(head, published):
    parts = parts_of(head)
    head.unlink()
    for part in parts[published:]:
        os.unlink(part)
    write(head)
    with TensorFile(head) as file:
        np.testing.assert_array_equal(np.stack(list(file)), BATCHES)
    assert parts_of(head) == parts
    assert len(listing(head.parent)) == 4


class DiesError(BaseException):
    """As if the process had been killed: nobody cleans up."""


@pytest.mark.parametrize("renames", [0, 1])
def test_an_old_file_is_whole_until_the_new_one_replaces_it(head, monkeypatch, renames):
    left = iter(range(renames))
    link = os.link

    def dying(source, target, **options):
        if next(left, None) is None:
            raise DiesError
        link(source, target, **options)

    monkeypatch.setattr(os, "link", dying)
    monkeypatch.setattr(OutputFile, "withdraw", lambda self: None)
    with pytest.raises(DiesError):
        write(head, 2, BATCHES[::-1], overwrite=True)
    with TensorFile(head) as file:
        np.testing.assert_array_equal(np.stack(list(file)), BATCHES)


def test_a_second_run_on_the_same_output_stops(tmp_path):
    second = TensorFileOutput(str(tmp_path / "c"), shards=2)
    with TensorFileOutput(str(tmp_path / "c"), shards=2), pytest.raises(OutputError, match="another run"):
        second.__enter__()


def test_overwriting(head, tmp_path):
    write(head, 3, BATCHES[:3], overwrite=True)
    with TensorFile(head) as file:
        np.testing.assert_array_equal(np.stack(list(file)), BATCHES[:3])
    assert len(listing(head.parent)) == 4


def test_overwriting_with_the_same(head):
    before = listing(head.parent)
    write(head, 3, overwrite=True)
    assert listing(head.parent) == before
    with TensorFile(head) as file:
        np.testing.assert_array_equal(np.stack(list(file)), BATCHES)


@pytest.mark.parametrize("shards", [2, None])
def test_overwriting_leaves_no_part_of_the_old_file(head, tmp_path, shards):
    (tmp_path / "c.tensor-00009-of-00009").write_text("not declared")
    write(head, shards, overwrite=True)
    new = [Path(part).name for part in parts_of(head)] if shards else []
    assert listing(tmp_path) == ["c.tensor", *new, "c.tensor-00009-of-00009"]


def test_scratch_folder(tmp_path):
    scratch = tmp_path / "scratch"
    head = write(tmp_path / "out" / "c", 2, scratch_dir=str(scratch))
    with TensorFile(head) as file:
        np.testing.assert_array_equal(np.stack(list(file)), BATCHES)
    assert listing(scratch) == []


def test_fewer_batches_than_planned_need_fewer_parts(tmp_path):
    with TensorFileOutput(str(tmp_path / "c"), shards=3) as output:
        assert [part["batches"] for part in fill(output, BATCHES[:4], at_most=6)["parts"]] == [2, 2]
        output.commit()
    assert [name[:16] for name in listing(tmp_path)] == ["c", "c-00000-of-00003", "c-00001-of-00003"]
    with TensorFile(tmp_path / "c") as file:
        np.testing.assert_array_equal(file[3], BATCHES[3])


def test_every_part_gets_a_batch_when_the_numbers_do_not_divide(tmp_path):
    head = write(tmp_path / "c", 6)
    assert [part["batches"] for part in TensorFile(head).manifest["parts"]] == [2, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("shards", [0, -1, 101])
def test_number_of_parts_out_of_range(tmp_path, shards):
    with pytest.raises(UsageError, match="part files cannot be made"):
        TensorFileOutput(str(tmp_path / "c"), shards=shards)


def test_more_parts_than_batches(tmp_path):
    with (
        pytest.raises(UsageError, match="7 batches do not fill 8"),
        TensorFileOutput(str(tmp_path / "c"), shards=8) as output,
    ):
        fill(output)
    assert listing(tmp_path) == []


def test_equal_content_gives_equal_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (write(tmp_path / folder / "c") for folder in "ab")
    for name in listing(first.parent):
        assert (first.parent / name).read_bytes() == (second.parent / name).read_bytes()


@pytest.mark.parametrize(("shards", "taken"), [(None, ".c.tensor.part"), (2, ".c.tensor.part"), (2, "part file")])
def test_what_another_run_has_begun_meanwhile_is_not_written_to(tmp_path, shards, taken):
    """Two runs that share no locks: the second has made its temporary file in the place of the first's."""
    with TensorFileOutput(str(tmp_path / "c.tensor"), shards=shards) as output:
        hidden = sorted(path for path in tmp_path.iterdir() if path.suffix == ".part")
        theirs = tmp_path / taken if taken.startswith(".") else next(p for p in hidden if p.name != ".c.tensor.part")
        theirs.unlink()
        theirs.write_bytes(b"theirs")
        with pytest.raises(OutputError, match="removed or replaced"):
            fill(output)
        assert theirs.read_bytes() == b"theirs"
    assert theirs.read_bytes() == b"theirs"
