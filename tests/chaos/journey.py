"""A run under faults: started, resumed as often as it takes, and compared with a run that nobody disturbed."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import psutil

from .driver import Orders
from .faults import Fault
from .victims import role

REPO = Path(__file__).parents[2]
ATTEMPT_TIMEOUT_S = 400.0
"""A command that takes longer hangs."""
LEAVING_S = 90.0
"""Ray's raylet looks for a control store that is gone for a minute before it leaves too."""
MARK = "ZEROKL_CHAOS"
"""An environment variable by which the processes of an attempt are known, whoever their parent is by then."""


@dataclass(frozen=True)
class Journey:
    """One run, and what happens to it."""

    name: str
    """Of its folder."""
    faults: tuple[Fault, ...]
    overrides: tuple[str, ...] = ()
    """Of the config; they change no bit."""
    resume_overrides: tuple[str, ...] = ()
    """Of every `zerokl resume`; they change no bit either."""


@dataclass(frozen=True)
class Attempt:
    """One command."""

    status: int
    """Exit status, negative for the signal that ended it."""
    struck: tuple[int, ...]
    """Places of the faults that struck while it ran."""
    wall_s: float
    stdout: str
    stderr: str
    left: tuple[str, ...]
    """Processes that it left behind, long after it ended."""


@dataclass(frozen=True)
class Reference:
    """What a run comes to that nobody disturbs."""

    final_hash: str
    ledger: bytes

    @classmethod
    def of(cls, run_dir: Path) -> "Reference":
        """That of a finished run."""
        ledger = (run_dir / "ledger.jsonl").read_bytes()
        return cls(json.loads(ledger.splitlines()[-1])["hash"], ledger)


@dataclass(frozen=True)
class Arrival:
    """How a journey ended."""

    journey: Journey
    attempts: tuple[Attempt, ...]
    final_hash: str
    """Empty where the run did not get to its end."""
    ledger: bytes

    @property
    def struck(self) -> tuple[Fault, ...]:
        """The faults, in the order in which they struck."""
        return tuple(self.journey.faults[place] for attempt in self.attempts for place in attempt.struck)

    def is_same_as(self, reference: Reference) -> bool:
        """Whether final hash and ledger are those of the run that nobody disturbed."""
        return (self.final_hash, self.ledger) == (reference.final_hash, reference.ledger)

    def complaints(self, reference: Reference) -> list[str]:
        """What is not as it should be, a line each; none where the run came through like `reference`."""
        found = [line for attempt in self.attempts for line in _complaints(attempt, self.journey)]
        if len(self.struck) < len(self.journey.faults):
            found.append(f"only {len(self.struck)} of {len(self.journey.faults)} faults found their moment")
        if self.final_hash != reference.final_hash:
            found.append(f"the final hash is {self.final_hash or 'missing'}, not {reference.final_hash}")
        if self.ledger != reference.ledger:
            found.append("ledger.jsonl differs")
        return found


def undergo(journey: Journey, config: Path, workplace: Path, timeout_s: float = ATTEMPT_TIMEOUT_S) -> Arrival:
    """What became of the run, in `workplace/NAME`: started once, then resumed while commands end without success.

    A run that is there already gives way.
    """
    run_dir = workplace / journey.name
    orders = Orders(journey.faults, run_dir / "ledger.jsonl", workplace / f"{journey.name}.struck")
    shutil.rmtree(run_dir, ignore_errors=True)
    orders.struck.unlink(missing_ok=True)
    orders.write(workplace / f"{journey.name}.orders.json")
    attempts: list[Attempt] = []
    command = ["train", str(config), f"run.dir={run_dir}", *journey.overrides]
    while not attempts or (attempts[-1].status != 0 and len(attempts) <= len(journey.faults) + 1):
        attempts.append(_attempt(orders, workplace / f"{journey.name}.orders.json", command, workplace, timeout_s))
        command = ["resume", str(run_dir), *journey.resume_overrides]
    lines = attempts[-1].stdout.splitlines()
    label, _, value = lines[-1].partition(": ") if lines else ("", "", "")
    ledger = orders.ledger.read_bytes() if orders.ledger.exists() else b""
    return Arrival(journey, tuple(attempts), value if label == "final hash" else "", ledger)


def _complaints(attempt: Attempt, journey: Journey) -> list[str]:
    struck = [journey.faults[place] for place in attempt.struck]
    found = []
    if attempt.status != 0 and not any(fault.ends_the_command for fault in struck):
        after = ", ".join(f"{fault.victim} at {fault.stage}" for fault in struck) or "nothing"
        found.append(f"the command ended with {attempt.status} after {after}: {_last_line(attempt.stderr)}")
    if attempt.left:
        found.append(f"left behind: {', '.join(attempt.left)}")
    return found


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def _attempt(orders: Orders, path: Path, command: Sequence[str], cwd: Path, timeout_s: float) -> Attempt:
    before, mark, started_at = orders.have_struck(), secrets.token_hex(8), time.monotonic()
    arguments = ["-m", "tests.chaos.driver", str(path), "--", *command]
    status, stdout, stderr = run_python(arguments, cwd, {MARK: mark}, timeout_s)
    wall_s = time.monotonic() - started_at
    struck = orders.have_struck()[len(before) :]
    return Attempt(status, tuple(struck), wall_s, stdout, stderr, clear_away(mark))


def run_python(
    arguments: Sequence[str], cwd: Path, variables: Mapping[str, str], timeout_s: float
) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command. One that takes too long is killed, and stderr says so.

    What it prints goes to files: a pipe stays open for as long as any process that the command left behind.
    """
    with TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=cwd, env=environment(variables), stdout=stdout, stderr=stderr
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            stderr.write(f"\nno end after {timeout_s:.0f} s; killed\n")
        status = process.wait()
        stdout.seek(0)
        stderr.seek(0)
        return status, stdout.read(), stderr.read()


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment for a command of its own: a Ray cluster of its own, no network, a fixed hash seed."""
    own = {"RAY_ADDRESS": "local", "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": str(REPO)}
    return os.environ | own | dict(variables)


def clear_away(mark: str) -> tuple[str, ...]:
    """The processes with the mark that are left after a while, by their roles; they are killed."""
    deadline = time.monotonic() + LEAVING_S
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    roles = tuple(role(process) for process in left)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=10)
    return roles


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # it ended, or is another user's
            continue
    return found
