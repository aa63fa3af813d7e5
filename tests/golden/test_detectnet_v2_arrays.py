"""DetectNet_v2 against the reference's own output: spec → samples → order → arrays, no file written."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from int8cal import networks
from int8cal.pipeline import read_spec
from int8cal.samples.encoded import read_encoded
from int8cal.samples.paths import data_root

from .cases import DATA, GoldenCase, load_cases


@pytest.mark.parametrize("case", load_cases("detectnet_v2", "ok"), ids=str)
def test_arrays_are_equal_in_every_bit_and_in_order(case: GoldenCase) -> None:
    network = networks.get(case.network)
    spec = read_spec(str(case.spec), network.name)
    dataset = network.dataset(spec, case.split, data_root(case.environment))
    order = network.order(spec.message, dataset, network.seed(spec.message))
    arithmetic = network.arithmetic(spec, dataset, {})
    batches, images, *shape = case.shape
    assert network.batch_size(spec.message) == images
    assert (batches if case.max_batches < 0 else case.max_batches) == batches <= len(order) // images

    chosen = [dataset.samples[index] for index in order[: batches * images]]
    assert [os.path.relpath(sample.path, DATA) for sample in chosen] == [sample["file"] for sample in case.samples]
    assert [sample.frame_id for sample in chosen] == [sample["frame_id"] for sample in case.samples]
    assert [sample.source for sample in chosen] == [sample["source"] for sample in case.samples]

    for position, (sample, golden) in enumerate(zip(chosen, case.samples, strict=True)):
        values = arithmetic(read_encoded(sample), sample)
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        assert values.shape == tuple(shape) == arithmetic.shape(sample)
        if case.expected is not None:
            np.testing.assert_array_equal(values, case.expected[divmod(position, images)])
        assert hashlib.sha256(values.tobytes()).hexdigest() == golden["sha256"], f"{golden['file']} differs"
