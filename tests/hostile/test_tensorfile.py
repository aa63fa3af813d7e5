"""Hostile HDF5 files: each is refused with a tensorfile error, before memory is taken."""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.memory import PEAK_MIB

from int8cal.check.verify import verify
from int8cal.errors import TensorFileError
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.layout import SAMPLE_FIELDS

from ..build import zeros_deflated

GROUP, DATASET = "_tensorfile_array_key__0", "_tensorfile_array_key_"


def make(path, *, count=1, shape=(1, 1, 4, 4), fill=None):
    with h5py.File(path, "w") as file:
        file.attrs["count"] = count
        file.attrs["shape"] = shape
        if fill:
            fill(file)
        else:
            file.create_group(GROUP).create_dataset(DATASET, data=np.zeros((1, 1, 4, 4), np.float32))
    return path


def soft_link(file):
    file.create_dataset("elsewhere", data=np.zeros((1, 1, 4, 4), np.float32))
    file.create_group(GROUP)[DATASET] = h5py.SoftLink("/elsewhere")


def soft_group(file):
    file[GROUP] = h5py.SoftLink("/")


def external_link(file):
    file.create_group(GROUP)[DATASET] = h5py.ExternalLink("/etc/passwd", "/x")


def external_storage(file):
    file.create_group(GROUP).create_dataset(DATASET, shape=(1, 1, 4, 4), dtype="<f4", external=[("/etc/passwd", 0, 64)])


def virtual(file):
    layout = h5py.VirtualLayout((1, 1, 4, 4), "<f4")
    layout[:] = h5py.VirtualSource("/other.h5", "x", (1, 1, 4, 4))
    file.create_group(GROUP).create_virtual_dataset(DATASET, layout)


def other_shape(file):
    file.create_group(GROUP).create_dataset(DATASET, data=np.zeros((1, 1, 8, 8), np.float32))


def text(file):
    file.create_group(GROUP).create_dataset(DATASET, data=np.full((1, 1, 4, 4), b"abc", "S3"))


def strange_filter(file):
    file.create_group(GROUP).create_dataset(DATASET, shape=(1, 1, 4, 4), dtype="<f4", chunks=True, scaleoffset=0)


def dataset_for_group(file):
    file.create_dataset(GROUP, data=np.zeros((1, 1, 4, 4), np.float32))


def no_batch(file):
    file.create_group("another")


@pytest.mark.parametrize(
    "fill",
    [
        soft_link,
        soft_group,
        external_link,
        external_storage,
        virtual,
        other_shape,
        text,
        strange_filter,
        dataset_for_group,
        no_batch,
    ],
)
def test_refused_when_read(tmp_path, fill):
    with TensorFile(make(tmp_path / "f", fill=fill)) as file, pytest.raises(TensorFileError) as caught:
        file[0]
    assert caught.value.where == str(tmp_path / "f")


@pytest.mark.parametrize("count", [0, -1, 7, 1 << 62, "one", [1, 2]])
def test_refused_count(tmp_path, count):
    with pytest.raises(TensorFileError):
        TensorFile(make(tmp_path / "f", count=count))


@pytest.mark.parametrize("shape", [(1,), (1, 1, 4, 0), (1, 1, -4, 4), (1, 3, 1 << 20, 1 << 20), "abcd", (0.5,) * 4])
def test_refused_shape(tmp_path, shape):
    with pytest.raises(TensorFileError):
        TensorFile(make(tmp_path / "f", shape=shape))


# --- files that are refused by every command, within a second and without taking memory ------------------------------

LARGE = (1, 3, 416, 416)  # 2 MB: what a bomb's compressed bytes hide behind


def declared_only(file):
    """Half a gigabyte that no bytes back."""
    file.create_group(GROUP).create_dataset(DATASET, shape=(1, 1, 11000, 11000), dtype="<f4", chunks=True)


