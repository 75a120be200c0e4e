"""On clusters that others started: as a submitted job, and over two nodes."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .commands import CONFIG, REPO, final_hash, ledger, outside, zerokl

pytestmark = pytest.mark.engine
RAY = Path(sys.executable).with_name("ray")
PLACED = """
import ray
from rl.placement import place
ray.init(address="auto", log_to_driver=False)
@ray.remote(num_cpus=0)
def node(): return ray.get_runtime_context().get_node_id()
places = place(world_size=2, num_actors=2, threads=(0, 0))
where = [ray.get(node.options(scheduling_strategy=s).remote()) for s in (*places.ranks, *places.actors)]
print(places.num_nodes, where[0] == where[1], where[2] != where[3])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def ray_node(*arguments: str) -> Iterator[None]:
    """A Ray node that ends with the block; other clusters of this machine are left alone."""
    agent = f"--dashboard-agent-listen-port={free_port()}"  # Ray's own choice is one port for all clusters
    command = [RAY, "start", "--block", "--num-cpus=2", "--disable-usage-stats", agent, *arguments]
    node = subprocess.Popen(command, env=outside(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while "Ray runtime started" not in (line := node.stdout.readline()):
            assert line, "the node did not come up"
        yield
    finally:
        node.terminate()
        node.wait(60)


@pytest.fixture(scope="module")
def head() -> Iterator[tuple[str, str]]:
    """Address of a Ray head and of its dashboard."""
    port, dashboard = free_port(), free_port()
    with ray_node("--head", f"--port={port}", f"--dashboard-port={dashboard}", f"--temp-dir=/tmp/ray-test-{port}"):
        yield f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}"


def test_a_submitted_job_ends_in_the_hash_of_the_direct_command(head, done, tmp_path: Path) -> None:
    submitted = subprocess.run(
        [RAY, "job", "submit", "--working-dir", ".", "--",
         "zerokl", "train", "configs/tiny.yaml", f"run.dir={tmp_path}/job"],
        cwd=REPO, capture_output=True, text=True, timeout=400, env=outside(RAY_ADDRESS=head[1]), check=False,
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    hashes = re.findall(r"final hash: ([0-9a-f]{64})", submitted.stdout)
    assert hashes == [final_hash(done)]
    assert ledger(tmp_path / "job")[-1]["hash"] == hashes[0]


@pytest.mark.thorough
def test_a_job_that_is_stopped_ends_its_step_and_goes_on_to_the_same_hash(head, done, tmp_path: Path) -> None:
    run = tmp_path / "job"
    patient = json.dumps({"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"}})

    def job(*arguments: object) -> str:
        command = [RAY, "job", *map(str, arguments)]
        variables = outside(RAY_ADDRESS=head[1])
        told = subprocess.run(
            command, cwd=REPO, capture_output=True, text=True, timeout=400, env=variables, check=False
        )
        assert told.returncode == 0, told.stderr
        return told.stdout

    job("submit", "--working-dir", ".", "--runtime-env-json", patient, "--no-wait",
        "--submission-id", "stopped", "--", "zerokl", "train", "configs/tiny.yaml", f"run.dir={run}")  # fmt: skip
    deadline = time.monotonic() + 300
    while not (run / "ledger.jsonl").exists() or not ledger(run):
        assert time.monotonic() < deadline, job("logs", "stopped")
        time.sleep(0.05)
    job("stop", "stopped")
    told = job("logs", "stopped")
    step = len(ledger(run))
    assert f"stopped after step {step} of 3; go on with: zerokl resume {run}" in told
    assert (run / "checkpoints" / f"step_{step:06d}").is_dir()
    assert final_hash(zerokl("resume", run, cwd=tmp_path)) == final_hash(done)


def test_two_nodes_share_the_work_and_change_no_bit(head, done, tmp_path: Path) -> None:
    variables = outside(RAY_ADDRESS=head[0])
    with ray_node(f"--address={head[0]}"):
        placed = subprocess.run(
            [sys.executable, "-c", PLACED],
            cwd=REPO, capture_output=True, text=True, timeout=120, env=variables, check=False,
        )  # fmt: skip
        assert placed.stdout.split() == ["2", "True", "True"], placed.stderr
        spread = zerokl("train", CONFIG, "run.dir=run", "rollout.num_actors=2", cwd=tmp_path, environment=variables)
        assert final_hash(spread) == final_hash(done)


def test_a_cluster_that_is_too_small_is_refused_with_what_is_missing(head, tmp_path: Path) -> None:
    refused = zerokl(
        "train", CONFIG, "run.dir=run", "rollout.threads=64", cwd=tmp_path, environment=outside(RAY_ADDRESS=head[0])
    )
    assert refused.returncode == 2, refused.stderr
    assert "64 threads" in refused.stderr and "2 CPUs" in refused.stderr
