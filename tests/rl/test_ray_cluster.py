import ctypes
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
import ray

from rl.cluster import ray_cluster, running_cluster
from rl.errors import UserError


@pytest.fixture
def port():
    """A port on which something answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def environ(tmp_path, recorded=None, **variables):
    if recorded:
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(recorded + "\n")
    return {"RAY_TMPDIR": str(tmp_path), **variables}


def test_without_a_record_there_is_no_cluster(tmp_path) -> None:
    assert running_cluster(environ(tmp_path)) is None


def test_a_recorded_cluster_is_joined_while_it_answers(tmp_path, port) -> None:
    assert running_cluster(environ(tmp_path, f"127.0.0.1:{port}")) == f"127.0.0.1:{port}"


def test_a_recorded_cluster_that_has_gone_is_passed_over(tmp_path) -> None:
    assert running_cluster(environ(tmp_path, f"127.0.0.1:{closed_port()}")) is None


def test_local_keeps_a_run_to_itself(tmp_path, port) -> None:
    assert running_cluster(environ(tmp_path, f"127.0.0.1:{port}", RAY_ADDRESS="local")) is None


def test_a_named_cluster_goes_before_a_recorded_one(tmp_path, port) -> None:
    variables = environ(tmp_path, "127.0.0.1:1", RAY_ADDRESS=f"127.0.0.1:{port}")
    assert running_cluster(variables) == f"127.0.0.1:{port}"


def test_a_named_cluster_that_does_not_answer_is_an_error(tmp_path) -> None:
    with pytest.raises(UserError, match="does not answer"):
        running_cluster(environ(tmp_path, RAY_ADDRESS=f"127.0.0.1:{closed_port()}"))


@pytest.fixture
def received(monkeypatch):
    """The signals that this process received as its own, with a `ray.init` that takes SIGTERM as the real one does."""
    signals: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    monkeypatch.setattr(ray, "init", lambda **_: signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number)))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    yield signals
    signal.signal(signal.SIGTERM, before)


def test_ray_does_not_keep_sigterm(received) -> None:
    with ray_cluster():
        signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]


def test_ray_does_not_leave_sigterm_to_the_kernel(received, monkeypatch) -> None:
    monkeypatch.setattr(ray, "shutdown", lambda: ctypes.CDLL(None).signal(signal.SIGTERM, 0))
    with ray_cluster():
        pass
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path("/proc/self/status").read_text())
    assert int(caught, 16) >> (signal.SIGTERM - 1) & 1


def test_a_sigterm_while_ray_starts_is_handed_on(received, monkeypatch) -> None:
    take_it = ray.init

    def init(**_) -> None:
        take_it()
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(SystemExit), ray_cluster():
        pytest.fail("Ray is not up")
    assert received == [signal.SIGTERM]


@pytest.mark.parametrize("num_failures", [0, 2, 3])
def test_a_node_that_was_too_slow_to_start_is_started_again(received, monkeypatch, num_failures) -> None:
    starts: list[int] = []

    def init(**_) -> None:
        starts.append(len(starts))
        if len(starts) <= num_failures:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    if num_failures == 3:
        with pytest.raises(Exception, match="timed out"), ray_cluster():
            pytest.fail("Ray is not up")
    else:
        with ray_cluster():
            pass
    assert len(starts) == min(num_failures + 1, 3)


def test_what_else_goes_wrong_as_ray_starts_is_not_tried_again(received, monkeypatch) -> None:
    def init(**_) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(OSError, match="no space"), ray_cluster():
        pytest.fail("Ray is not up")