def chunk_bomb(compressed, **filters):
    """A chunk of 2 MB by its description, which inflates to hundreds of megabytes."""

    def fill(file):
        dataset = file.create_group(GROUP).create_dataset(DATASET, LARGE, "<f4", chunks=LARGE, **filters)
        dataset.id.write_direct_chunk((0, 0, 0, 0), compressed)

    return fill


def lzf_zeros():
    """LZF of zeros, as long as a chunk may be: about 180 MB."""
    literal, back_reference = b"\x00\x00", b"\xe0\xff\x00"
    return literal + back_reference * 650_000


def sample_table_bomb(file):
    """A sample table of 4 GB."""
    sound(file)
    row = np.dtype([(name, "S4000" if kind == "S" else kind) for name, kind in SAMPLE_FIELDS])
    file.create_dataset("int8cal_samples", shape=(1_000_000,), dtype=row, chunks=(1000,), compression="gzip")
    file["int8cal_samples"][:1000] = np.zeros(1000, row)


def sample_chunk_bomb(file):
    """A sample table of one row, whose chunk inflates to hundreds of megabytes."""
    sound(file)
    row = np.dtype([(name, "S60000" if kind == "S" else kind) for name, kind in SAMPLE_FIELDS])
    table = file.create_dataset("int8cal_samples", shape=(1,), dtype=row, chunks=(1,), compression="gzip")
    table.id.write_direct_chunk((0,), zeros_deflated(100))


def sample_pointers(file):
    """A sample table whose names are pointers to variable-length strings."""
    sound(file)
    row = np.dtype([(name, h5py.string_dtype() if kind == "S" else kind) for name, kind in SAMPLE_FIELDS])
    file.create_dataset("int8cal_samples", shape=(1,), dtype=row)


def sound(file):
    file.create_group(GROUP).create_dataset(DATASET, data=np.random.default_rng(0).random((1, 1, 4, 4), np.float32))


def cycle(file):
    file[GROUP] = file["/"]


def unknown_filter(file):
    file.create_group(GROUP).create_dataset(
        DATASET, (1, 1, 4, 4), "<f4", chunks=(1, 1, 4, 4), compression=32008, allow_unknown_filter=True
    ).id.write_direct_chunk((0, 0, 0, 0), bytes(64))


def checksum_filter(file):
    file.create_group(GROUP).create_dataset(DATASET, data=np.zeros((1, 1, 4, 4), np.float32), fletcher32=True)


def missing_chunk(file):
    dataset = file.create_group(GROUP).create_dataset(DATASET, (2, 1, 4, 4), "<f4", chunks=(1, 1, 4, 4))
    dataset[0] = np.random.default_rng(0).random((1, 4, 4))


def cut_chunk(file):
    chunk_bomb(zlib.compress(np.random.default_rng(0).bytes(2_076_672))[:1_000_000], compression="gzip")(file)


def garbage_chunk(file):
    chunk_bomb(b"garbage" * 1000, compression="gzip")(file)


def short_chunk(file):
    chunk_bomb(zlib.compress(np.random.default_rng(0).bytes(1_000_000)), compression="gzip")(file)


def no_values(file):
    file.create_group(GROUP).create_dataset(DATASET, data=h5py.Empty("<f4"))


def pointers(file):
    file.create_group(GROUP).create_dataset(DATASET, (1, 1, 4, 4), h5py.vlen_dtype(np.float32))


def endless_virtual(file):
    """A virtual dataset whose extent is that of other files, which are opened when someone asks for its shape."""
    layout = h5py.VirtualLayout((1, 1, 4, 4), "<f4", maxshape=(None, 1, 4, 4))
    source = h5py.VirtualSource("/dev/zero", "x", (1, 1, 4, 4), maxshape=(None, 1, 4, 4))
    layout[: h5py.h5s.UNLIMITED :, :, :, :] = source[: h5py.h5s.UNLIMITED :, :, :, :]
    file.create_group(GROUP).create_virtual_dataset(DATASET, layout)


