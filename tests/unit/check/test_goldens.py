"""Right files raise no alarm, and are proved to be right: every golden case, with and without a manifest."""

from __future__ import annotations

import numpy as np
import pytest
from tests.golden.cases import DATA, GoldenCase, load_cases
from tests.unit.check.files import write_like_tao

import int8cal
from int8cal import networks
from int8cal.check.rebuild import Claim
from int8cal.check.verify import verify

LOUD = {"classification/torch3_mean_ignored", "detectnet_v2/m1_train_3src", "detectnet_v2/m2_train_empty_src"}
"""Cases whose file really lacks a picture that is twice as loud as all it holds: their few pictures are very unlike."""
CASES = [case for name in sorted(networks.names()) for case in load_cases(name, "ok")]


def alarms(found):
    """All that is said of the file; what the spec itself pads and cuts is its matter."""
    return [finding for finding in found.findings if finding.level != "note" and finding.code != "framing"]


@pytest.fixture(scope="module")
def made(request, tmp_path_factory):
    """(case, its spec, file that int8cal made of it), where the case needs to be."""
    case: GoldenCase = request.param
    with pytest.MonkeyPatch.context() as patch:
        for name, value in case.environment.items():
            patch.setenv(name, value)
        patch.chdir(DATA)
        seed = case.facts["seed"] if case.facts["order"] == "seeded" else None
        path = tmp_path_factory.mktemp("made") / "calibration.tensor"
        spec = int8cal.read_spec(case.spec)
        int8cal.make(int8cal.plan(spec, split=case.split, max_batches=case.max_batches, seed=seed), path)
        yield case, spec, path


@pytest.mark.parametrize("made", CASES, ids=str, indirect=True)
def test_no_alarm_and_equal_to_the_spec(made):
    _, spec, path = made
    found = verify(path, claim=Claim(spec))
    assert alarms(found) == []
    codes = {finding.code for finding in found.findings}
    assert "rebuilt" in codes
    assert "other-record" not in codes  # the manifest read back is the plan's, word by word


@pytest.mark.parametrize("made", CASES, ids=str, indirect=True)
def test_no_alarm_without_manifest(made, tmp_path):
    case, spec, path = made
    with int8cal.TensorFile(path) as file:
        plain = write_like_tao(tmp_path / "plain", np.stack(list(file)))
    assert alarms(verify(plain)) == []
    claim = Claim(spec, split=case.split, any_order=True)
    found = verify(plain, claim=claim)
    assert [finding.code for finding in alarms(found)] == ["loud-images-missing"] * (str(case) in LOUD)
    assert "rebuilt" in {finding.code for finding in found.findings}
