"""Engine ray on a cluster of three nodes, simulated on this machine."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.extended.long_runs.conftest import HERE, Cluster, Driver, classification_spec

import int8cal
from int8cal.engine.ray import IMAGES_PER_TASK, TASKS_PER_WORKER

pytestmark = pytest.mark.extended

WORKERS = 3


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def processes(title: str) -> set[int]:
    """Ids of running processes whose command line begins so."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.joinpath("cmdline").read_bytes().startswith(title.encode()):
                found.add(int(folder.name))
        except OSError:
            continue  # it has ended
    return found


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)  # what is waited for may last no longer than a second


def one_thread(spec: Path, out: Path) -> str:
    int8cal.make(int8cal.plan(spec, max_batches=-1), out, workers=1)
    return sha256(out)


@pytest.fixture(scope="session", params=["mode 0", "mode 2", "classification"])
def spec(request, detection_specs, tmp_path_factory) -> Path:
    if request.param == "classification":
        return classification_spec(tmp_path_factory.mktemp("classification"), 96)
    return detection_specs[int(request.param[-1])]


@pytest.fixture
def on_ray(ray_cluster, start_run) -> Callable[..., Driver]:
    """Start a run on the cluster."""

    def start(spec: Path, out: Path, *, batches: int = -1, pause: float = 0.0, **options) -> Driver:
        make = {"engine": f"ray://{ray_cluster.address}", **options}
        return start_run(spec=spec, out=out, plan={"max_batches": batches}, make=make, pause=pause)

    return start


def test_same_bytes_as_one_thread_with_a_worker_and_a_node_killed(spec, ray_cluster, on_ray, tmp_path):
    expected = one_thread(spec, tmp_path / "one")
    on_ray(spec, tmp_path / "calm").finish()
    assert sha256(tmp_path / "calm") == expected

    run = on_ray(spec, tmp_path / "disturbed", pause=0.2)
    run.wait_for(8)
    worker = min(processes("ray::_do") | processes("ray::IDLE"))
    os.kill(worker, signal.SIGSTOP)  # so that it certainly has work in hand when it dies
    time.sleep(2)
    os.kill(worker, signal.SIGKILL)
    run.wait_for(40)
    os.kill(ray_cluster.raylets[0], signal.SIGKILL)
    run.finish()
    assert sha256(tmp_path / "disturbed") == expected


def test_the_command_on_a_cluster_of_its_own(detection_specs, tmp_path, run_process):
    expected = one_thread(detection_specs[0], tmp_path / "one")
    command = ("detectnet_v2", "calibration_tensorfile", "-e", detection_specs[0], "-o", tmp_path / "ray")
    before = processes("ray::") | servers()
    finished = run_process(*command, "--engine", "ray", "--workers", "2", timeout=300, env={"RAY_ADDRESS": ""})
    assert finished.code == 0, finished.stderr
    assert sha256(tmp_path / "ray") == expected
    wait_until(lambda: not (processes("ray::") | servers()) - before)


def test_a_cluster_of_its_own_listens_on_loopback_alone(detection_specs, start_run, tmp_path):
    options = {"engine": "ray", "workers": 1}
    run = start_run(spec=detection_specs[0], out=tmp_path / "c", make=options, pause=0.5)
    run.wait_for(2)
    inodes = {inode for process in processes("ray::") | servers() | {run.process.pid} for inode in sockets(process)}
    addresses = listening(inodes)
    run.finish()
    assert addresses
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def own_cluster(detection_specs, tmp_path, short_folder, monkeypatch) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start the command on a cluster of its own; in the end no process or file of it is left."""
    before = processes("ray::") | servers()
    runs = []
    monkeypatch.setenv("RAY_TMPDIR", str(short_folder))
    monkeypatch.setenv("HOME", str(tmp_path))

    def start(*options: str) -> subprocess.Popen:
        command = ("detectnet_v2", "calibration_tensorfile", "-e", detection_specs[0], "-o", tmp_path / "out" / "c")
        slow = ("--compression", "small")
        runs.append(
            subprocess.Popen(
                [sys.executable, "-m", "int8cal", *command, "--engine", "ray", "--workers", "1", *slow, *options],
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "RAY_ADDRESS": ""},
            )
        )
        return runs[-1]

    yield start
    for run in runs:
        run.kill()
        run.communicate(timeout=60)
    wait_until(lambda: not (processes("ray::") | servers()) - before)
    assert not list(short_folder.iterdir())
    assert not (tmp_path / ".ray").exists()


STOPS = [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]


@pytest.mark.parametrize(("number", "code", "how"), STOPS)
def test_a_stopped_run_leaves_nothing(own_cluster, tmp_path, number, code, how):
    before = processes("ray::_do")
    run = own_cluster()
    wait_until(lambda: processes("ray::_do") - before)
    run.send_signal(number)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == code, stderr
    assert stderr.endswith(f"int8cal: {how}; nothing was left under the final name\n")
    assert "received" not in stderr, "no dump of Ray's"
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(("number", "code", "how"), STOPS)
def test_stopped_while_nothing_comes(own_cluster, number, code, how):
    before = processes("ray::_do")
    run = own_cluster()
    wait_until(lambda: processes("ray::_do") - before)
    for worker in processes("ray::_do") - before:
        os.kill(worker, signal.SIGSTOP)
    time.sleep(1)  # whatever was finished is taken
    run.send_signal(number)
    begin = time.monotonic()
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == code, stderr
    assert how in stderr
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(("number", "code", "how"), STOPS)
def test_stopped_while_the_cluster_starts(own_cluster, number, code, how):
    before = servers()
    run = own_cluster()
    wait_until(lambda: servers() - before)
    run.send_signal(number)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == code, stderr
    assert how in stderr


def servers() -> set[int]:
    """Ray's own programs."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            program = folder.joinpath("cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if program.endswith((b"/raylet", b"/gcs_server")):
            found.add(int(folder.name))
    return found