REFUSED = {
    "soft link": (soft_link, (1, 1, 4, 4)),
    "soft group": (soft_group, (1, 1, 4, 4)),
    "external link": (external_link, (1, 1, 4, 4)),
    "external storage": (external_storage, (1, 1, 4, 4)),
    "virtual": (virtual, (1, 1, 4, 4)),
    "endless virtual": (endless_virtual, (1, 1, 4, 4)),
    "lying shape": (other_shape, (1, 1, 4, 4)),
    "cycle": (cycle, (1, 1, 4, 4)),
    "declared only": (declared_only, (1, 1, 11000, 11000)),
    "huge dimensions": (sound, (1, 3, 1 << 20, 1 << 20)),
    "deflate bomb": (chunk_bomb(zeros_deflated(600), compression="gzip"), LARGE),
    "shuffled bomb": (chunk_bomb(zeros_deflated(600), compression="gzip", shuffle=True), LARGE),
    "LZF bomb": (chunk_bomb(lzf_zeros(), compression="lzf"), LARGE),
    "sample table bomb": (sample_table_bomb, (1, 1, 4, 4)),
    "sample chunk bomb": (sample_chunk_bomb, (1, 1, 4, 4)),
    "sample pointers": (sample_pointers, (1, 1, 4, 4)),
    "unknown filter": (unknown_filter, (1, 1, 4, 4)),
    "checksum filter": (checksum_filter, (1, 1, 4, 4)),
    "strange filter": (strange_filter, (1, 1, 4, 4)),
    "missing chunk": (missing_chunk, (2, 1, 4, 4)),
    "cut chunk": (cut_chunk, LARGE),
    "garbage chunk": (garbage_chunk, LARGE),
    "short chunk": (short_chunk, LARGE),
    "no values": (no_values, (1, 1, 4, 4)),
    "pointers": (pointers, (1, 1, 4, 4)),
}

VERIFY_EACH = (
    PEAK_MIB
    + """
import contextlib, io, json, sys, time
from int8cal.cli.app import run

import h5py, numpy, imagecodecs, isal, int8cal.check.verify
for path in sys.argv[1:]:
    said, started = io.StringIO(), time.process_time()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run(["verify", path])
    print(json.dumps([code, time.process_time() - started, peak_mib(), said.getvalue()]))
"""
)


def test_refused_in_time_and_memory(tmp_path):
    """One process reads them all, so the peak of its memory is the largest of any."""
    paths = [make(tmp_path / name, shape=shape, count=1, fill=fill) for name, (fill, shape) in REFUSED.items()]
    done = subprocess.run(
        [sys.executable, "-c", VERIFY_EACH, *paths], capture_output=True, text=True, timeout=60, check=True
    )
    for name, line in zip(REFUSED, done.stdout.splitlines(), strict=True):
        code, seconds, megabytes, said = json.loads(line)
        assert code == 6, f"{name}: {said}"
        assert "Traceback" not in said
        assert seconds < 1, name
        assert megabytes < 200, name


def with_filter(path, code, settings):
    """A batch with a filter that has any settings: those of an unknown filter, which HDF5 does not look at."""
    unknown, values = 32008, np.arange(16, dtype="<f4").reshape(1, 1, 4, 4)

    def fill(file):
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(values.shape)
        properties.set_filter(unknown, h5py.h5z.FLAG_OPTIONAL, settings)
        space, group = h5py.h5s.create_simple(values.shape), file.create_group(GROUP)
        dataset = h5py.h5d.create(group.id, DATASET.encode(), h5py.h5t.IEEE_F32LE, space, properties)
        dataset.write_direct_chunk((0, 0, 0, 0), values.tobytes(), filter_mask=1)

    data = make(path, fill=fill).read_bytes()
    found = struct.pack("<4H", unknown, 0, 1, len(settings))
    assert data.count(found) == 1
    path.write_bytes(data.replace(found, struct.pack("<4H", code, 0, 1, len(settings))))


