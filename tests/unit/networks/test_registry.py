from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from tests.specs import SSD, changed

from int8cal import networks
from int8cal.errors import UnavailableError, UsageError
from int8cal.networks.detectnet_v2 import NETWORK
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.text import SpecText

OWN = [
    "classification",
    "classification_pyt",
    "deformable_detr",
    "detectnet_v2",
    "dino",
    "dssd",
    "faster_rcnn",
    "ml_recog",
    "ocrnet",
    "rtdetr",
    "segformer",
    "ssd",
]

PLUGIN = replace(NETWORK, name="yolo_v9")


def install(monkeypatch: pytest.MonkeyPatch, *entries: EntryPoint) -> None:
    monkeypatch.setattr(networks, "_entry_points", lambda: EntryPoints(entries))


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, networks.ENTRY_POINT_GROUP)


def test_own_network_is_found_by_its_name() -> None:
    assert networks.get("detectnet_v2") is NETWORK
    assert NETWORK in networks.all_networks()


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="detectnet_v3") as caught:
        networks.get("detectnet_v3")
    assert "detectnet_v2" in str(caught.value)


def test_helper_modules_are_no_networks() -> None:
    with pytest.raises(UsageError):
        networks.get("network")


def test_installed_network_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, entry("yolo_v9", "elsewhere:PLUGIN"))
    monkeypatch.setattr(EntryPoint, "load", lambda self: PLUGIN)
    assert networks.get("yolo_v9") is PLUGIN


def test_own_network_goes_before_an_installed_one_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, entry("detectnet_v2", "elsewhere:NETWORK"))
    monkeypatch.setattr(EntryPoint, "load", lambda self: replace(NETWORK, title="another"))
    assert NETWORK in networks.all_networks()
    assert networks.get("detectnet_v2") is NETWORK


@pytest.mark.parametrize("value", ["no_such_module:NETWORK", "os:no_such_name", "os:sep"])
def test_broken_installed_network_is_an_error_for_those_who_ask_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    install(monkeypatch, entry("broken", value))
    with pytest.raises(UnavailableError, match="broken") as caught:
        networks.get("broken")
    assert caught.value.hint
    assert "broken" in networks.names()
    assert networks.get("dssd").name == "dssd"
    assert [network.name for network in networks.all_networks()] == OWN
    assert [message for message in caplog.messages if value in message] == [caught.value.message]


class _OfItsOwn(Exception):
    pass


@pytest.mark.parametrize("problem", [ZeroDivisionError, _OfItsOwn, SystemExit, EOFError])
def test_installed_network_whose_import_fails_in_any_way(
    monkeypatch: pytest.MonkeyPatch, problem: type[BaseException]
) -> None:
    def load(entry_point: EntryPoint) -> None:
        raise problem

    install(monkeypatch, entry("broken", "elsewhere:FAILING"))
    monkeypatch.setattr(EntryPoint, "load", load)
    with pytest.raises(UnavailableError, match=f"cannot be loaded: {problem.__name__}"):
        networks.get("broken")
    assert [network.name for network in networks.all_networks()] == OWN


@pytest.mark.parametrize("config", ["ssd_config", "dssd_config"])
def test_specs_of_own_networks_load_no_installed_one(monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    def load(entry_point: EntryPoint) -> None:
        pytest.fail("loaded")

    install(monkeypatch, entry("broken", "elsewhere:FAILING"))
    monkeypatch.setattr(EntryPoint, "load", load)
    text = SpecText.from_str(changed(SSD, ("ssd_config", config)))
    found = networks.find(parse(text, "s.txt", "int8cal.ssd.Experiment"))
    assert found
    assert found.name == config.removesuffix("_config")


def test_the_registry_alone_imports_nothing_heavy() -> None:
    script = "import sys, int8cal.networks; print(sorted({'numpy', 'PIL', 'google.protobuf'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
