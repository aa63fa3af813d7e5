"""One image's work: what an arithmetic may not make of it, whoever wrote the arithmetic."""

from __future__ import annotations

import errno
from dataclasses import replace

import numpy as np
import pytest
from tests.pictures import encode, pixels

from int8cal.engine.work import ChunkWork, EncodedSample, FailedSample, ImageWork
from int8cal.errors import OutOfMemoryError, ResourceError, UnavailableError
from int8cal.network_kit.network import Arithmetic
from int8cal.samples.samples import Sample
from int8cal.tensorfile.chunks import Compression


@pytest.fixture
def result_of(tmp_path):
    """What the work comes to when the arithmetic makes this tensor of the image."""
    path = tmp_path / "a.png"
    path.write_bytes(encode(pixels()))
    sample = Sample(0, "a", str(path))

    def result_of(tensor: np.ndarray) -> EncodedSample | FailedSample:
        arithmetic = Arithmetic(
            "plugin.odd", "unverified", lambda encoded, _: pixels(), lambda image, _: tensor, lambda _: (1, 2, 3)
        )
        return ChunkWork(ImageWork(arithmetic, (1, 2, 3)), Compression.named("none"))(sample)

    return result_of


def test_what_is_promised_is_taken(result_of):
    tensor = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    assert result_of(tensor).chunk == tensor.tobytes()


@pytest.mark.parametrize("compression", ["fast", "small", "none"])
@pytest.mark.parametrize("turned", [np.s_[::-1], np.s_[:, ::-1], np.s_[:, :, ::-1]])
def test_a_view_that_turns_an_image_becomes_what_it_shows(tmp_path, compression, turned):
    path, shape = tmp_path / "a.png", (3, 150, 160)
    path.write_bytes(encode(pixels()))
    view = np.random.default_rng(0).random(shape, np.float32).astype(np.float16).astype(np.float32)[turned]
    flipped = Arithmetic("plugin.flip", "unverified", lambda encoded, _: pixels(), lambda *_: view, lambda _: shape)
    plain = replace(flipped, to_tensor=lambda *_: view.copy())
    chunks = [
        ChunkWork(ImageWork(one, shape), Compression.named(compression))(Sample(0, "a", str(path))).chunk
        for one in (flipped, plain)
    ]
    assert chunks[0] == chunks[1]


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (np.zeros((1, 3, 2), np.float32), "becomes (1, 3, 2)"),
        (np.zeros((1, 2, 3)), "float64, not float32"),
        (np.full((1, 2, 3), np.nan, np.float32), "plugin.odd makes values of it that are not finite numbers"),
        (np.array([[[0, 0, 0], [0, 0, np.inf]]], np.float32), "not finite numbers"),
    ],
)
def test_what_is_not_is_an_error_with_the_place_of_the_image(result_of, tmp_path, tensor, said):
    failed = result_of(tensor)
    assert isinstance(failed, FailedSample)
    assert said in failed.error.message
    assert failed.error.where == str(tmp_path / "a.png")


@pytest.mark.parametrize("compression", ["fast", "small", "none"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.float32(3e38)])
@pytest.mark.parametrize("others", ["noise", "zeros", "the same"])
def test_one_bad_value_among_many_is_an_error(tmp_path, compression, value, others):
    path, shape = tmp_path / "a.png", (3, 120, 130)
    path.write_bytes(encode(pixels()))
    tensor = np.zeros(shape, np.float32)
    if others == "noise":
        tensor = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    tensor.flat[31_111 if others != "the same" else slice(None)] = value
    arithmetic = Arithmetic("odd", "unverified", lambda encoded, _: pixels(), lambda image, _: tensor, lambda _: shape)
    made = ChunkWork(ImageWork(arithmetic, shape), Compression.named(compression))(Sample(0, "a", str(path)))
    assert isinstance(made, EncodedSample if np.isfinite(value) else FailedSample)


@pytest.mark.parametrize("stage", ["decode", "to_tensor"])
def test_lack_of_memory_is_no_fault_of_the_image(tmp_path, stage):
    def exhausted(*_: object) -> np.ndarray:
        raise MemoryError("Unable to allocate 244. MiB")

    path = tmp_path / "a.png"
    path.write_bytes(encode(pixels()))
    stages = {"decode": lambda encoded, _: pixels(), "to_tensor": lambda image, _: image} | {stage: exhausted}
    arithmetic = Arithmetic("plugin", "unverified", stages["decode"], stages["to_tensor"], lambda _: (1, 2, 3))
    with pytest.raises(OutOfMemoryError, match="Unable to allocate 244") as caught:
        ChunkWork(ImageWork(arithmetic, (1, 2, 3)), Compression.named("none"))(Sample(0, "a", str(path)))
    assert caught.value.where == str(path)
    assert "--workers" in caught.value.hint


@pytest.mark.parametrize("stage", ["decode", "to_tensor"])
@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (OSError(errno.EMFILE, "Too many open files"), ResourceError),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), ResourceError),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), OutOfMemoryError),
        (ImportError("No module named 'x'"), UnavailableError),
        (OSError("a bug of the arithmetic"), OSError),
    ],
    ids=["files", "files for a library", "memory", "library", "bug"],
)
def test_what_the_system_refuses_is_no_fault_of_the_image(tmp_path, stage, refusal, kind):
    def refused(*_: object) -> np.ndarray:
        raise refusal

    path = tmp_path / "a.png"
    path.write_bytes(encode(pixels()))
    stages = {"decode": lambda encoded, _: pixels(), "to_tensor": lambda image, _: image} | {stage: refused}
    arithmetic = Arithmetic("plugin", "unverified", stages["decode"], stages["to_tensor"], lambda _: (1, 2, 3))
    with pytest.raises(kind) as caught:
        ChunkWork(ImageWork(arithmetic, (1, 2, 3)), Compression.named("none"))(Sample(0, "a", str(path)))
    assert getattr(caught.value, "where", str(path)) == str(path)