@pytest.mark.parametrize("size", [0, 63, 65, 100_000, 0x7FFF_FFFF])
def test_a_chunk_of_another_size_than_its_values(tmp_path, size):
    """HDF5 tells the size by the extents, and reads as much as the tree says into the memory that it is given."""

    def fill(file):
        values = np.arange(32, dtype="<f4").reshape(2, 1, 4, 4)
        file.create_group(GROUP).create_dataset(DATASET, data=values, chunks=(1, 1, 4, 4))
        file["more"] = np.ones(200_000, np.uint8)

    path = make(tmp_path / "f", shape=(2, 1, 4, 4), fill=fill)
    data = bytearray(path.read_bytes())
    first = data.index(b"TREE\x01") + 24
    for key in (first, first + 8 + 8 * 5 + 8):
        changed = data.copy()
        assert struct.unpack_from("<I", changed, key) == (64,)
        struct.pack_into("<I", changed, key, size)
        path.write_bytes(changed)
        with TensorFile(path) as file, pytest.raises(TensorFileError, match="a chunk of another size"):
            file[0]


@pytest.mark.parametrize(
    ("shape", "chunks", "is_read"),
    [
        ((300, 1, 4, 4), (1, 1, 4, 4), False),  # 64 bytes each
        ((256, 1, 4, 4), (1, 1, 4, 4), True),  # a chunk for each image, as int8cal writes it
        ((1, 1, 64, 64), (1, 1, 4, 4), False),
        ((1, 1, 64, 64), (1, 1, 16, 16), True),
        ((1, 1, 4096, 4096), (1, 1, 16, 16), False),  # 65,536, which took 6 s
    ],
)
def test_number_of_chunks(tmp_path, shape, chunks, is_read):
    """Each one costs 0.1 ms, however little is in it."""

    def fill(file):
        dataset = file.create_group(GROUP).create_dataset(DATASET, shape, "<f4", chunks=chunks, compression="gzip")
        if is_read:
            dataset[...] = 1
        else:
            dataset.id.write_direct_chunk((0, 0, 0, 0), bytes(1024 * math.prod(chunks)))

    with TensorFile(make(tmp_path / "f", shape=shape, fill=fill)) as file:
        if is_read:
            assert file[0].sum() == math.prod(shape)
            return
        with pytest.raises(TensorFileError, match="far too many"):
            file[0]


SOUND_SETTINGS = {
    h5py.h5z.FILTER_DEFLATE: (6,),
    h5py.h5z.FILTER_SHUFFLE: (4,),
    h5py.h5z.FILTER_LZF: (4, 0x105, 64),
}


@pytest.mark.parametrize("code", SOUND_SETTINGS)
def test_filters_that_a_chunk_left_out(tmp_path, code):
    with_filter(tmp_path / "f", code, SOUND_SETTINGS[code])
    with TensorFile(tmp_path / "f") as file:
        np.testing.assert_array_equal(file[0].ravel(), np.arange(16))


@pytest.mark.parametrize(
    ("code", "settings"),
    [
        *((h5py.h5z.FILTER_DEFLATE, settings) for settings in [(), (10,), (6, 6), (0xFFFF_FFFF,)]),
        *((h5py.h5z.FILTER_SHUFFLE, settings) for settings in [(), (0,), (8,), (4, 4), (0xFFFF_FFFF,)]),
        *((h5py.h5z.FILTER_LZF, (4, 0x105, size)) for size in (0, 1, 63, 65, 0x7FFF_FFFF, 0xFFFF_FFF0)),
        *((h5py.h5z.FILTER_LZF, settings) for settings in [(), (4, 0x105), (4, 0x105, 64, 64)]),
        (h5py.h5z.FILTER_FLETCHER32, ()),
        (h5py.h5z.FILTER_SZIP, (4, 32, 8, 0xFFFF_FFFF)),
        (h5py.h5z.FILTER_NBIT, (8, 0, 0xFFFF_FFFF, 1, 4, 0, 32, 0)),
        (h5py.h5z.FILTER_SCALEOFFSET, (0,) * 4 + (0xFFFF_FFFF,) * 16),
        (32009, (1,) * 500),
    ],
)
def test_settings_of_filters_that_no_writer_gives(tmp_path, code, settings):
    """HDF5's own lzf takes 4 GB if its settings say so; in older versions of h5py there is room for 16 settings."""
    with_filter(tmp_path / "f", code, settings)
    with TensorFile(tmp_path / "f") as file, pytest.raises(TensorFileError, match=r"settings that cannot|other than"):
        file[0]


