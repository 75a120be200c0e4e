"""Cores, memory and /dev/shm, as a process here may use them: a container's limits are not in the kernel's totals."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from rl.doctor.finding import Finding, warn
from rl.doctor.sizes import GIB, gib

CGROUPS = Path("/sys/fs/cgroup")
SHARED_MEMORY = Path("/dev/shm")
OBJECT_STORE_SHARE = 0.3
OBJECT_STORE_LEAST_CAP = 10**10
OBJECT_STORE_MOST = 200 * 10**9


@dataclass(frozen=True)
class Memory:
    """Bytes of memory that processes here may use."""

    total: int
    available: int


def check_machine() -> Iterator[Finding]:
    """Findings on cores, memory and /dev/shm."""
    memory = read_memory()
    yield cores_finding(os.cpu_count() or 1, len(os.sched_getaffinity(0)))
    yield Finding("memory", f"{gib(memory.available)} of {gib(memory.total)} available")
    yield shared_memory_finding(shutil.disk_usage(SHARED_MEMORY).free, object_store_bytes(memory))


def cores_finding(num_cores: int, num_allowed: int) -> Finding:
    """A finding on cores. num_allowed: those that this process may run on."""
    if num_allowed == num_cores:
        return Finding("cores", str(num_cores))
    return warn(
        "cores",
        f"{num_allowed} of {num_cores} may be used; a run makes a thread for each of the {num_cores}",
        f"set rollout.threads and trainer.threads to {num_allowed} over the number of processes",
    )


def read_memory(cgroups: Path = CGROUPS) -> Memory:
    """The machine's memory, or what the container's cgroup (version 2 or 1) leaves of it."""
    machine = psutil.virtual_memory()
    limit = _number(cgroups / "memory.max") or _number(cgroups / "memory" / "memory.limit_in_bytes")
    if limit is None or limit >= machine.total:
        return Memory(machine.total, machine.available)
    used = _number(cgroups / "memory.current") or _number(cgroups / "memory" / "memory.usage_in_bytes") or 0
    return Memory(limit, min(machine.available, limit - used + _file_cache(cgroups)))


def object_store_bytes(memory: Memory) -> int:
    """How large Ray makes its object store by default (`ray._private.utils.resolve_object_store_memory`, Ray 2.60)."""
    cap = max(OBJECT_STORE_LEAST_CAP, int(0.95 * shutil.disk_usage(SHARED_MEMORY).free))
    return min(int(OBJECT_STORE_SHARE * memory.available), cap, OBJECT_STORE_MOST)


def shared_memory_finding(free: int, object_store: int) -> Finding:
    """A finding on /dev/shm, through which weights go to the engines. Where it is too small, Ray takes /tmp instead."""
    if free >= object_store:
        return Finding("/dev/shm", f"{gib(free)} free, Ray's object store takes {gib(object_store)}")
    found = (
        f"{gib(free)} free, Ray's object store wants {gib(object_store)}: it goes to /tmp, and weights through a disk"
    )
    return warn("/dev/shm", found, f"make /dev/shm larger, in Docker with --shm-size={object_store // GIB + 1}g")


def _file_cache(cgroups: Path) -> int:
    """Bytes counted as used that the kernel gives back when they are wanted."""
    for path in (cgroups / "memory.stat", cgroups / "memory" / "memory.stat"):
        if path.is_file():
            counts = dict(line.split() for line in path.read_text().splitlines())
            return int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))
    return 0


def _number(path: Path) -> int | None:
    """The number in a cgroup file; None where there is no file or it says `max`."""
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None
