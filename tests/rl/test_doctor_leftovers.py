from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from rl.doctor import Verdict
from rl.doctor.leftovers import (
    build_folders,
    cluster_finding,
    locks_finding,
    ray_folder,
    running_sessions,
    sessions_finding,
    stale_locks,
)

SESSION = "session_2026-01-02_03-04-05_678901_234"


def test_a_lock_that_nobody_holds_is_stale(tmp_path: Path) -> None:
    for name in ("held", "left"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    (tmp_path / "lock").mkdir()
    (tmp_path / "left" / "lock.py").touch()
    with (tmp_path / "held" / "lock").open():
        assert stale_locks([tmp_path, tmp_path, tmp_path / "not-there"]) == [tmp_path / "left" / "lock"]
    assert len(stale_locks([tmp_path])) == 2


def test_a_stale_lock_has_to_be_deleted(tmp_path: Path) -> None:
    finding = locks_finding([tmp_path / "lock"])
    assert (finding.verdict, finding.remedy) == (Verdict.MEND, f"rm {tmp_path}/lock")
    assert locks_finding([]).verdict is Verdict.OK


def test_locks_are_looked_for_where_the_builders_keep_them() -> None:
    home = {"TRITON_HOME": "/h"}
    assert build_folders(home)[1:] == [Path("/tmp/torch_extensions"), Path("/h/.triton/cache")]
    assert build_folders(home)[0].name == "torch_extensions"
    told = {"TORCH_EXTENSIONS_DIR": "/e", "TRITON_CACHE_DIR": "/c"}
    assert build_folders(told) == [Path("/e"), Path("/e"), Path("/c")]


@pytest.mark.parametrize(
    ("environ", "folder"),
    [({}, "/tmp/ray"), ({"TMPDIR": "/t"}, "/t/ray"), ({"TMPDIR": "/t", "RAY_TMPDIR": "/r"}, "/r/ray")],
)
def test_ray_keeps_its_sessions_there(environ: dict[str, str], folder: str) -> None:
    assert ray_folder(environ) == Path(folder)


def test_sessions_that_run_are_read_off_their_raylets(monkeypatch: pytest.MonkeyPatch) -> None:
    raylet = ["/bin/raylet", f"--raylet_socket_name=/tmp/ray/{SESSION}/sockets/raylet", "--node_id=1"]
    processes = [
        {"name": "raylet", "cmdline": raylet},
        {"name": "python", "cmdline": ["tail", "-f", "/tmp/ray/session_2000-01-01_00-00-00_0_1/logs"]},
        {"name": "raylet", "cmdline": None},
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda names: [SimpleNamespace(info=info) for info in processes])
    assert running_sessions() == {SESSION}


def test_a_cluster_that_is_up_is_a_warning_with_a_way_to_stay_out_of_it(tmp_path: Path) -> None:
    finding = cluster_finding({SESSION}, "", tmp_path)
    assert finding.verdict is Verdict.WARN
    assert SESSION in finding.found and "RAY_ADDRESS=local" in finding.remedy
    own = cluster_finding({SESSION}, "local", tmp_path)
    assert (own.verdict, own.found) == (Verdict.OK, "RAY_ADDRESS=local: a run starts its own and ends it")


def test_a_recorded_cluster_that_is_gone_has_to_be_forgotten(tmp_path: Path) -> None:
    assert cluster_finding(set(), "", tmp_path).verdict is Verdict.OK
    (tmp_path / "ray_current_cluster").write_text("10.0.0.1:6379\n")
    finding = cluster_finding(set(), "", tmp_path)
    assert (finding.verdict, finding.remedy) == (Verdict.MEND, "ray stop")
    assert "names 10.0.0.1:6379, and" in finding.found
    assert cluster_finding(set(), "10.0.0.2:6379", tmp_path).verdict is Verdict.OK


def session(folder: Path, name: str, *files: str) -> None:
    (folder / name / "sockets").mkdir(parents=True)
    for file in files:
        (folder / name / file).touch()


def test_sessions_that_ended_in_order_are_only_counted(tmp_path: Path) -> None:
    session(tmp_path, SESSION, "sockets/plasma_store")
    (tmp_path / "session_latest").symlink_to(tmp_path / SESSION)
    finding = sessions_finding(set(), tmp_path)
    assert (finding.verdict, finding.found[:12]) == (Verdict.OK, "1 that ended")


def test_a_killed_session_is_told_by_its_sockets(tmp_path: Path) -> None:
    session(tmp_path, SESSION, "sockets/raylet")
    finding = sessions_finding(set(), tmp_path)
    assert finding.verdict is Verdict.WARN
    assert "1 of them killed" in finding.found
    assert sessions_finding({SESSION}, tmp_path).verdict is Verdict.OK


def test_sessions_that_fill_the_disk_are_a_warning(tmp_path: Path) -> None:
    session(tmp_path, SESSION, "log")
    with (tmp_path / SESSION / "log").open("wb") as file:
        file.truncate(3 * 2**29)
    finding = sessions_finding(set(), tmp_path)
    assert finding.verdict is Verdict.WARN
    assert "1.5 GiB" in finding.found
