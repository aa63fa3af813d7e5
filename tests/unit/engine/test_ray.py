"""What engine ray decides without a cluster: which node is fit, which address is one."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from types import SimpleNamespace

import pytest

import int8cal
from int8cal.engine import engine_named, ray_cluster
from int8cal.engine import ray as engine
from int8cal.errors import DataError, ImageError, MissingDataError, UnavailableError, UsageError
from int8cal.manifest import encoder_versions


def test_without_the_extra(monkeypatch, tiny_dataset, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnavailableError, match="'ray' is needed") as caught:
        int8cal.make(int8cal.plan(tiny_dataset.spec, max_batches=1), tmp_path / "c", engine="ray")
    assert caught.value.hint.startswith("Install what the extra [ray] stands for: ")
    assert caught.value.exit_code == 8
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("native://auto", "the engine native has no address"),
        ("tao://head:1", "the engine tao has no address"),
        ("ray://", "names no cluster"),
        ("spark://head:1", "unknown engine 'spark'"),
    ],
)
def test_an_address_is_for_ray_alone(text, message):
    with pytest.raises(UsageError, match=message):
        engine_named(text)


@pytest.mark.parametrize(("text", "address"), [("ray", None), ("ray://head:6379", "head:6379"), ("ray://auto", "auto")])
def test_ray_is_chosen_by_name_or_address(text, address, monkeypatch, tiny_dataset):
    asked = []
    monkeypatch.setattr(engine, "map_on_ray", lambda *_, address, places: asked.append((address, places)) or iter(()))
    plan = int8cal.plan(tiny_dataset.spec)
    engine_named(text).stream(plan, str, [], None)
    assert asked == [(address, plan.places())]


def test_equal_nodes_are_fit():
    engine.require_same_versions("a", encoder_versions(), encoder_versions())


@pytest.mark.parametrize("name", ["processor architecture", "isal", "zlib", "int8cal"])
def test_nodes_that_would_make_other_bytes_are_refused(name):
    found = {**encoder_versions(), name: "other"}
    with pytest.raises(UnavailableError, match=f"node a has {name} other, this machine") as caught:
        engine.require_same_versions("a", found, encoder_versions())
    assert "one processor architecture" in caught.value.hint


def test_paths_that_a_node_does_not_see(tmp_path):
    (tmp_path / "there").write_bytes(b"")
    engine.require_readable("a", [str(tmp_path), str(tmp_path / "there")])
    with pytest.raises(MissingDataError, match="is not there on node a") as caught:
        engine.require_readable("a", [str(tmp_path), str(tmp_path / "gone")])
    assert caught.value.where == str(tmp_path / "gone")


def test_paths_that_a_node_may_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(DataError, match="cannot be read on node a"):
        engine.require_readable("a", [str(tmp_path)])


@pytest.mark.parametrize("address", ["ray://host:10001", "host", ":6379", "host:", "host:x", "http://host:80"])
def test_what_is_no_address(address):
    with pytest.raises(UsageError, match="is not an address of a Ray cluster"):
        ray_cluster._require_answer(address)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "[::1]:9", "127.0.0.1:99999"])
def test_nobody_answers(address):
    with pytest.raises(UnavailableError, match="no Ray cluster answers"):
        ray_cluster._require_answer(address)


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Address of something that listens, and answers so as soon as a client talks."""

    def serve() -> None:
        with closing(listening.accept()[0]) as client, suppress(ConnectionResetError):
            client.recv(1000)
            client.sendall(answer)
            client.recv(1000)  # until the client has enough

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_a_server_of_http2_may_be_a_cluster():
    with server(bytes((0, 0, 6, 4, 0, 0, 0, 0, 0)) + bytes(6)) as address:
        ray_cluster._require_answer(address)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_another_server_is_no_cluster(answer):
    with server(answer) as address, pytest.raises(UnavailableError, match=f"{address}: what listens there"):
        ray_cluster._require_answer(address)


def test_a_server_that_says_nothing_is_no_cluster(monkeypatch):
    monkeypatch.setattr(ray_cluster, "_SECONDS_TO_ANSWER", 0.1)
    with server(b"") as address, pytest.raises(UnavailableError, match=f"answers at {address}: timed out"):
        ray_cluster._require_answer(address)


class RayError(Exception):
    """Stands in for Ray's."""


class RayTaskError(RayError):
    """Stands in for Ray's."""

    def __init__(self, message: str, cause: Exception) -> None:
        super().__init__(message)
        self.cause = cause


RAY = SimpleNamespace(exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RayTaskError("traceback\nlast", ModuleNotFoundError("No module named 'int8cal'")), "cannot run int8cal: last"),
        (RayTaskError("The remote function failed to import", RuntimeError()), "cannot run int8cal: The remote"),
        (RayTaskError("far away", ImageError("is bad")), "is bad"),
        (RayError("node died"), "could not do the work: node died"),
    ],
)
def test_errors_of_a_cluster(error, message):
    with pytest.raises((UnavailableError, ImageError), match=message), ray_cluster._our_errors(RAY):
        raise error


def test_a_bug_on_a_node_stays_one():
    with pytest.raises(RayTaskError), ray_cluster._our_errors(RAY):
        raise RayTaskError("last", ZeroDivisionError())


def test_places_of_a_plan_are_one_image_of_each_folder(tiny_dataset):
    plan = int8cal.plan(tiny_dataset.spec)
    folders = {os.path.dirname(sample.path) for sample in plan.samples()}
    places = plan.places()
    assert {os.path.dirname(place) for place in places} == folders
    assert len(places) == len(folders)
    assert all(os.path.isfile(place) for place in places)
