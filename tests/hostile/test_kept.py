"""Every reader takes its sound inputs, and ends with an error of ours, or none, on those that it once failed on."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from tests.fuzz.driver import Driver, drivers

DRIVERS = drivers()


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
def test_sound_inputs_are_read(driver: Driver) -> None:
    for name, data in driver.corpus().items():
        try:
            driver.read(data)
        except driver.refusals as error:
            pytest.fail(f"{name}: {error}")


@pytest.mark.parametrize(
    ("driver", "name"),
    [pytest.param(driver, name, id=f"{driver.name}-{name}") for driver in DRIVERS.values() for name in driver.kept()],
)
def test_what_was_found_stays_mended(driver: Driver, name: str) -> None:
    with suppress(*driver.refusals):
        driver.read(driver.kept()[name])


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
def test_a_few_damaged_inputs(driver: Driver) -> None:
    """A little of `make fuzz` in every run."""
    seeds = list(driver.corpus().values())
    for number in range(25):
        with suppress(*driver.refusals):
            driver.read(driver.mutated(seeds, Random(f"0 {driver.name} {number}")))
