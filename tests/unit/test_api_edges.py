"""What Python users do that nobody meant: it is refused in words, or works."""

from __future__ import annotations

import pytest

import int8cal
from int8cal.errors import UsageError


def test_plans_and_specs_are_equal_to_themselves_alone(tiny_dataset):
    spec = int8cal.read_spec(tiny_dataset.spec)
    plan, again = int8cal.plan(spec), int8cal.plan(spec)
    assert plan != again
    assert plan in [again, plan]
    assert len({plan, again, spec}) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": "x"},
        {"data_root": 5},
        {"cal_image_dir": 5},
        {"max_batches": "2"},
        {"seed": 1.5},
        {"batch_size": True},
    ],
    ids=str,
)
def test_wrong_types_are_refused_in_words(tiny_dataset, wrong):
    with pytest.raises(UsageError):
        int8cal.plan(tiny_dataset.spec, **wrong)


def test_a_claim_is_about_an_origin(tiny_dataset):
    with pytest.raises(UsageError, match="a claim cannot be about a str"):
        int8cal.Claim(str(tiny_dataset.spec))


def test_a_plan_goes_wherever_a_file_or_a_spec_goes(tiny_dataset, tmp_path):
    plan = int8cal.plan(tiny_dataset.spec)
    int8cal.make(plan, tmp_path / "c.tensor")
    assert int8cal.verify(tmp_path / "c.tensor", spec=plan).sound
    exported = int8cal.export(plan, tmp_path / "c.npz", "npz")
    assert exported is not None
