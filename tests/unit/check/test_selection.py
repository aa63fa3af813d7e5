"""Images from all over a file."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.check.files import write_like_tao

from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.selection import evenly, some_images


@pytest.mark.parametrize("count", [1, 2, 47, 48, 49, 1000])
@pytest.mark.parametrize("wanted", [1, 2, 48])
def test_evenly(count, wanted):
    numbers = evenly(count, wanted)
    assert len(numbers) == len(set(numbers)) == min(count, wanted)
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert wanted == 1 or numbers[-1] == count - 1


def test_some_images_leaves_out_what_cannot_be_used(tmp_path):
    batches = np.arange(12, dtype=np.float32).reshape(3, 4, 1, 1, 1) * np.ones((2, 2), np.float32)
    batches[1, 2] = np.nan
    with TensorFile(write_like_tao(tmp_path / "f", batches)) as file:
        assert some_images(file, 100)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
        assert some_images(file, 2)[:, 0, 0, 0].tolist() == [0, 11]
