import socket

import pytest

from rl.cluster import running_cluster
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
