import os

import pytest

from kernels.process import compute_environment


@pytest.fixture(autouse=True)
def three_of_64_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


def test_the_cores_that_this_process_may_use_are_divided() -> None:
    assert [compute_environment(0, n)["OMP_NUM_THREADS"] for n in (1, 2, 3, 4)] == ["3", "1", "1", "1"]


def test_the_cores_of_another_machine_are_divided_where_they_are_given() -> None:
    assert compute_environment(0, 2, num_cores=16)["OMP_NUM_THREADS"] == "8"


@pytest.mark.parametrize(("threads", "num_processes", "is_shared"), [(3, 1, False), (2, 2, True), (0, 4, True)])
def test_threads_that_share_a_core_do_not_spin(threads: int, num_processes: int, is_shared: bool) -> None:
    assert ("OMP_WAIT_POLICY" in compute_environment(threads, num_processes)) == is_shared
