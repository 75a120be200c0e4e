"""Who can be struck, found by looking at the processes below the driver's, as the operating system shows them."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from signal import SIGKILL, SIGSTOP, Signals

import psutil


def processes_below(parent: psutil.Process) -> list[psutil.Process]:
    """Every process below `parent`, by pid."""
    return sorted(parent.children(recursive=True), key=lambda process: process.pid)


def role(process: psutil.Process) -> str:
    """What a process of a run is, from its name and command line; "" for one that ended meanwhile."""
    with contextlib.suppress(psutil.Error):
        command = " ".join(process.cmdline())
        for mark, name in _ROLES.items():
            if mark in command:
                return name
        return process.name()
    return ""


_ROLES = {
    "ray::RolloutActor": "rollout actor",
    "ray::TrainerActor": "trainer rank",
    "multiprocessing.spawn": "reward worker",
    "gcs_server": "gcs",
    "raylet/raylet": "raylet",
    "ray::": "Ray worker",
    "multiprocessing.resource_tracker": "resource tracker",
    "site-packages/ray/": "Ray agent",
}
"""What a command line holds, and what its process is then; the first that fits."""


@dataclass(frozen=True)
class Victim:
    """Whom a fault hits, and how."""

    name: str
    find: Callable[[psutil.Process], list[psutil.Process]]
    """Candidates below the driver."""
    signal: Signals = SIGKILL
    ends_the_command: bool = False
    """The command need not survive; `zerokl resume` goes on."""

    def strike(self, driver: psutil.Process, draw: int) -> bool:
        """Whether there was anybody to strike; `draw` says which of several."""
        found = self.find(driver)
        if not found:
            return False
        if self.name == EVERYTHING:
            for process in found:
                _send(process, self.signal)
            return True
        return _send(found[draw % len(found)], self.signal)


EVERYTHING = "everything"


def _send(process: psutil.Process, number: Signals) -> bool:
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _with_role(name: str) -> Callable[[psutil.Process], list[psutil.Process]]:
    return lambda driver: [process for process in processes_below(driver) if role(process) == name]


def _driver(driver: psutil.Process) -> list[psutil.Process]:
    return [driver]


def _everything(driver: psutil.Process) -> list[psutil.Process]:
    return [*processes_below(driver), driver]


_ALL = (
    Victim("rollout actor", _with_role("rollout actor")),
    Victim("trainer rank", _with_role("trainer rank")),
    Victim("stuck rollout actor", _with_role("rollout actor"), SIGSTOP),
    Victim("stuck trainer rank", _with_role("trainer rank"), SIGSTOP),
    Victim("reward worker", _with_role("reward worker")),
    Victim("driver", _driver, ends_the_command=True),
    Victim("raylet", _with_role("raylet"), ends_the_command=True),
    Victim("gcs", _with_role("gcs"), ends_the_command=True),
    Victim(EVERYTHING, _everything, ends_the_command=True),
)

VICTIMS = {victim.name: victim for victim in _ALL}