def test_plugins_are_never_loaded(tmp_path):
    """The dynamic linker itself is asked what it loads."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    library = next(Path(sys.modules["numpy"].__file__).parent.rglob("*.so"))
    (plugins / "libh5bait.so").write_bytes(library.read_bytes())
    path = make(tmp_path / "f", fill=unknown_filter)
    environment = {**os.environ, "HDF5_PLUGIN_PATH": str(plugins), "LD_DEBUG": "files"}

    def loads(program):
        command = [sys.executable, "-c", program, path]
        said = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False).stderr
        return "libh5bait.so" in said

    plain = "import h5py, sys; h5py.File(sys.argv[1])['_tensorfile_array_key__0/_tensorfile_array_key_'][()]"
    assert loads(plain), "HDF5 itself does load it: the test can fail"
    assert not loads("import sys; from int8cal.cli.app import run; run(['verify', sys.argv[1]])")
    assert not loads("import sys; from int8cal.cli.app import run; run(['inspect', sys.argv[1]])")


@pytest.mark.parametrize(
    "attribute", [np.bytes_(b" " * 65_000), "text", np.zeros(100_000, "S1"), h5py.Empty("S1")], ids=str
)
def test_root_attributes_of_every_kind(tmp_path, attribute):
    for name in ("count", "shape", "int8cal"):
        path = tmp_path / name
        with h5py.File(path, "w", libver="latest") as file:  # the newer format has room for large attributes
            sound(file)
            file.attrs.update({"count": 1, "shape": (1, 1, 4, 4), name: attribute})
        with pytest.raises(TensorFileError) as caught:
            TensorFile(path)
        assert caught.value.where == str(path)


def test_damaged_at_any_byte(tmp_path):
    """Whatever is flipped, it is read, or refused as unsound; nothing else."""
    whole = bytearray(Path(make(tmp_path / "whole", fill=sound)).read_bytes())
    random = np.random.default_rng(0)
    path = tmp_path / "damaged"
    for _ in range(300):
        damaged = whole.copy()
        for place in random.integers(0, len(damaged), 3):
            damaged[place] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        with contextlib.suppress(TensorFileError):
            verify(path)


@pytest.mark.parametrize(
    "manifest",
    [np.bytes_(b"{"), np.bytes_(b"[1]"), 7, "text"]
    + [np.bytes_(text) for text in (b"[" * 50_000, b'{"a": ' + b"9" * 5000 + b"}", b'{"a": "\xff"}')],
)
def test_refused_manifest(tmp_path, manifest):
    path = make(tmp_path / "f")
    with h5py.File(path, "a") as file:
        file.attrs["int8cal"] = manifest
    with pytest.raises(TensorFileError, match="manifest") as caught:
        TensorFile(path)
    assert "Make it again" in (caught.value.hint or "")
    assert "set_int_max_str_digits" not in str(caught.value)


def test_truncated_anywhere(tmp_path):
    whole = Path(make(tmp_path / "f")).read_bytes()
    for length in range(0, len(whole), 97):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        with pytest.raises(TensorFileError), TensorFile(path) as file:
            file[0]


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_no_hdf5(tmp_path, content):
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(TensorFileError, match=r"cannot be opened as HDF5|is a text file, and not a tensorfile"):
        TensorFile(path)


def test_missing_file(tmp_path):
    with pytest.raises(TensorFileError, match="no such file") as caught:
        TensorFile(tmp_path / "f")
    assert caught.value.exit_code == 6


def test_disk_that_is_full(tmp_path):
    """A write beyond the file size limit is an error of ours, and the process ends in order."""
    path = str(tmp_path / "f")
    program = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from int8cal.errors import OutputError\n"
        "from int8cal.tensorfile.chunks import Compression\n"
        "from int8cal.tensorfile.writer import TensorFileWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "encoder = Compression.named('none')\n"
        "image = np.random.default_rng(0).random((3, 100, 100), np.float32)\n"
        "try:\n"
        f"    with TensorFileWriter({path!r}, (1, 3, 100, 100), encoder) as writer:\n"
        "        for _ in range(20):\n"
        "            writer.append(encoder.encode(image))\n"
        "        writer.finish({}, [])\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "cannot write the tensorfile" in done.stdout
    assert done.stderr == ""


# --- what is sound to our reader, and not to HDF5's own ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["count", "shape", "int8cal_samples"])
def test_a_name_that_occurs_twice(tmp_path, name):
    other = name[:-1] + "_"
    path = make(tmp_path / "f")
    with h5py.File(path, "a") as file:
        if name == "int8cal_samples":
            file.create_dataset(name, data=np.zeros(4))
            file.create_dataset(other, data=np.ones(4))
        else:
            file.attrs[other] = np.arange(4)
    data = path.read_bytes()
    assert data.count(other.encode()) == 1
    path.write_bytes(data.replace(other.encode(), name.encode()))
    with pytest.raises(TensorFileError, match=r"two attributes that are named|a name twice"):
        verify(path)


def with_code_tables(data: bytes, literals: int, distances: int) -> bytes:
    """One dynamic block that declares so many literal and distance codes; those beyond the usual have no length."""
    bits: list[int] = []

    def number(value: int, count: int) -> None:
        bits.extend(value >> place & 1 for place in range(count))

    def code(value: int, count: int) -> None:
        bits.extend(value >> place & 1 for place in reversed(range(count)))

    number(0b101, 3)
    number(literals - 257, 5)
    number(distances - 1, 5)
    number(7 - 4, 4)
    lengths = {8: (0, 1), 0: (2, 2), 9: (3, 2)}
    for symbol in (16, 17, 18, 0, 8, 7, 9):
        number(lengths[symbol][1] if symbol in lengths else 0, 3)
    for length in [8] * 255 + [9, 9] + [0] * (literals - 257 + distances):
        code(*lengths[length])
    for byte in data:
        code(*((byte, 8) if byte < 255 else (510, 9)))
    code(511, 9)
    block = np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()
    return b"\x78\x01" + block + zlib.adler32(data).to_bytes(4, "big")


@pytest.mark.parametrize(("literals", "distances"), [(286, 30), (287, 1), (288, 1), (286, 31), (286, 32)])
def test_code_tables_that_hdf5_does_not_take(tmp_path, literals, distances):
    values = np.arange(16, dtype="<f4").reshape(1, 1, 4, 4)

    def fill(file):
        dataset = file.create_group(GROUP).create_dataset(
            DATASET, values.shape, "<f4", chunks=values.shape, compression="gzip"
        )
        dataset.id.write_direct_chunk((0, 0, 0, 0), with_code_tables(values.tobytes(), literals, distances))

    path = make(tmp_path / "f", fill=fill)
    codes = {finding.code for finding in verify(path).findings}
    if (literals, distances) == (286, 30):
        with h5py.File(path) as file:
            np.testing.assert_array_equal(file[f"{GROUP}/{DATASET}"][()], values)
        assert "batch-unreadable" not in codes
        return
    with h5py.File(path) as file, pytest.raises(OSError, match=r"filter|inflate"):
        file[f"{GROUP}/{DATASET}"][()]
    assert "batch-unreadable" in codes