def sockets(process: int) -> set[str]:
    """Inodes of the sockets that a process has open."""
    found = set()
    for descriptor in Path(f"/proc/{process}/fd").glob("*"):
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def listening(inodes: set[str]) -> set[str]:
    """Addresses, as the kernel writes them, at which sockets listen."""
    rows = (line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines())
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_stopped_while_the_cluster_ends(own_cluster, tmp_path):
    before = servers()
    run = own_cluster()
    wait_until(lambda: servers() - before)
    wait_until((tmp_path / "out" / "c").exists)
    run.send_signal(signal.SIGTERM)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode in {0, 143}, stderr


def test_a_cluster_of_its_own_is_closed_to_other_users(own_cluster, short_folder):
    run = own_cluster()
    wait_until(lambda: list(short_folder.glob("*/r/session_latest/sockets/plasma_store")))
    (private,) = short_folder.iterdir()
    assert private.stat().st_mode & 0o777 == 0o700
    (token,) = private.glob("token")
    assert len(token.read_text()) == 64
    (server,) = (
        Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        for process in servers()
        if str(private).encode() in Path(f"/proc/{process}/cmdline").read_bytes()
        and b"gcs_server" in Path(f"/proc/{process}/cmdline").read_bytes()
    )
    assert b"RAY_AUTH_MODE=token" in server
    assert f"RAY_AUTH_TOKEN_PATH={token}".encode() in server
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 143


def test_a_bad_image_ends_the_run_as_it_does_here(detection_specs, ray_cluster, tmp_path, run_process):
    spec = tmp_path / "spec.txt"
    plan = int8cal.plan(detection_specs[0], max_batches=-1)
    bad = list(plan.samples())[41].path
    pictures = tmp_path / "pictures"
    subprocess.run(["cp", "-rl", str(detection_specs[0].parent), pictures], check=True)
    broken = pictures / Path(bad).relative_to(detection_specs[0].parent)
    broken.unlink()
    broken.write_bytes(Path(bad).read_bytes()[:200])
    spec.write_text(detection_specs[0].read_text().replace(str(detection_specs[0].parent), str(pictures)))

    command = ("detectnet_v2", "calibration_tensorfile", "-e", spec, "-o", tmp_path / "c.tensor")
    here = run_process(*command, timeout=300)
    there = run_process(*command, "--engine", "ray", "--ray_address", ray_cluster.address, timeout=300)
    assert (here.code, there.code) == (4, 4)
    assert str(broken) in here.stderr
    assert errors(there.stderr) == errors(here.stderr)
    assert not list(tmp_path.glob("*c.tensor*"))
    wait_until(lambda: not processes("ray::_do"))


def errors(stderr: str) -> list[str]:
    lines = stderr.splitlines()
    return lines[next(number for number, line in enumerate(lines) if "error:" in line) :]


def most_in_flight(cluster: Cluster, folder: Path, tasks_per_worker: int, workers: int = WORKERS) -> tuple[int, int]:
    """(images in flight, images worked on at the same time), the most of each."""
    folder.mkdir()
    arguments = [cluster.address, str(workers), str(tasks_per_worker), str(folder)]
    command = [sys.executable, str(HERE / "in_flight.py"), *arguments]
    finished = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    in_flight, at_work = map(int, finished.stdout.splitlines()[-1].split())
    return in_flight, at_work


def test_images_in_flight_are_bounded(ray_cluster, tmp_path):
    window = IMAGES_PER_TASK * (TASKS_PER_WORKER - 1) * WORKERS
    bound = 4 * WORKERS + window
    with_limit, _ = most_in_flight(ray_cluster, tmp_path / "bounded", TASKS_PER_WORKER)
    without, _ = most_in_flight(ray_cluster, tmp_path / "free", 1000)
    print(f"images in flight: {with_limit} of at most {bound}; {without} without the limit")
    assert with_limit <= bound < without


