"""Who may work in a folder. Other processes are forked here: what they do takes no imports."""

import errno
import fcntl
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from rl.errors import UserError
from rl.folder_lock import LOCK_FILE, locked

from .commands import REPO, refusal

FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Worker:
    """A process that works in a folder, and one that it forked, which lives on without it."""

    process: ForkProcess
    child: int


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "parent" / "run"


@pytest.fixture
def worker(run: Path) -> Iterator[Worker]:
    heard, said = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_work, args=(run, said))
    process.start()
    said.close()  # so that it is heard when the process ends before it says anything
    worker = Worker(process, heard.recv())
    yield worker
    process.kill()
    process.join()
    os.kill(worker.child, signal.SIGKILL)


def _work(folder: Path, said: Connection) -> None:
    with locked(folder):
        child = FORK.Process(target=signal.pause)
        child.start()
        said.send(child.pid)
        signal.pause()


def test_another_process_is_refused_and_told_whose_the_folder_is(run: Path, worker: Worker) -> None:
    told = f"process {worker.process.pid} on .* is at work in {run}; wait until it has ended"
    with pytest.raises(UserError, match=told), locked(run):
        pass


def test_a_killed_process_lets_go_though_its_children_live_on(run: Path, worker: Worker) -> None:
    worker.process.kill()
    worker.process.join()
    os.kill(worker.child, 0)  # raises where there is none
    with locked(run):
        assert (run / LOCK_FILE).read_text().startswith(f"process {os.getpid()} on ")


def test_whatever_ends_the_block_lets_go(run: Path, request: pytest.FixtureRequest) -> None:
    with pytest.raises(KeyboardInterrupt), locked(run):
        raise KeyboardInterrupt
    worker = request.getfixturevalue("worker")
    assert (run / LOCK_FILE).read_text().startswith(f"process {worker.process.pid} on ")


def test_a_program_that_is_started_is_not_handed_the_file(run: Path) -> None:
    with locked(run):
        lock = (run / LOCK_FILE).stat()
        opened = [int(name) for name in os.listdir("/dev/fd") if _is_same(name, lock)]
        assert [os.get_inheritable(number) for number in opened] == [False]


def _is_same(descriptor: str, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(int(descriptor)), file)
    except OSError:  # it was what the folder was listed with
        return False


def test_a_filesystem_without_locks_is_worked_in_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    reached = []
    with locked(tmp_path):
        reached.append("inside")
    assert reached == ["inside"]
    assert f"{tmp_path} cannot be locked (No locks available)" in caplog.text


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match=f"cannot write {tmp_path / 'run'}: "), locked(tmp_path / "run"):
        pass


@pytest.mark.parametrize(
    ("command", "config"),
    [
        ("train", "tiny.yaml"),
        ("pretrain", "tiny_pretrain.yaml"),
        ("train-prm", "tiny_prm.yaml"),
        ("sample", "tiny_sample.yaml"),
        ("resume", ""),
    ],
)
def test_a_command_is_refused_before_it_writes_anything(command: str, config: str, run: Path, worker: Worker) -> None:
    (run / "config.yaml").write_text("kind: pretrain\n")
    arguments = (REPO / "configs" / config, f"run.dir={run}") if config else (run,)
    assert f"process {worker.process.pid} on " in refusal(command, *arguments, cwd=run.parent)
    assert {path.name: path.read_text() for path in run.iterdir() if path.name != LOCK_FILE} == {
        "config.yaml": "kind: pretrain\n"
    }