def test_fewer_workers_than_the_cluster_has(ray_cluster, tmp_path):
    _, at_work = most_in_flight(ray_cluster, tmp_path / "one", TASKS_PER_WORKER, workers=1)
    assert at_work == 1


def test_waiting_for_processors_is_told(ray_cluster, detection_specs, tmp_path):
    """Another job has all processors; the run says so, and ends when it is told to."""
    code = (
        "import ray, sys, time; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR');"
        "hold = ray.remote(num_cpus=1)(lambda: time.sleep(600)); held = [hold.remote() for _ in range(3)]\n"
        "while ray.available_resources().get('CPU'): time.sleep(0.1)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = ("detectnet_v2", "calibration_tensorfile", "-e", detection_specs[0], "-o", tmp_path / "c")
    with subprocess.Popen(
        [sys.executable, "-c", code, ray_cluster.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        run = subprocess.Popen(
            [sys.executable, "-m", "int8cal", *command, "--engine", "ray", "--ray_address", ray_cluster.address],
            stderr=subprocess.PIPE,
            text=True,
        )
        message = "waiting for a free processor or a result of the cluster for 10 s: 0 of its 3 processors are free"
        assert any(message in line for line in run.stderr)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    assert run.returncode == 130


def test_memory_of_the_driver_is_flat(on_ray, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_task_events_report_interval_ms", "0")  # Ray keeps events of 100,000 tasks for its dashboard
    spec = classification_spec(tmp_path / "data", 4000, batch_size=2)
    peaks = {
        batches: on_ray(spec, tmp_path / f"{batches}.tensor", batches=batches).finish()["peak_mb"]
        for batches in (50, 500, 2000)
    }
    print(f"peak memory of the driver in MB by batches: {peaks}")
    assert peaks[2000] < 1.05 * peaks[500], "no more memory for four times the batches"
    assert peaks[2000] < 1.2 * peaks[50], "the first few hundred fill buffers of Ray's"


def test_a_node_that_does_not_see_the_images(detection_specs, ray_cluster, tmp_path, run_process):
    plan = int8cal.plan(detection_specs[0])
    images = Path(next(plan.samples()).path).parent
    blind = subprocess.Popen(
        [
            *("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$1" && shift && exec "$@"', "sh", str(images)),
            *(sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={ray_cluster.address}"),
            *("--num-cpus=1", "--min-worker-port=0", "--max-worker-port=0", "--block", "--disable-usage-stats"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: nodes_of(ray_cluster) == 4, seconds=90)
        command = ("detectnet_v2", "calibration_tensorfile", "-e", detection_specs[0], "-o", tmp_path / "c", "-m", "2")
        finished = run_process(*command, "--engine", "ray", "--ray_address", ray_cluster.address, timeout=300)
    finally:
        os.killpg(blind.pid, signal.SIGTERM)
        blind.wait(60)
    assert finished.code == 4
    assert f"error: {images}" in finished.stderr
    assert f"is not there on node {os.uname().nodename} (" in finished.stderr
    assert not list(tmp_path.glob("*"))


def nodes_of(cluster: Cluster) -> int:
    """Number of living nodes, asked from outside."""
    code = (
        "import ray, sys; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR');"
        "print(sum(node['Alive'] for node in ray.nodes()))"
    )
    command = [sys.executable, "-c", code, cluster.address]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        ("127.0.0.1:9", 8, "no Ray cluster answers at 127.0.0.1:9"),
        ("ray://127.0.0.1:10001", 2, "is not an address of a Ray cluster"),
        ("nonsense", 2, "is not an address of a Ray cluster"),
    ],
)
def test_addresses_without_a_cluster(detection_specs, tmp_path, run_process, address, code, message):
    command = ("detectnet_v2", "calibration_tensorfile", "-e", detection_specs[0], "-o", tmp_path / "c", "-m", "2")
    finished = run_process(*command, "--engine", "ray", env={"RAY_ADDRESS": address})
    assert (finished.code, message in finished.stderr) == (code, True), finished.stderr
    assert not list(tmp_path.glob("*"))


def test_an_interrupted_run_on_ray_goes_on_with_threads(detection_specs, on_ray, tmp_path):
    expected = one_thread(detection_specs[0], tmp_path / "one")
    out = tmp_path / "c.tensor"
    run = on_ray(detection_specs[0], out, pause=0.2, resume=True)
    run.wait_for(30)
    run.kill()
    manifest = int8cal.make(int8cal.plan(detection_specs[0], max_batches=-1), out, resume=True)
    assert manifest.run["images_reused"] >= 30
    assert sha256(out) == expected
